"""Exhibits: bundles that somebody made to harm, each refused with its own identifier. `docs/security.md` lists them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import exhibits
import pytest
from graph_exhibits import OTHER_NODES, SPELLINGS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_network import tiny_contents, tiny_graph

from physedge_runtime.bundle import MANIFEST, SIGNATURE, canonical_zip, read_bundle, write_bundle
from physedge_runtime.errors import IntegrityError, PhysedgeError, UsageError
from physedge_runtime.graph_check import check_graph
from physedge_runtime.keys import write_new_key
from physedge_runtime.signing import file_signer, sign_bundle

UNREADABLE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "swapped files": (exhibits.swapped_files, "PE-BUNDLE-010"),
    "swapped manifests": (exhibits.swapped_manifests, "PE-BUNDLE-010"),
    "duplicate names": (exhibits.duplicate_names, "PE-BUNDLE-005"),
    "names that differ in case": (lambda p: exhibits.extra_entry(p, "MODEL.ONNX"), "PE-BUNDLE-005"),
    "a name with a composed letter": (lambda p: exhibits.extra_entry(p, "modèl.onnx"), "PE-BUNDLE-004"),
    "a name that reads backwards": (lambda p: exhibits.extra_entry(p, "xnno\u202e.led"), "PE-BUNDLE-004"),
    "a name with a Cyrillic o": (lambda p: exhibits.extra_entry(p, "m\u043edel.onnx"), "PE-BUNDLE-004"),
    "a name with a Kelvin sign": (lambda p: exhibits.extra_entry(p, "golden/\u212a.frame"), "PE-BUNDLE-004"),
    "a path outside": (lambda p: exhibits.extra_entry(p, "../../etc/cron.d/x"), "PE-BUNDLE-004"),
    "a path from the root": (lambda p: exhibits.extra_entry(p, "/etc/passwd"), "PE-BUNDLE-004"),
    "a path for another system": (lambda p: exhibits.extra_entry(p, "..\\x"), "PE-BUNDLE-004"),
    "a name with a zero byte": (exhibits.zero_byte, "PE-BUNDLE-004"),
    "a symbolic link": (exhibits.symbolic_link, "PE-BUNDLE-015"),
    "a huge ratio": (exhibits.huge_ratio, "PE-BUNDLE-006"),
    "a size that is a lie": (exhibits.lying_size, "PE-BUNDLE-003"),
    "a schema that is forgotten": (lambda p: exhibits.other_schema(p, 0), "PE-BUNDLE-014"),
    "a schema below zero": (lambda p: exhibits.other_schema(p, -7), "PE-BUNDLE-014"),
    "a schema to come": (lambda p: exhibits.other_schema(p, 2), "PE-BUNDLE-009"),
    "a schema that is a word": (lambda p: exhibits.other_schema(p, "old"), "PE-BUNDLE-008"),
    "a schema that is true": (lambda p: exhibits.other_schema(p, True), "PE-BUNDLE-008"),
    "no number where one should be": (
        lambda p: exhibits.manifest_with(p, b'"golden_max_bound":0.001', b'"golden_max_bound":NaN'),
        "PE-BUNDLE-008",
    ),
    "half a character": (
        lambda p: exhibits.manifest_with(p, b'"method":"by hand"', b'"method":"\\ud800"'),
        "PE-BUNDLE-008",
    ),
    "a picture as large as a house": (
        lambda p: exhibits.manifest_with(p, b'"height":32', b'"height":99999999'),
        "PE-BUNDLE-008",
    ),
    "the same key twice": (
        lambda p: exhibits.manifest_with(p, b'"macs":0', b'"macs":0,"macs":0'),
        "PE-BUNDLE-007",
    ),
    "a manifest of an older physedge": (
        lambda p: exhibits.manifest_with(p, b'"macs":0,', b""),
        "PE-BUNDLE-016",
    ),
    "a network declared to an older physedge": (
        lambda p: exhibits.manifest_with(p, b'"growth":null,', b""),
        "PE-BUNDLE-016",
    ),
    "an older manifest in other bytes": (
        lambda p: exhibits.manifest_with(p, b'"macs":0,', b" "),
        "PE-BUNDLE-007",
    ),
    "an older manifest with a word for a number": (
        lambda p: exhibits.manifest_with(p, b'"macs":0,', b"", b'"parameters":0', b'"parameters":"0"'),
        "PE-BUNDLE-008",
    ),
    "golden frames of another size": (exhibits.golden_of_another_size, "PE-BUNDLE-013"),
    "own answers of another size": (lambda p: exhibits.reduced(p, contents={exhibits.OWN: bytes(12)}), "PE-BUNDLE-013"),
    "own answers of no output": (lambda p: exhibits.reduced(p, answers=({},)), "PE-BUNDLE-013"),
    "own answers to no frame": (lambda p: exhibits.reduced(p, answers=()), "PE-BUNDLE-013"),
    "own answers that are not there": (
        lambda p: exhibits.reduced(p, answers=({"probability": "golden/9.probability"},)),
        "PE-BUNDLE-011",
    ),
    "own answers that are null": (exhibits.own_answer_null, "PE-BUNDLE-007"),
    "no golden frames": (exhibits.golden_left_out, "PE-BUNDLE-008"),
}

GRAPHS: dict[str, tuple[Callable[[], bytes], str]] = {
    "external data outside": (lambda: exhibits.external_data("../../etc/shadow"), "PE-BUNDLE-031"),
    "external data from the root": (lambda: exhibits.external_data("/etc/shadow"), "PE-BUNDLE-031"),
    "external data beside it": (lambda: exhibits.external_data("weights.bin"), "PE-BUNDLE-031"),
    "an operator that nobody knows": (lambda: exhibits.operator("Backdoor"), "PE-BUNDLE-032"),
    "a loop": (lambda: exhibits.operator("Loop"), "PE-BUNDLE-032"),
    "chance": (lambda: exhibits.operator("RandomNormal"), "PE-BUNDLE-032"),
    "an operator of another domain": (lambda: exhibits.operator("Sigmoid", "com.evil"), "PE-BUNDLE-033"),
    "an operator of an engine's own domain": (
        lambda: exhibits.operator("FusedMatMul", "com.microsoft"),
        "PE-BUNDLE-033",
    ),
    "a graph in a node": (exhibits.control_flow, "PE-BUNDLE-035"),
    "a function": (exhibits.function, "PE-BUNDLE-035"),
    "a huge tensor": (exhibits.huge_tensor, "PE-BUNDLE-034"),
    "a tensor beyond its data": (exhibits.tensor_beyond_its_data, "PE-BUNDLE-034"),
    "a tensor of less than nothing": (exhibits.negative_tensor, "PE-BUNDLE-034"),
    "a huge value": (exhibits.huge_value, "PE-BUNDLE-034"),
    "a huge expansion": (exhibits.huge_expansion, "PE-BUNDLE-034"),
    "text": (exhibits.text_tensor, "PE-BUNDLE-034"),
    "two graphs": (exhibits.two_graphs, "PE-BUNDLE-036"),
    "no graph": (lambda: b"", "PE-BUNDLE-030"),
    "no ONNX": (lambda: b"\x7fELF" + bytes(60), "PE-BUNDLE-030"),
    "half a graph": (lambda: tiny_graph()[:-20], "PE-BUNDLE-030"),
    **SPELLINGS,
    **OTHER_NODES,
}


@pytest.mark.requirement("REQ-BUNDLE-DISTRUST")
@pytest.mark.parametrize("name", UNREADABLE)
def test_a_malicious_bundle_is_refused(name: str, tmp_path: Path) -> None:
    make, identifier = UNREADABLE[name]
    with pytest.raises(IntegrityError, match=identifier):
        read_bundle(make(tmp_path / "x.physedge"))


@pytest.mark.requirement("REQ-BUNDLE-DISTRUST")
@pytest.mark.parametrize("name", GRAPHS)
def test_a_malicious_graph_is_refused_before_an_engine_sees_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from physedge_runtime import net

    def never(*_: object) -> object:
        raise AssertionError("an engine was asked")

    monkeypatch.setattr(net, "open_engine", never)
    make, identifier = GRAPHS[name]
    bundle = read_bundle(exhibits.with_graph(tmp_path / "x.physedge", make()))
    with pytest.raises(IntegrityError, match=identifier):
        bundle.open()


def test_altered_golden_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="PE-BUNDLE-020"):
        read_bundle(exhibits.golden_altered(tmp_path / "x.physedge")).open(engine="onnxruntime")


def test_a_graph_that_cannot_answer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph of another size than the manifest says: an engine would open it and fail at the first frame."""
    from physedge_runtime import net

    monkeypatch.setattr(net, "check_interface", lambda *_, **__: None)  # which refuses it before that
    path = exhibits.with_graph(tmp_path / "x.physedge", tiny_graph(side_px=16))
    with pytest.raises(IntegrityError, match="PE-BUNDLE-021"):
        read_bundle(path).open(engine="onnxruntime")


