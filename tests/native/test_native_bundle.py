"""The C++ reader refuses what the Python reader refuses, by the same identifier, and takes what it takes."""

from __future__ import annotations

import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import exhibits
import numpy as np
import pytest
from native_build import stale_tables
from native_library import Native
from tiny_network import tiny_contents

from physedge_runtime.bundle import MANIFEST, SIGNATURE, Bundle, canonical_zip, read_bundle, write_bundle
from physedge_runtime.errors import IntegrityError, PhysedgeError, UsageError
from physedge_runtime.frame import VoltageSpec
from physedge_runtime.graph_check import check_graph
from physedge_runtime.growth import GrowthSpec
from physedge_runtime.keys import TrustStore, read_public_key, write_new_key
from physedge_runtime.manifest import VerdictRecord, canonical_json, parse_manifest
from physedge_runtime.signing import file_signer, sign_bundle
from physedge_runtime.spec import SegmentSpec, SignalSpec
from physedge_runtime.verdict import Verdict

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))
from test_ir import SPELLINGS as IR_SPELLINGS
from test_ir import changed as changed_ir
from test_malicious_bundles import GRAPHS, UNREADABLE


@pytest.mark.requirement("REQ-NATIVE-DISTRUST")
@pytest.mark.parametrize("name", UNREADABLE)
def test_a_malicious_bundle_is_refused_by_the_same_identifier(name: str, tmp_path: Path, native: Native) -> None:
    make, identifier = UNREADABLE[name]
    with pytest.raises(IntegrityError, match=identifier):
        native.read(make(tmp_path / "x.physedge"))


@pytest.mark.requirement("REQ-NATIVE-DISTRUST")
@pytest.mark.parametrize("name", GRAPHS)
def test_a_malicious_graph_is_refused_before_an_engine_sees_it(name: str, tmp_path: Path, native: Native) -> None:
    make, identifier = GRAPHS[name]
    with pytest.raises(IntegrityError, match=identifier):
        native.open(exhibits.with_graph(tmp_path / "x.physedge", make()), engine=b"fake")


@pytest.mark.requirement("REQ-NATIVE-DISTRUST")
def test_graphs_in_openvinos_form_are_judged_alike(tmp_path: Path, native: Native) -> None:
    cases = [changed_ir(), *(graph for graph, _ in IR_SPELLINGS.values())]
    cases += [mutate(changed_ir(), random.Random(seed)) for seed in range(150)]
    manifest, contents = tiny_contents()
    for graph in cases:
        write_bundle(tmp_path / "x.physedge", manifest, {**contents, "model.onnx": graph})
        bundle = native.read(tmp_path / "x.physedge")
        told = []
        for call in (lambda g=graph: check_graph(g, origin="x"), lambda b=bundle: native_open(native, b)):
            try:
                call()
                told.append("taken")
            except IntegrityError as error:
                told.append(error.identifier)
        native.free(bundle)
        assert told[0] == told[1], graph


def test_an_answer_that_is_one_value_everywhere_is_refused(tmp_path: Path, native: Native) -> None:
    """Its errors are small, since the expected answer is faint; but it varies, and the graph's does not."""
    manifest, contents = tiny_contents()
    faint = np.linspace(0, 2e-3, 32 * 32, dtype="<f4")
    artefact = manifest.artefacts[0].model_copy(update={"golden_mean_bound": 0.9, "golden_max_bound": 1e-3})
    graph = exhibits.graph(lambda model: model.graph.initializer[0].__setattr__("raw_data", bytes(12)))
    changed = {**contents, "model.onnx": graph, "golden/0.probability": faint.tobytes()}
    write_bundle(tmp_path / "x.physedge", manifest.model_copy(update={"artefacts": (artefact,)}), changed)
    for opened in (
        lambda: read_bundle(tmp_path / "x.physedge").open(engine="openvino"),
        lambda: native.open(tmp_path / "x.physedge", engine=b"openvino"),
    ):
        with pytest.raises(IntegrityError, match="PE-BUNDLE-022"):
            opened()


