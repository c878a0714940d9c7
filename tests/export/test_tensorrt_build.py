"""One builder for three libraries: every branch on fakes, and real engines where TensorRT-RTX is installed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fake_nvidia as fakes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from physedge_export.targets.profiles import DeviceProfile, device_profiles, find_profile
from physedge_export.targets.tensorrt import recipe, stand_alone_script
from physedge_export.targets.tensorrt_build import BuildOptions, build_ahead, build_engine, workspace_from
from physedge_runtime.engines.tensorrt_library import Messages, TensorRtLibrary, find_library
from physedge_runtime.errors import BuildError, UsageError
from physedge_runtime.frame import FrameSpec
from physedge_runtime.spec import ModelSpec, Task


def library(version: str = "10.3.0", **options: Any) -> TensorRtLibrary:
    kind = "tensorrt_rtx" if options.get("rtx") else "tensorrt"
    return TensorRtLibrary(kind=kind, version=version, module=fakes.FakeTensorRt(version, **options))


class Seen:
    """A `BuildWatch` that keeps what it was told."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int | None]] = []
        self.steps = 0

    def phase(self, name: str, steps: int | None) -> None:
        self.phases.append((name, steps))

    def step(self) -> None:
        self.steps += 1


def test_the_fakes_know_what_each_version_knows() -> None:
    """The calibrator and the weak-typing flags are gone in 11: whoever touched them would fail there."""
    ten, eleven = fakes.FakeTensorRt("10.3.0"), fakes.FakeTensorRt("11.4.1")
    ten._config().int8_calibrator = ten.IInt8EntropyCalibrator2()
    assert hasattr(ten.BuilderFlag, "FP16")
    with pytest.raises(AttributeError, match="int8_calibrator"):
        eleven._config().int8_calibrator = object()
    assert not hasattr(eleven.BuilderFlag, "FP16") and not hasattr(eleven, "IInt8EntropyCalibrator2")


def test_an_older_library_without_a_monitor_builds_too() -> None:
    seen = Seen()
    build_engine(
        b"g",
        library=library(missing=("progress_monitor",)),
        options=BuildOptions(workspace_mib=64),
        watch=seen,
    )
    assert [steps for _, steps in seen.phases] == [None, None] and seen.steps == 0


def test_memory_that_python_misses_is_the_same_error() -> None:
    heavy = library()
    heavy.module._build = lambda *_: (_ for _ in ()).throw(MemoryError())
    with pytest.raises(BuildError, match=r"PE-TRT-023.*--workspace 64"):
        build_engine(b"g", library=heavy, options=BuildOptions(workspace_mib=64))


def test_an_engine_that_its_own_reader_refuses_is_no_engine() -> None:
    with pytest.raises(BuildError, match=r"PE-TRT-024.*MALFORMED_ENGINE"):
        build_engine(b"g", library=library(validity=32), options=BuildOptions(workspace_mib=64))


@pytest.mark.parametrize(
    ("version", "missing", "network_flags"), [("10.3.0", (), 2), ("11.4.1", (), 2), ("12.0", ("STRONGLY_TYPED",), 0)]
)
def test_every_version_builds_by_the_same_path(version: str, missing: tuple[str, ...], network_flags: int) -> None:
    chosen = library(version, missing=missing)
    seen = Seen()
    ticks = iter([10.0, 12.5])
    built = build_engine(
        b"graph",
        library=chosen,
        options=BuildOptions(workspace_mib=512),
        watch=seen,
        clock=lambda: next(ticks),
    )
    (made,) = chosen.module.built
    assert made["network_flags"] == network_flags
    assert made["limits"] == {"workspace": 512 << 20}
    assert made["flags"] == [] and "int8_calibrator" not in made  # precision stands in the graph alone
    assert built.seconds == 2.5
    assert built.sha256 == hashlib.sha256(built.data).hexdigest()
    assert seen.phases[-1] == ("Building", 2) and seen.steps == 1


def test_a_failed_parse_names_the_module() -> None:
    with pytest.raises(BuildError, match=r"PE-TRT-020.*flow\.step/Det in module 'flow\.step' \(no such operator\)"):
        build_engine(b"g", library=library(parse_error="no such operator"), options=BuildOptions(workspace_mib=64))


def test_no_engine_gives_the_librarys_own_reason() -> None:
    reason = "Could not find any implementation for node stem/Conv"
    with pytest.raises(BuildError, match=rf"PE-TRT-022.*{reason}"):
        build_engine(b"g", library=library(build_error=reason), options=BuildOptions(workspace_mib=64))


def test_out_of_memory_says_how_much_was_asked_for() -> None:
    heavy = library(build_error="OutOfMemory: requested 5368709120 bytes")
    with pytest.raises(BuildError, match=r"PE-TRT-023.*512 MiB.*--workspace 256"):
        build_engine(b"g", library=heavy, options=BuildOptions(workspace_mib=512))