def test_a_signature_over_another_manifest_is_refused(tmp_path: Path) -> None:
    public, _ = write_new_key(tmp_path / "maker.pem")
    genuine = exhibits.rebuilt(tmp_path / "genuine.physedge")
    signature = sign_bundle(genuine, file_signer(tmp_path / "maker.pem")).read(SIGNATURE)
    forged = exhibits.rebuilt(tmp_path / "forged.physedge", release=99)
    forged.write_bytes(canonical_zip({**exhibits.entries(forged), SIGNATURE: signature}))
    with pytest.raises(IntegrityError, match="PE-SIGN-008"):
        read_bundle(forged, trust=public)


def test_a_key_that_says_it_is_another_is_refused(tmp_path: Path) -> None:
    public, maker = write_new_key(tmp_path / "maker.pem")
    _, thief = write_new_key(tmp_path / "thief.pem")
    path = exhibits.rebuilt(tmp_path / "x.physedge")
    signature = sign_bundle(path, file_signer(tmp_path / "thief.pem")).read(SIGNATURE)
    renamed = signature.replace(thief.key_id.encode(), maker.key_id.encode())
    path.write_bytes(canonical_zip({**exhibits.entries(path), SIGNATURE: renamed}))
    with pytest.raises(IntegrityError, match="PE-SIGN-008"):
        read_bundle(path, trust=public)