def test_a_bundle_is_described_as_in_python(write_tiny: Callable[..., Path], native: Native) -> None:
    path = write_tiny(release=3)
    ours, info = read_bundle(path), native.describe(native.read(path))
    assert (info.name, info.task, info.verdict, info.target) == (b"tiny", b"segmentation", b"NOT RUN", b"onnxruntime")
    assert (info.trust.decode(), info.sha256.decode(), info.release) == (ours.trust, ours.sha256, 3)
    assert info.manifest_sha256.decode() == ours.manifest_sha256


def test_what_is_no_file_is_not_waited_for(tmp_path: Path, native: Native) -> None:
    os.mkfifo(tmp_path / "pipe.physedge")
    for path in (tmp_path / "pipe.physedge", Path("/dev/zero"), tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match="PE-BUNDLE-001"):
            native.read(path)


def test_altered_golden_frames_are_refused(tmp_path: Path, native: Native) -> None:
    with pytest.raises(IntegrityError, match="PE-BUNDLE-020"):
        native.open(exhibits.golden_altered(tmp_path / "x.physedge"), engine=b"openvino")


def test_a_rejected_bundle_opens_only_where_it_is_allowed(write_tiny: Callable[..., Path], native: Native) -> None:
    path = write_tiny(verdict=Verdict.REJECT)
    with pytest.raises(PhysedgeError, match="PE-BUNDLE-012") as caught:
        native.open(path, engine=b"fake")
    assert caught.value.exit_status == 1
    native.open(path, engine=b"fake", allow_rejected=1).close()


# Signatures.


def signed(tmp_path: Path, **options: object) -> tuple[Path, Path]:
    public, _ = write_new_key(tmp_path / "maker.pem")
    path = exhibits.rebuilt(tmp_path / "x.physedge")
    sign_bundle(path, file_signer(tmp_path / "maker.pem"), **options)  # type: ignore[arg-type]
    return path, public


def test_a_signature_that_holds_is_told_as_in_python(tmp_path: Path, native: Native) -> None:
    path, public = signed(tmp_path)
    expected = read_bundle(path, trust=public).trust
    assert expected.startswith("signed by maker")
    assert native.describe(native.read(path, native.trust(public))).trust.decode() == expected
    assert native.describe(native.read(path, native.trust())).trust == b"signature not checked"


def test_every_way_a_signature_fails_has_the_identifier_of_python(tmp_path: Path, native: Native) -> None:
    path, public = signed(tmp_path)
    contents = exhibits.entries(path)
    thief, thief_key = write_new_key(tmp_path / "thief.pem")
    maker = read_public_key(public)
    revoked = tmp_path / "revoked.txt"
    revoked.write_text(f"# lost\nkey {maker.key_id}  # the old one\n")
    bundle_revoked = tmp_path / "revoked_bundle.txt"
    bundle_revoked.write_text(f"bundle {read_bundle(path).manifest_sha256}\n")
    renamed = contents[SIGNATURE].replace(maker.key_id.encode(), thief_key.key_id.encode())
    forged = exhibits.entries(exhibits.rebuilt(tmp_path / "forged.physedge", release=99))
    cases = {
        "PE-SIGN-005": ({k: v for k, v in contents.items() if k != SIGNATURE}, native.trust(public)),
        "PE-SIGN-006": ({**contents, SIGNATURE: contents[SIGNATURE] + b"\n"}, native.trust(public)),
        "PE-SIGN-007": (contents, native.trust(thief)),
        "PE-SIGN-008": ({**contents, SIGNATURE: renamed}, native.trust(thief)),
        "PE-SIGN-008 ": ({**forged, SIGNATURE: contents[SIGNATURE]}, native.trust(public)),
        "PE-SIGN-010": (contents, native.trust(public, revoked=revoked)),
        "PE-SIGN-010 ": (contents, native.trust(revoked=bundle_revoked)),
    }
    for identifier, (changed, trust) in cases.items():
        with pytest.raises(IntegrityError, match=identifier.strip()):
            native.read_memory(canonical_zip(changed), trust)


def test_a_signature_expires_by_the_day_that_is_given(tmp_path: Path, native: Native) -> None:
    from datetime import date

    path, public = signed(tmp_path, not_after=date(2031, 2, 28))
    native.free(native.read(path, native.trust(public, today="2031-02-28")))
    with pytest.raises(IntegrityError, match="PE-SIGN-009"):
        native.read(path, native.trust(public, today="2031-03-01"))