def test_compatible_builds_are_offered_where_the_library_has_them() -> None:
    chosen = library("11.4.1")
    options = BuildOptions(workspace_mib=64, hardware_compatible=True, version_compatible=True)
    build_engine(b"g", library=chosen, options=options)
    (seen,) = chosen.module.built
    assert seen["hardware_compatibility_level"] == "ampere+" and seen["flags"] == ["version"]


@pytest.mark.parametrize(
    ("option", "missing"), [("hardware_compatible", "AMPERE_PLUS"), ("version_compatible", "VERSION_COMPATIBLE")]
)
def test_what_the_library_does_not_have_is_refused(option: str, missing: str) -> None:
    options = BuildOptions(workspace_mib=64, **{option: True})
    with pytest.raises(BuildError, match="PE-TRT-021"):
        build_engine(b"g", library=library(missing=(missing,)), options=options)


def test_only_rtx_builds_ahead_of_time() -> None:
    rtx = library("1.7.1", rtx=True)
    build_ahead(b"g", find_profile("rtx40"), library=rtx)
    assert rtx.module.built[0]["capability"] == "sm89"
    with pytest.raises(BuildError, match=r"PE-TRT-021: TensorRT 10\.3\.0 does not offer engines .* ahead of time"):
        build_ahead(b"g", find_profile("rtx40"), library=library())
    with pytest.raises(BuildError, match=r"PE-TRT-021.*Jetson"):
        build_ahead(b"g", find_profile("jetson-orin"), library=rtx)
    with pytest.raises(BuildError, match=r"PE-TRT-021.*SM120"):
        build_ahead(b"g", find_profile("rtx50"), library=rtx)  # this fake is older than Blackwell


def test_the_workspace_leaves_half_of_what_is_free() -> None:
    assert workspace_from(8 << 30, 2048) == 2048
    assert workspace_from(1 << 30, 2048) == 512
    assert workspace_from(10 << 20, 2048) == 64


@pytest.mark.parametrize("profile", device_profiles().values(), ids=lambda profile: profile.name)
def test_every_profile_is_complete_and_says_its_sources(profile: DeviceProfile) -> None:
    assert profile.sources and all(source.startswith("https://") for source in profile.sources)
    assert profile.precisions[0] == "fp16" and set(profile.precisions) <= {"fp32", "fp16", "int8"}
    assert set(profile.libraries) <= {"tensorrt", "tensorrt_rtx"}
    assert profile.ahead_of_time == ("tensorrt_rtx" in profile.libraries)
    assert profile.sm == f"sm{profile.compute_capability.replace('.', '')}"
    profile.require("fp16")
    with pytest.raises(UsageError, match=r"PE-TRT-031.*fp8"):
        profile.require("fp8")


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"PE-TRT-030.*rtx20, rtx30, rtx40, rtx50, jetson-orin, jetson-thor"):
        find_profile("voodoo2")


def tiny_graph(half: bool = False, quantised: bool = False) -> bytes:
    kernel = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["frame"], ["f"], name="input/Cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["f"], ["x"], name="input/Transpose", perm=[0, 3, 1, 2]),
    ]
    weights = [numpy_helper.from_array(kernel, "w")]
    data, weight = "x", "w"
    if quantised:
        zero, scale = numpy_helper.from_array(np.int8(0), "z"), numpy_helper.from_array(np.float32(1.0), "s")
        weights += [zero, scale]
        for name in ("x", "w"):
            nodes.append(helper.make_node("QuantizeLinear", [name, "s", "z"], [f"{name}_q"], name=f"stem/Q{name}"))
            nodes.append(
                helper.make_node("DequantizeLinear", [f"{name}_q", "s", "z"], [f"{name}_d"], name=f"stem/D{name}")
            )
        data, weight = "x_d", "w_d"
    nodes += [
        helper.make_node("Conv", [data, weight], ["a"], name="stem/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMax", ["a", "axis"], ["m"], name="head/ReduceMax", keepdims=1),
        helper.make_node("Sigmoid", ["m"], ["probability"], name="output/Sigmoid"),
    ]
    weights.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, (1, 16, 16, 3))],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, (1, 1, 16, 16))],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    if half:
        from physedge_export.half import half_model

        model = half_model(model)
    return model.SerializeToString(deterministic=True)


needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT-RTX is not installed"
)


@needs_rtx
@pytest.mark.parametrize("form", ["fp32", "fp16", "int8"])
def test_a_real_engine_is_built_without_a_gpu_and_twice_the_same(form: str) -> None:
    graph = tiny_graph(half=form == "fp16", quantised=form == "int8")
    rtx = find_library("tensorrt_rtx")
    first, second = (build_ahead(graph, find_profile("rtx40"), library=rtx) for _ in range(2))
    assert first.data == second.data and len(first.data) > 1000


