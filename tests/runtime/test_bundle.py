"""A bundle is written reproducibly and read with distrust."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from physedge_runtime import bundle as bundle_module
from physedge_runtime.archive import is_safe_name
from physedge_runtime.bundle import canonical_zip, read_bundle, write_atomically
from physedge_runtime.errors import GateFailed, IntegrityError, UsageError
from physedge_runtime.manifest import SCHEMA_VERSION, canonical_json
from physedge_runtime.verdict import Verdict

Write = Callable[..., Path]


def contents_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path: Path, contents: dict[str, bytes]) -> Path:
    path.write_bytes(canonical_zip(contents))
    return path


def refused(path: Path, identifier: str) -> None:
    with pytest.raises(IntegrityError, match=identifier):
        read_bundle(path)


def test_the_same_inputs_give_the_same_bytes(write_tiny: Write) -> None:
    first, second = write_tiny("one"), write_tiny("two")
    assert first.read_bytes() == second.read_bytes()
    assert read_bundle(first).sha256 == read_bundle(second).sha256


def test_what_was_written_is_read(write_tiny: Write) -> None:
    bundle = read_bundle(write_tiny())
    assert bundle.manifest.spec.name == "tiny"
    assert set(bundle.manifest.entries) == {"model.onnx", "golden/0.frame", "golden/0.probability"}
    assert len(bundle.read("golden/0.frame")) == 40 * 50 * 3


def test_every_flipped_bit_is_refused(write_tiny: Write, tmp_path: Path) -> None:
    data = write_tiny().read_bytes()
    broken = tmp_path / "broken.physedge"
    # Every byte of the zip directory and headers, and a stride through the contents.
    central = data.rindex(b"PK\x01\x02") - 400
    positions = [*range(80), *range(80, central, 97), *range(central, len(data))]
    for position in positions:
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 8)
        broken.write_bytes(flipped)
        with pytest.raises(IntegrityError):
            read_bundle(broken)


@pytest.mark.parametrize("keep", [0, 1, 30, 1000, -1, -22])
def test_a_truncated_bundle_is_refused(write_tiny: Write, keep: int) -> None:
    path = write_tiny()
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, "PE-BUNDLE-002")


def test_bytes_before_or_after_are_refused(write_tiny: Write) -> None:
    path = write_tiny()
    data = path.read_bytes()
    path.write_bytes(b"#!/bin/sh\n" + data)
    refused(path, "PE-BUNDLE-00[27]")
    path.write_bytes(data + b"more")
    refused(path, "PE-BUNDLE-00[27]")


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a/b/c", "golden/..", ".hidden", "golden/.x", "a b", "mañana", "C:x", ""]
)
def test_names_that_lead_elsewhere_are_not_safe(name: str) -> None:
    assert not is_safe_name(name)


def test_a_path_outside_is_refused(write_tiny: Write) -> None:
    path = write_tiny()
    refused(rewrite(path, {**contents_of(path), "../outside": b"x"}), "PE-BUNDLE-004")


def test_two_names_alike_but_for_case_are_refused(write_tiny: Write) -> None:
    path = write_tiny()
    refused(rewrite(path, {**contents_of(path), "MODEL.onnx": b"x"}), "PE-BUNDLE-005")


def test_a_name_that_stands_twice_is_refused(write_tiny: Write) -> None:
    path = write_tiny()
    contents = contents_of(path)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model.onnx", contents["model.onnx"])
    refused(path, "PE-BUNDLE-005")


def test_a_compressed_entry_is_refused_before_it_is_unpacked(write_tiny: Write) -> None:
    path = write_tiny()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents_of(path).items():
            archive.writestr(name, data)
        archive.writestr("zeros", bytes(50_000_000))
    path.write_bytes(buffer.getvalue())
    refused(path, "PE-BUNDLE-006")


def test_an_oversized_bundle_is_refused_unread(write_tiny: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiny()
    monkeypatch.setattr(bundle_module, "LARGEST_BUNDLE_BYTES", 1000)
    refused(path, "PE-BUNDLE-003")


def test_too_many_entries_are_refused(write_tiny: Write) -> None:
    path = write_tiny()
    refused(rewrite(path, {**contents_of(path), **{f"x{n}": b"" for n in range(600)}}), "PE-BUNDLE-003")


def test_an_exchanged_entry_is_refused(write_tiny: Write) -> None:
    path = write_tiny()
    refused(rewrite(path, {**contents_of(path), "model.onnx": b"another graph"}), "PE-BUNDLE-010")


def test_an_entry_too_many_or_too_few_is_refused(write_tiny: Write) -> None:
    path = write_tiny()
    contents = contents_of(path)
    refused(rewrite(path, {**contents, "stowaway": b"x"}), "PE-BUNDLE-011")
    refused(rewrite(path, {name: data for name, data in contents.items() if name != "model.onnx"}), "PE-BUNDLE-011")
    refused(rewrite(path, {name: data for name, data in contents.items() if name != "manifest.json"}), "PE-BUNDLE-011")


def test_a_newer_schema_is_refused_by_its_number(write_tiny: Write) -> None:
    path = write_tiny()
    newer = canonical_json({"schema_version": SCHEMA_VERSION + 1, "whatever": True})
    refused(rewrite(path, {**contents_of(path), "manifest.json": newer}), "PE-BUNDLE-009")


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{", b"\xff\xfe", b'{"schema_version":1}', b"[" * 100_000])
def test_a_broken_manifest_is_refused(write_tiny: Write, manifest: bytes) -> None:
    path = write_tiny()
    refused(rewrite(path, {**contents_of(path), "manifest.json": manifest}), "PE-BUNDLE-008")


def test_a_manifest_in_other_bytes_is_refused(write_tiny: Write) -> None:
    path = write_tiny()
    contents = contents_of(path)
    spaced = contents["manifest.json"].replace(b",", b", ")
    refused(rewrite(path, {**contents, "manifest.json": spaced}), "PE-BUNDLE-007")


def test_a_missing_bundle_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="PE-BUNDLE-001"):
        read_bundle(tmp_path / "absent.physedge")


@pytest.mark.parametrize("verdict", [Verdict.REJECT, Verdict.INCONCLUSIVE])
def test_what_was_not_accepted_opens_only_when_allowed(write_tiny: Write, verdict: Verdict) -> None:
    bundle = read_bundle(write_tiny(verdict=verdict))
    with pytest.raises(GateFailed, match="PE-BUNDLE-012"):
        bundle.open()
    with bundle.open(allow_rejected=True) as net:
        assert net.engine_name == "onnxruntime"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(bundle_module.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