def test_the_devices_configuration_counts_where_no_trust_is_named(
    tmp_path: Path, native: Native, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, public = signed(tmp_path)
    unsigned = exhibits.rebuilt(tmp_path / "unsigned.physedge")
    device = tmp_path / "device.toml"
    device.write_text(f'[trust]\nkeys = ["{public.name}", {{file = "{public.name}", not_after = 2029-12-31}}]\n')
    monkeypatch.setenv("PHYSEDGE_DEVICE", str(device))
    assert native.describe(native.read(path)).trust.startswith(b"signed by maker")
    with pytest.raises(IntegrityError, match="PE-SIGN-005"):
        native.read(unsigned)
    device.write_text('[trust]\nkey = ["maker.pub"]\n')
    with pytest.raises(IntegrityError, match="PE-SIGN-014"):
        native.read(path)
    device.write_text("")
    device.chmod(0o666)
    with pytest.raises(IntegrityError, match="PE-SIGN-004"):
        native.read(path)


def test_files_of_keys_are_refused_as_in_python(tmp_path: Path, native: Native) -> None:
    public, _ = write_new_key(tmp_path / "maker.pem")
    loose = tmp_path / "loose.pub"
    loose.write_bytes(public.read_bytes())
    loose.chmod(0o666)
    wrong = tmp_path / "list.txt"
    wrong.write_text("key 12\n")
    for identifier, make in {
        "PE-SIGN-001": lambda: native.trust(tmp_path / "missing.pub"),
        "PE-SIGN-002": lambda: native.trust(tmp_path / "maker.pem"),
        "PE-SIGN-004": lambda: native.trust(loose),
        "PE-SIGN-013": lambda: native.trust(revoked=wrong),
    }.items():
        with pytest.raises(PhysedgeError, match=identifier):
            make()


# The same manifest, judged by two readers.


def read_both(native: Native, data: bytes, path: Path) -> tuple[str, str]:
    path.write_bytes(data)
    told = []
    for read in (
        lambda: read_bundle(path, trust=TrustStore()),
        lambda: native.free(native.read_memory(data, None)),
    ):
        try:
            read()
            told.append("taken")
        except PhysedgeError as error:
            told.append(error.identifier)
    return told[0], told[1]


def verdict_with(details: dict[str, object]) -> dict[str, object]:
    record = VerdictRecord(artefact="model.onnx", precision="fp32", engine="x", device="y", verdict=Verdict.NOT_RUN)
    return {**record.model_dump(mode="json"), "details": details}


def signal_with(**changes: object) -> dict[str, object]:
    return {**SignalSpec().model_dump(mode="json"), **changes}


def volts_with(**changes: object) -> dict[str, object]:
    return {**asdict(VoltageSpec(count=3, electrodes=4, protocol="x")), **changes}


def growth_with(**changes: object) -> dict[str, object]:
    return {**GrowthSpec(cells=8, diffusivity_mm2_per_day=(0.1, 0.9)).model_dump(mode="json"), **changes}


def segment_with(name: str = "lesion", **changes: object) -> dict[str, object]:
    return {name: {**SegmentSpec().model_dump(mode="json"), **changes}}


MANIFEST_CHANGES: dict[str, Callable[[dict[str, object]], object]] = {
    "a text for a number": lambda m: m.update(release="3"),
    "a word for a number": lambda m: m.update(release="three"),
    "a number for a text": lambda m: m.update(target=3),
    "true for a number": lambda m: m.update(macs=True),
    "a point in an integer": lambda m: m.update(macs=1.0),
    "half an integer": lambda m: m.update(macs=1.5),
    "an integer for a number": lambda m: m["artefacts"][0].update(golden_max_bound=1),  # type: ignore[index]
    "a bound of nothing": lambda m: m["artefacts"][0].update(golden_max_bound=0.0),  # type: ignore[index]
    "a precision of its own": lambda m: m["artefacts"][0].update(precision="int4"),  # type: ignore[index]
    "a verdict of its own": lambda m: m.update(verdict="FINE"),
    "an unknown key": lambda m: m.update(extra=1),
    "an unknown key below": lambda m: m["spec"]["frame"].update(depth=3),  # type: ignore[index]
    "a key left out": lambda m: m.pop("golden"),
    "a key with a default left out": lambda m: m.pop("tools"),
    "null for a list": lambda m: m.update(outputs=None),
    "no graphs": lambda m: m.update(artefacts=[]),
    "a name in capitals": lambda m: m["spec"].update(name="Tiny"),  # type: ignore[index]
    "a name with a line end": lambda m: m["spec"].update(name="tiny\n"),  # type: ignore[index]
    "a long version": lambda m: m["spec"].update(version="é" * 65),  # type: ignore[index]
    "a version as long as may be": lambda m: m["spec"].update(version="é" * 64),  # type: ignore[index]
    "one class": lambda m: m["spec"].update(classes=["all"]),  # type: ignore[index]
    "an empty class": lambda m: m["spec"].update(classes=["a", ""]),  # type: ignore[index]
    "picture and voltages": lambda m: m["spec"].update(voltages={"count": 3, "electrodes": 4, "protocol": "x"}),  # type: ignore[index]
    "neither of them": lambda m: m["spec"].update(frame=None),  # type: ignore[index]
    "a crop outside": lambda m: m["spec"]["frame"].update(crop={"left": 0.5, "top": 0.0, "width": 0.6, "height": 1.0}),  # type: ignore[index]
    "a crop inside": lambda m: m["spec"]["frame"].update(crop={"left": 0.5, "top": 0.0, "width": 0.5, "height": 1.0}),  # type: ignore[index]
    "two means for three channels": lambda m: m["spec"]["normalise"].update(mean=[0.5, 0.5]),  # type: ignore[index]
    "a mean that is a word": lambda m: m["spec"]["normalise"].update(mean=["half"]),  # type: ignore[index]
    "a threshold of one": lambda m: m["spec"].update(threshold=1.0),  # type: ignore[index]
    "true where a truth belongs": lambda m: m["spec"].update(frame=None, voltages=volts_with(reference=True)),  # type: ignore[index]
    "a word for a truth": lambda m: m["spec"].update(frame=None, voltages=volts_with(reference="yes")),  # type: ignore[index]
    "a number for a truth": lambda m: m["spec"].update(frame=None, voltages=volts_with(reference=2)),  # type: ignore[index]
    "a body without a radius": lambda m: m["spec"].update(frame=None, voltages=volts_with(radius_m=0.0)),  # type: ignore[index]
    "growth": lambda m: m["spec"].update(growth=growth_with()),  # type: ignore[index]
    "growth on an odd grid": lambda m: m["spec"].update(growth=growth_with(cells=9)),  # type: ignore[index]
    "growth on another grid": lambda m: m["spec"].update(growth=growth_with(cells=10)),  # type: ignore[index]
    "a range that falls": lambda m: m["spec"].update(growth=growth_with(growth_per_day=[0.5, 0.1])),  # type: ignore[index]
    "a range of three": lambda m: m["spec"].update(growth=growth_with(growth_per_day=[0.1, 0.5, 0.7])),  # type: ignore[index]
    "an integrator of its own": lambda m: m["spec"].update(growth=growth_with(integrator="leap")),  # type: ignore[index]
    "a class that is none": lambda m: m["spec"].update(growth=growth_with(none_class="cat")),  # type: ignore[index]
    "what a class is": lambda m: m["spec"].update(segment=segment_with()),  # type: ignore[index]
    "no class in segment": lambda m: m["spec"].update(segment={}),  # type: ignore[index]
    "segment of nothing": lambda m: m["spec"].update(segment=None),  # type: ignore[index]
    "what the background is": lambda m: m["spec"].update(segment=segment_with(name="background")),  # type: ignore[index]
    "what another class is": lambda m: m["spec"].update(segment=segment_with(name="cat")),  # type: ignore[index]
    "an empty code": lambda m: m["spec"].update(segment=segment_with(type=["", "SCT", "Cyst"])),  # type: ignore[index]
    "a long code": lambda m: m["spec"].update(segment=segment_with(type=["1" * 17, "SCT", "Cyst"])),  # type: ignore[index]
    "a code of four": lambda m: m["spec"].update(segment=segment_with(type=["1", "SCT", "Cyst", "x"])),  # type: ignore[index]
    "a code without a kind": lambda m: m["spec"].update(segment={"lesion": {"type": ["1", "SCT", "Cyst"]}}),  # type: ignore[index]
    "details of any kind": lambda m: m.update(
        verdicts=[verdict_with({"a": [1, None, {"é": "\u2028\x7f"}], "c": 1e-7})]
    ),
    "an integer beyond a word": lambda m: m.update(verdicts=[verdict_with({"seed": 2**100})]),
    "limits of a signal": lambda m: m["trust"].update(signals={"input": signal_with(doubtful_above=2.5)}),  # type: ignore[index]
    "a limit that is an integer": lambda m: m["trust"].update(signals={"input": signal_with(doubtful_above=2)}),  # type: ignore[index]
    "a limit that is a word": lambda m: m["trust"].update(signals={"input": signal_with(void_above="x")}),  # type: ignore[index]
    "a signal in capitals": lambda m: m["trust"].update(signals={"Input": signal_with()}),  # type: ignore[index]
    "a size below zero": lambda m: m["entries"]["model.onnx"].update(size_bytes=-1),  # type: ignore[index]
    "a hash in capitals": lambda m: m["entries"]["model.onnx"].update(sha256="A" * 64),  # type: ignore[index]
    "a golden shape of nothing": lambda m: m["golden"][0].update(shape=[]),  # type: ignore[index]
    "a golden shape that overflows": lambda m: m["golden"][0].update(shape=[2**32, 2**32, 3]),  # type: ignore[index]
    "a golden answer left out": lambda m: m["golden"][0].update(outputs={}),  # type: ignore[index]
    "a graph that is not there": lambda m: m["shipped"].update(openvino="other.onnx"),  # type: ignore[index]
    "an entry outside": lambda m: m["shipped"].update(openvino="../x"),  # type: ignore[index]
    "an entry that is listed only": lambda m: m["entries"].update({"x": {"sha256": "0" * 64, "size_bytes": 1}}),  # type: ignore[index]
    "nothing changed": lambda m: None,
}


@pytest.mark.parametrize("name", MANIFEST_CHANGES)
def test_a_changed_manifest_is_judged_alike(name: str, tmp_path: Path, native: Native) -> None:
    contents = exhibits.entries(exhibits.rebuilt(tmp_path / "x.physedge"))
    manifest = json.loads(contents[MANIFEST])
    MANIFEST_CHANGES[name](manifest)
    data = canonical_zip({**contents, MANIFEST: canonical_json(manifest)})
    python, ours = read_both(native, data, tmp_path / "y.physedge")
    assert ours == python


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"{}",
        b"\xef\xbb\xbf{}",
        b'{"a":1}\0',
        b'{"a":\xff}',
        b"[" * 5000,
        b'{"a":1e999}',
        b'{"a":01}',
    ],
)
def test_what_is_no_manifest_is_refused_alike(text: bytes, tmp_path: Path, native: Native) -> None:
    contents = exhibits.entries(exhibits.rebuilt(tmp_path / "x.physedge"))
    python, ours = read_both(native, canonical_zip({**contents, MANIFEST: text}), tmp_path / "y.physedge")
    assert ours == python == "PE-BUNDLE-008"


