"""TensorRT engines beside a bundle and on a device: built, marked, judged, kept or thrown away. All on fakes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_nvidia as fakes
import numpy as np
import pytest
from tiny_network import tiny_graph

from physedge.deploy import engine_build, engines
from physedge.deploy.build_watch import ShownBuild
from physedge.deploy.engine_build import DeviceBuildOptions, build_if_missing, build_on_device, prices
from physedge.deploy.engines import deliver_engines
from physedge.deploy.judge import Graph
from physedge_export.targets.tensorrt import recipe
from physedge_runtime.bundle import MANIFEST, Bundle
from physedge_runtime.engines.cuda import Cuda
from physedge_runtime.engines.engine_cache import EngineCache
from physedge_runtime.engines.tensorrt_library import TensorRtLibrary
from physedge_runtime.errors import BuildError, EnvironmentFault, IntegrityError, UsageError
from physedge_runtime.frame import FrameSpec
from physedge_runtime.manifest import Artefact, Entry, GoldenCase, Manifest, Output
from physedge_runtime.spec import ModelSpec, Task
from physedge_runtime.verdict import Verdict

SPEC = ModelSpec(name="net", task=Task.SEGMENTATION, classes=("background", "a"), frame=FrameSpec(height=8, width=12))
INPUT, OUTPUT = (1, 8, 12, 3), (1, 1, 8, 12)
ENTRY = "model.fp16.onnx"
GRAPH = tiny_graph()


@pytest.fixture(autouse=True)
def shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes, "SHAPE", INPUT)


def bundle(expected: float) -> Bundle:
    """A bundle whose golden frame is grey 51; `expected` is what full precision made of it."""
    contents = {
        MANIFEST: b"manifest",
        ENTRY: GRAPH,
        "golden/0.frame": np.full((8, 12, 3), 51, np.uint8).tobytes(),
        "golden/0.probability": np.full(OUTPUT[1:], expected, "<f4").tobytes(),
    }
    entries = {
        name: Entry(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data)) for name, data in contents.items()
    }
    artefact = Artefact(entry=ENTRY, precision="fp16", method="m", golden_mean_bound=0.01, golden_max_bound=0.05)
    case = GoldenCase(frame="golden/0.frame", shape=(8, 12, 3), outputs={"probability": "golden/0.probability"})
    manifest = Manifest(
        physedge_version="0",
        spec=SPEC,
        outputs=(Output(name="probability", shape=OUTPUT[1:]),),
        artefacts=(artefact.model_copy(update={"entry": "model.onnx", "precision": "fp32"}), artefact),
        target="tensorrt",
        shipped={"tensorrt": ENTRY},
        golden=(case,),
        verdict=Verdict.NOT_RUN,
        entries=entries,
    )
    return Bundle(path=Path("net.physedge"), manifest=manifest, sha256="0" * 64, trust="unsigned", contents=contents)


def device(tmp_path: Path, **options: Any) -> DeviceBuildOptions:
    bindings = fakes.FakeCuda()
    module = fakes.FakeTensorRt("10.3.0", cuda=bindings, output_shape=OUTPUT, **options)
    return DeviceBuildOptions(
        cuda=Cuda(bindings),
        library=TensorRtLibrary(kind="tensorrt", version="10.3.0", module=module),
        cache=EngineCache(tmp_path / "engines"),
    )


def test_an_engine_that_answers_the_golden_frames_is_kept_and_found_again(tmp_path: Path) -> None:
    here = device(tmp_path)
    first = build_on_device(bundle(0.2), here)
    assert first.built and first.path.exists()
    assert "answers the golden frames" in first.statements[0]
    again = build_on_device(bundle(0.2), here)
    assert not again.built and again.path == first.path
    assert "is there already" in again.statements[0]


def test_an_engine_that_answers_otherwise_is_thrown_away(tmp_path: Path) -> None:
    here = device(tmp_path)
    with pytest.raises(IntegrityError, match="PE-BUNDLE-020"):
        build_on_device(bundle(0.9), here)
    assert list((tmp_path / "engines").iterdir()) == []


def test_other_options_mean_another_build_and_have_their_price_said(tmp_path: Path) -> None:
    here = device(tmp_path)
    build_on_device(bundle(0.2), here)
    asked = replace(here, version_compatible=True, hardware_compatible=True, workspace_mib=128)
    assert here.library is not None
    assert not here.library.module.runtimes[-1].engine_host_code_allowed
    assert build_on_device(bundle(0.2), asked).built
    assert here.library.module.runtimes[
        -1
    ].engine_host_code_allowed  # it carries a runtime, and is asked on golden frames
    assert here.library.module.built[-1]["limits"] == {"workspace": 128 << 20}
    slower, larger = prices(hardware_compatible=True, version_compatible=True)
    assert "may be slower" in slower and "slower to load" in larger
    assert prices(hardware_compatible=False, version_compatible=False) == ()


def test_an_engine_that_was_not_accepted_can_be_forgotten(tmp_path: Path) -> None:
    done = build_on_device(bundle(0.2), device(tmp_path))
    done.forget()
    assert not done.path.exists()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DeviceBuildOptions:
    """This machine is a device: with a GPU, a library and an empty cache."""
    found = device(tmp_path)
    monkeypatch.setattr(engine_build, "find_library", lambda: found.library)
    monkeypatch.setattr(engine_build, "Cuda", lambda: found.cuda)
    monkeypatch.setattr(engine_build, "default_cache", lambda: found.cache)
    return found


def test_a_missing_engine_is_built_once_and_only_where_tensorrt_answers(here: DeviceBuildOptions) -> None:
    assert build_if_missing(bundle(0.2), engine="tensorrt").startswith("built in ")
    assert "is there already" in build_if_missing(bundle(0.2), engine="tensorrt")
    assert (
        build_if_missing(bundle(0.2), engine="onnxruntime") == "no engine to build: the answers come from onnxruntime"
    )
    assert here.library is not None and len(here.library.module.built) == 1


def test_a_build_says_its_phases_its_time_and_the_gpus_memory(here: DeviceBuildOptions) -> None:
    said: list[str] = []

    @contextmanager
    def progress(description: str, total: int | None) -> Iterator[Any]:
        said.append(f"{description} [{total}]")
        yield lambda: said.append("step")

    build_on_device(bundle(0.2), progress=progress)
    assert said[0].startswith("TensorRT 10.3.0 reads the graph (0 s, 8,192 of 16,384 MiB of GPU memory taken)")
    assert any("builds the engine (workspace 1024 MiB)" in line for line in said)
    assert any(line.startswith("Building (") and line.endswith("[2]") for line in said) and "step" in said
    assert said[-1].startswith("replaying the golden frames")


def test_a_builder_that_says_nothing_is_said_to_be_at_it_still() -> None:
    said: list[str] = []
    heard = threading.Event()

    @contextmanager
    def progress(description: str, total: int | None) -> Iterator[Any]:
        said.append(description)
        if len(said) >= 3:
            heard.set()
        yield lambda: None

    with ShownBuild(progress, lambda: "1 MiB", quiet_s=0.01) as watch:
        watch.phase("tuning", None)
        assert heard.wait(10)
    assert said[0] == "tuning (0 s, 1 MiB)" and said[1].startswith("still at it: tuning (0 s")
    count = len(said)
    assert not any(thread.name == "build-watch" for thread in threading.enumerate()) and len(said) == count


def graph_and_plan() -> tuple[Graph, Any]:
    return Graph(entry=ENTRY, precision="fp16", data=b"graph"), recipe(ENTRY, b"graph", "fp16", SPEC)


def rtx(monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    library = TensorRtLibrary(
        kind="tensorrt_rtx", version="1.7.1", module=fakes.FakeTensorRt("1.7.1", rtx=True, **options)
    )
    monkeypatch.setattr(engines, "find_library", lambda _kind: library)


def test_a_profile_gets_its_engine_beside_the_bundle_marked_as_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rtx(monkeypatch)
    graph, plan = graph_and_plan()
    done = deliver_engines(tmp_path / "net.physedge", graph, plan, profile="rtx40")
    assert [path.name for path in done.files] == ["net.build_engine.py", "net.sm89.engine"]
    told = json.loads((tmp_path / "net.sm89.engine.json").read_text())
    assert told["status"] == "built, not run"
    assert told["engine_sha256"] == hashlib.sha256(done.files[1].read_bytes()).hexdigest()
    assert any("built, not run" in sentence for sentence in done.statements)


def test_without_a_profile_every_rtx_generation_that_the_library_knows_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rtx(monkeypatch)
    done = deliver_engines(tmp_path / "net.physedge", *graph_and_plan(), profile=None)
    assert {path.name for path in done.files} == {"net.build_engine.py", "net.sm75.engine", "net.sm89.engine"}
    assert any(sentence.startswith("no engine for rtx50") for sentence in done.statements)


def test_a_jetson_gets_the_script_and_what_must_be_known(tmp_path: Path) -> None:
    done = deliver_engines(tmp_path / "net.physedge", *graph_and_plan(), profile="jetson-orin")
    assert [path.name for path in done.files] == ["net.build_engine.py"]
    assert any("JetPack 6.x stays on TensorRT 10.x" in sentence for sentence in done.statements)


def test_a_missing_library_is_said_and_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_kind: str) -> TensorRtLibrary:
        raise EnvironmentFault("PE-TRT-001", found="none", expected="one", next_step="install it")

    monkeypatch.setattr(engines, "find_library", missing)
    done = deliver_engines(tmp_path / "net.physedge", *graph_and_plan(), profile="rtx30")
    assert any("needs the extra 'tensorrt'" in sentence for sentence in done.statements)


def test_a_graph_that_cannot_be_built_and_an_unknown_profile_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rtx(monkeypatch, parse_error="no such operator")
    with pytest.raises(BuildError, match="PE-TRT-020"):
        deliver_engines(tmp_path / "net.physedge", *graph_and_plan(), profile="rtx40")
    with pytest.raises(UsageError, match="PE-TRT-030"):
        deliver_engines(tmp_path / "net.physedge", *graph_and_plan(), profile="rtx41")