@needs_rtx
def test_the_real_reader_knows_its_engine_and_no_other_bytes() -> None:
    """As far as this goes without a GPU: the header is TensorRT-RTX's own; a missing GPU is no fault of it."""
    rtx = find_library("tensorrt_rtx")
    runtime = rtx.module.Runtime(Messages().logger(rtx))
    built = build_ahead(tiny_graph(), find_profile("rtx40"), library=rtx)
    assert "MALFORMED_ENGINE" not in rtx.faults_of(runtime, built.data)
    assert "MALFORMED_ENGINE" in rtx.faults_of(runtime, bytes(8) + built.data[8:])


@needs_rtx
def test_the_real_builder_tells_its_phases() -> None:
    seen = Seen()
    build_ahead(tiny_graph(), find_profile("rtx40"), library=find_library("tensorrt_rtx"), watch=seen)
    assert len(seen.phases) >= 3 and seen.phases[-1][1] is not None


@needs_rtx
def test_engines_of_two_generations_differ() -> None:
    rtx = find_library("tensorrt_rtx")
    engines = {build_ahead(tiny_graph(), find_profile(name), library=rtx).sha256 for name in ("rtx20", "rtx50")}
    assert len(engines) == 2


@needs_rtx
def test_the_real_parser_names_the_module() -> None:
    model = onnx.load_from_string(tiny_graph())
    model.graph.node[-1].op_type = "Det"
    model.graph.node[-1].name = "flow.step/Det"
    with pytest.raises(BuildError, match=r"PE-TRT-020.*flow\.step/Det in module 'flow\.step'"):
        build_ahead(model.SerializeToString(), find_profile("rtx40"), library=find_library("tensorrt_rtx"))


SPEC = ModelSpec(name="t", task=Task.SEGMENTATION, classes=("background", "a"), frame=FrameSpec(height=16, width=16))


def test_the_recipe_is_stable_and_complete() -> None:
    made = recipe("model.fp16.onnx", b"graph", "fp16", SPEC)
    content = json.loads(made.to_bytes())
    assert content["graph_sha256"] == hashlib.sha256(b"graph").hexdigest()
    assert content["trtexec"].startswith(
        "trtexec --onnx=model.fp16.onnx --saveEngine=model.fp16.engine --stronglyTyped"
    )
    assert made.sha256 == recipe("model.fp16.onnx", b"graph", "fp16", SPEC).sha256
    assert made.sha256 != recipe("model.fp16.onnx", b"other", "fp16", SPEC).sha256


def run_script(tmp_path: Path, graph: bytes, *, fake: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "build_engine.py"
    script.write_text(stand_alone_script(recipe("model.fp16.onnx", b"graph", "fp16", SPEC)))
    (tmp_path / "model.fp16.onnx").write_bytes(graph)
    if fake:
        (tmp_path / "tensorrt.py").write_text(fake)
    return subprocess.run([sys.executable, "-S", script.name], cwd=tmp_path, capture_output=True, text=True, timeout=60)


FAKE = """
__version__ = "10.3.0"
class Logger:
    WARNING = 1
    def __init__(self, level): pass
class NetworkDefinitionCreationFlag: STRONGLY_TYPED = 1
class MemoryPoolType: WORKSPACE = 0
class IProgressMonitor:
    def __init__(self): pass
class Config:
    progress_monitor = None
    def set_memory_pool_limit(self, pool, size): assert size == 1024 << 20
class Builder:
    def __init__(self, logger): pass
    def create_network(self, flags): assert flags == 2
    def create_builder_config(self): return Config()
    def build_serialized_network(self, network, config):
        config.progress_monitor.phase_start("Tuning", None, 3)
        config.progress_monitor.phase_start("Inner", "Tuning", 3)
        assert config.progress_monitor.step_complete("Tuning", 1)
        return b"engine"
class OnnxParser:
    def __init__(self, network, logger): pass
    def parse(self, data): return data == b"graph"
"""


def test_the_stand_alone_script_builds_without_physedge(tmp_path: Path) -> None:
    finished = run_script(tmp_path, b"graph", fake=FAKE)
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "model.fp16.engine").read_bytes() == b"engine"
    assert "not judged" in finished.stdout
    assert "Tuning (3 steps)" in finished.stdout and "Inner" not in finished.stdout


def test_the_stand_alone_script_refuses_another_graph_and_a_missing_library(tmp_path: Path) -> None:
    assert "not the graph" in run_script(tmp_path, b"changed", fake=FAKE).stderr
    other = tmp_path / "bare"
    other.mkdir()
    assert "TensorRT is not installed here" in run_script(other, b"graph", fake="").stderr