def test_floats_are_written_as_python_writes_them(tmp_path: Path, native: Native) -> None:
    """Were one digit laid out otherwise, the manifest would not be canonical."""
    generator = random.Random(5)
    values = [generator.uniform(-1, 1) * 10.0 ** generator.randint(-320, 308) for _ in range(3000)]
    values += [
        0.0,
        -0.0,
        1e15,
        1e16,
        123456789012345680.0,
        1e-4,
        1e-5,
        5e-324,
        1.7976931348623157e308,
        0.1,
        1 / 3,
        100.0,
    ]
    manifest, contents = tiny_contents()
    path = tmp_path / "x.physedge"
    record = VerdictRecord.model_validate(verdict_with({"values": values}))
    write_bundle(path, manifest.model_copy(update={"verdicts": (record,)}), contents)
    native.free(native.read(path))


@pytest.mark.requirement("REQ-NATIVE-MUTATIONS")
def test_mutated_bundles_are_judged_alike(tmp_path: Path, native: Native) -> None:
    """1,000 files with a flipped, cut or repeated part: none is taken, and 95 of 100 have one identifier."""
    genuine = exhibits.rebuilt(tmp_path / "x.physedge").read_bytes()
    generator = random.Random(11)
    agreed, told = 0, Counter[tuple[str, str]]()
    for _ in range(1000):
        mutated = mutate(genuine, generator)
        python, ours = read_both(native, mutated, tmp_path / "y.physedge")
        assert (ours == "taken") == (python == "taken") == (mutated == genuine)
        agreed += ours == python
        told[python, ours] += ours != python
    # A broken directory may be no zip to one reader and not canonical to the other.
    broken = {"PE-BUNDLE-002", "PE-BUNDLE-003", "PE-BUNDLE-004", "PE-BUNDLE-006", "PE-BUNDLE-007", "PE-BUNDLE-015"}
    assert all({one, other} <= broken for one, other in +told), told
    assert agreed >= 950, told


