"""What libphysedge takes to read a bundle before it is trusted: the bounds of docs/bundle.md, in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from broken_manifests import SEGMENTATION, base
from costly_bundles import MOST_MANIFEST_MEMORY_BYTES, costly_manifests, directory_of, with_manifest
from native_build import SANITIZERS
from native_library import Native

from physedge_runtime.archive import LARGEST_MANIFEST_BYTES, MOST_ENTRIES, canonical_zip
from physedge_runtime.bundle import write_bundle
from physedge_runtime.errors import IntegrityError

SUPPORT = Path(__file__).parents[1] / "support"
HOOK = Path(__file__).with_name("size_hook.c")
_MIB = 1024**2
_ROUNDING = _MIB  # pages and the heap's own steps
pytestmark = pytest.mark.skipif(bool(SANITIZERS), reason="a sanitizer keeps what is freed")


def cost(native: Native, path: Path, **environment: str) -> tuple[str, int]:
    """The identifier, and by how much the largest resident memory rose."""
    command = [sys.executable, SUPPORT / "costly_bundles.py", native.folder / "libphysedge.so", path]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **environment})
    told, grown = done.stdout.split()
    return told, int(grown)


@pytest.mark.parametrize(("said", "identifier"), [(1_000_000, "003"), (MOST_ENTRIES + 1, "003"), (5, "002")])
def test_a_directory_of_a_million_records_is_refused_by_its_count(
    said: int, identifier: str, tmp_path: Path, native: Native
) -> None:
    data = directory_of(1_000_000, said=said)
    (tmp_path / "x.physedge").write_bytes(data)
    told, grown = cost(native, tmp_path / "x.physedge")
    assert told == f"PE-BUNDLE-{identifier}"
    assert grown < len(data) + _MIB + _ROUNDING


def test_as_many_entries_as_may_be_are_read_and_one_more_is_not(native: Native) -> None:
    contents = {f"x{index}": b"" for index in range(MOST_ENTRIES)}
    for identifier, more in (("PE-BUNDLE-011", {}), ("PE-BUNDLE-003", {"y": b""})):
        with pytest.raises(IntegrityError, match=identifier):
            native.read_memory(canonical_zip({**contents, **more}))


def test_a_manifest_of_the_largest_size_is_read_and_a_larger_one_is_not(native: Native) -> None:
    for identifier, size in (("PE-BUNDLE-008", LARGEST_MANIFEST_BYTES), ("PE-BUNDLE-003", LARGEST_MANIFEST_BYTES + 1)):
        with pytest.raises(IntegrityError, match=identifier):
            native.read_memory(with_manifest(b"x" * size))


def test_the_costliest_manifests_stay_within_their_memory(tmp_path: Path, native: Native) -> None:
    path = tmp_path / "x.physedge"
    for name, text in costly_manifests():
        path.write_bytes(with_manifest(text))
        told, grown = cost(native, path)
        assert told == "PE-BUNDLE-008", name
        assert grown < MOST_MANIFEST_MEMORY_BYTES, (name, grown)


def test_reading_takes_memory_in_proportion(tmp_path: Path, native: Native) -> None:
    from tiny_network import tiny_contents

    manifest, contents = tiny_contents()
    path = tmp_path / "x.physedge"
    write_bundle(path, manifest, {**contents, "card.md": bytes(32 * _MIB)})
    told, grown = cost(native, path)
    assert told == "taken"
    assert grown < path.stat().st_size + 4 * _MIB


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, native: Native) -> None:
    hook = tmp_path / "hook.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", HOOK, "-o", hook, "-ldl"], check=True)
    path, genuine = tmp_path / "x.physedge", canonical_zip(base(SEGMENTATION))
    path.write_bytes(genuine + bytes(64 * _MIB))
    told, grown = cost(native, path, LD_PRELOAD=str(hook), PHYSEDGE_TEST_SIZE=str(len(genuine)))
    assert told == "PE-BUNDLE-007"
    assert grown < 8 * _MIB


@pytest.mark.parametrize(
    ("place", "value", "identifier"),
    [
        (8, 1, "006"),
        (8, 2048, "006"),
        (10, 8, "006"),
        (20, 1, "006"),
        (28, 65535, "002"),
        (4, 20, "007"),
        (34, 1, "007"),
    ],
)
def test_every_bit_of_a_directory_record_counts(place: int, value: int, identifier: str, native: Native) -> None:
    data = bytearray(canonical_zip(base(SEGMENTATION)))
    record = data.index(b"PK\1\2")
    data[record + place : record + place + 2] = value.to_bytes(2, "little")
    with pytest.raises(IntegrityError, match=f"PE-BUNDLE-{identifier}"):
        native.read_memory(bytes(data))


@pytest.mark.parametrize("place", [4, 6, 8, 10, 14, 18, 22, 28])
def test_every_bit_of_an_entrys_own_header_counts(place: int, native: Native) -> None:
    data = bytearray(canonical_zip(base(SEGMENTATION)))
    data[place] ^= 1
    with pytest.raises(IntegrityError, match="PE-BUNDLE-007"):
        native.read_memory(bytes(data))