def test_keys_that_are_taken_for_one_another_are_refused(tmp_path: Path) -> None:
    """Key confusion: a thief's own key, the private half as the public one, a key of another algorithm."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public, _ = write_new_key(tmp_path / "maker.pem")
    write_new_key(tmp_path / "thief.pem")
    path = exhibits.rebuilt(tmp_path / "x.physedge")
    sign_bundle(path, file_signer(tmp_path / "thief.pem"))
    with pytest.raises(IntegrityError, match="PE-SIGN-007"):
        read_bundle(path, trust=public)
    with pytest.raises(UsageError, match="PE-SIGN-002"):
        read_bundle(path, trust=tmp_path / "thief.pem")
    # X25519 keys are 32 bytes as well, and lie on the same curve in another form.
    other = X25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "other.pub").write_bytes(other)
    with pytest.raises(UsageError, match="PE-SIGN-002"):
        read_bundle(path, trust=tmp_path / "other.pub")


def test_a_signature_that_was_cut_off_is_missed(tmp_path: Path) -> None:
    public, _ = write_new_key(tmp_path / "maker.pem")
    path = exhibits.rebuilt(tmp_path / "x.physedge")
    sign_bundle(path, file_signer(tmp_path / "maker.pem"))
    contents = exhibits.entries(path)
    del contents[SIGNATURE]
    path.write_bytes(canonical_zip(contents))
    with pytest.raises(IntegrityError, match="PE-SIGN-005"):
        read_bundle(path, trust=public)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.physedge")
    for path in (tmp_path / "pipe.physedge", Path("/dev/zero"), tmp_path):
        with pytest.raises(UsageError, match="PE-BUNDLE-001"):
            read_bundle(path)


def test_the_networks_of_our_own_pass(tmp_path: Path) -> None:
    check_graph(tiny_graph(), origin="tiny")
    with read_bundle(exhibits.rebuilt(tmp_path / "x.physedge")).open(engine="onnxruntime") as net:
        assert net.engine_name == "onnxruntime"


# Thousands of mutations: a clear refusal, or the very bytes that were there before.

_ORIGINAL: dict[str, bytes] = {}


def original(folder: Path) -> bytes:
    if not _ORIGINAL:
        manifest, contents = tiny_contents()
        write_bundle(folder / "original.physedge", manifest, contents)
        _ORIGINAL["bytes"] = (folder / "original.physedge").read_bytes()
        _ORIGINAL["manifest"] = exhibits.entries(folder / "original.physedge")[MANIFEST]
    return _ORIGINAL["bytes"]


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    kind = draw(st.sampled_from(["flip", "cut", "insert", "repeat", "swap", "zero", "end"]))
    at = draw(st.floats(0, 1, exclude_max=True))
    size = draw(st.integers(1, 300))
    other = draw(st.floats(0, 1, exclude_max=True))
    noise = draw(st.binary(min_size=1, max_size=40))

    def mutate(data: bytes) -> bytes:
        position, there = int(at * len(data)), int(other * len(data))
        match kind:
            case "flip":
                changed = bytearray(data)
                changed[position] ^= noise[0] or 1
                return bytes(changed)
            case "cut":
                return data[:position] + data[position + size :]
            case "insert":
                return data[:position] + noise + data[position:]
            case "repeat":
                return data[:position] + data[there : there + size] + data[position:]
            case "swap":
                return data[:position] + data[there : there + size] + data[position + size :]
            case "zero":
                return data[:position] + bytes(min(size, len(data) - position)) + data[position + size :]
            case _:  # the zip directory, where the lies are
                tail = len(data) - 1 - int(at * min(400, len(data)))
                changed = bytearray(data)
                changed[tail] = noise[0]
                return bytes(changed)

    return mutate


SETTINGS = settings(
    max_examples=120,  # of 8 to 16 mutations each
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.requirement("REQ-BUNDLE-MUTATIONS")
@SETTINGS
@given(changes=st.lists(mutations(), min_size=8, max_size=16))
def test_a_mutated_file_is_refused_or_unchanged(tmp_path: Path, changes: list[Callable[[bytes], bytes]]) -> None:
    genuine = original(tmp_path)
    path = tmp_path / "mutated.physedge"
    for change in changes:
        path.write_bytes(change(genuine))
        try:
            read_bundle(path)
        except PhysedgeError as error:
            assert error.exit_status == 4
        else:
            assert path.read_bytes() == genuine


@pytest.mark.requirement("REQ-BUNDLE-MUTATIONS")
@SETTINGS
@given(changes=st.lists(mutations(), min_size=8, max_size=16))
def test_a_mutated_manifest_in_a_proper_zip_is_refused_or_says_what_it_said(
    tmp_path: Path, changes: list[Callable[[bytes], bytes]]
) -> None:
    original(tmp_path)
    path = tmp_path / "mutated.physedge"
    for change in changes:
        manifest = change(_ORIGINAL["manifest"])
        contents = {**tiny_contents_once(), MANIFEST: manifest}
        path.write_bytes(canonical_zip(contents))
        try:
            bundle = read_bundle(path)
        except PhysedgeError as error:
            assert error.exit_status == 4
        else:
            # Without a signature a manifest may be another one; then it is complete, canonical, and the hashes hold.
            assert bundle.manifest.canonical_bytes() == manifest
            assert dict(bundle.contents) == contents


@pytest.mark.requirement("REQ-BUNDLE-MUTATIONS")
@SETTINGS
@given(changes=st.lists(mutations(), min_size=8, max_size=16))
def test_a_mutated_graph_is_refused_or_whole(changes: list[Callable[[bytes], bytes]]) -> None:
    for change in changes:
        try:
            check_graph(change(tiny_contents_once()["model.onnx"]), origin="mutated")
        except IntegrityError as error:
            assert error.identifier.startswith("PE-BUNDLE-03")


def tiny_contents_once() -> dict[str, bytes]:
    if "model.onnx" not in _ORIGINAL:
        _ORIGINAL.update(tiny_contents()[1])
    return {name: _ORIGINAL[name] for name in ("model.onnx", "golden/0.frame", "golden/0.probability")}