@pytest.mark.requirement("REQ-NATIVE-MUTATIONS")
def test_mutated_manifests_are_judged_alike(tmp_path: Path, native: Native) -> None:
    contents = exhibits.entries(exhibits.rebuilt(tmp_path / "x.physedge"))
    generator = random.Random(12)
    for _ in range(600):
        manifest = mutate(contents[MANIFEST], generator)
        data = canonical_zip({**contents, MANIFEST: manifest})
        python, ours = read_both(native, data, tmp_path / "y.physedge")
        assert ours == python, manifest


@pytest.mark.requirement("REQ-NATIVE-MUTATIONS")
def test_manifests_without_one_of_their_members_are_judged_alike(tmp_path: Path, native: Native) -> None:
    """A member with a default that is missing is an older physedge's manifest to both."""
    contents = exhibits.entries(exhibits.rebuilt(tmp_path / "x.physedge"))
    whole = json.loads(contents[MANIFEST])
    told: Counter[str] = Counter()

    def leave_out(part: Any) -> None:
        for key in list(part) if isinstance(part, dict) else ():
            kept = part.pop(key)
            data = canonical_zip({**contents, MANIFEST: canonical_json(whole)})
            python, ours = read_both(native, data, tmp_path / "y.physedge")
            assert ours == python, key
            told[ours] += 1
            part[key] = kept
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            leave_out(inner)

    leave_out(whole)
    assert told["PE-BUNDLE-016"] > 20


@pytest.mark.requirement("REQ-NATIVE-MUTATIONS")
def test_mutated_graphs_are_judged_alike(tmp_path: Path, native: Native) -> None:
    generator = random.Random(13)
    manifest, contents = tiny_contents()
    for _ in range(250):
        graph = mutate(contents["model.onnx"], generator)
        write_bundle(tmp_path / "x.physedge", manifest, {**contents, "model.onnx": graph})
        bundle = native.read(tmp_path / "x.physedge")
        try:
            check_graph(graph, origin="x")
            python = "taken"
        except IntegrityError as error:
            python = error.identifier
        try:
            native_open(native, bundle)
            ours = "taken"
        except IntegrityError as error:
            ours = error.identifier
        finally:
            native.free(bundle)
        assert ours == python


def native_open(native: Native, bundle: object) -> None:
    from native_library import OpenNet

    OpenNet(native, bundle, engine=b"fake", largest_width_px=64, largest_height_px=64).close()  # type: ignore[arg-type]


def mutate(data: bytes, generator: random.Random) -> bytes:
    """One change of the kinds that a disk, a line or an attacker makes; a third of them near the end."""
    at = generator.randrange(len(data))
    if generator.random() < 0.33:
        at = len(data) - 1 - generator.randrange(min(400, len(data)))
    size, other = generator.randrange(1, 60), generator.randrange(len(data))
    match generator.randrange(5):
        case 0:
            changed = bytearray(data)
            changed[at] ^= 1 << generator.randrange(8)
            return bytes(changed)
        case 1:
            return data[:at] + data[at + size :]
        case 2:
            return data[:at] + data[other : other + size] + data[at + size :]
        case 3:
            return data[:at] + generator.randbytes(size) + data[at:]
        case _:
            return data[:at] + bytes([generator.randrange(256)]) + data[at + 1 :]


def test_the_shared_tables_are_up_to_date() -> None:
    assert stale_tables() == [], "python runtime/native/make_tables.py"


def test_python_reads_what_the_manifest_of_a_test_says(tiny_bundle: Bundle) -> None:
    """Guards the helper above: an unchanged manifest is canonical."""
    assert parse_manifest(tiny_bundle.read(MANIFEST), origin="x") == tiny_bundle.manifest
