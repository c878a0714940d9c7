"""One contract for all engines; those not installed are skipped by name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from physedge_runtime.engines import ENGINES, EngineRequest, open_engine
from physedge_runtime.errors import EnvironmentFault, UsageError

SHAPE = (1, 32, 32, 3)
REAL = ["onnxruntime", "openvino"]


def request_for(graph: bytes, **changes: object) -> EngineRequest:
    values: dict[str, object] = {
        "graph": graph,
        "graph_sha256": hashlib.sha256(graph).hexdigest(),
        "input_shape": SHAPE,
        "outputs": {"probability": (1, 1, 32, 32)},
        "threads": 1,
    }
    return EngineRequest(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(params=[*REAL, "fake"])
def engine_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not ENGINES[name].is_installed:
        pytest.skip(f"the engine {name} is not installed")
    return name


@pytest.fixture(scope="module")
def graph() -> bytes:
    from tiny_network import tiny_graph

    return tiny_graph()


def frames(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, SHAPE, dtype=np.uint8) for _ in range(count)]


def test_outputs_have_names_shapes_and_dtype(engine_name: str, graph: bytes) -> None:
    with open_engine(engine_name, request_for(graph)) as engine:
        outputs = engine.infer(frames(1)[0])
    assert list(outputs) == ["probability"]
    assert outputs["probability"].shape == (1, 1, 32, 32)
    assert outputs["probability"].dtype == np.float32


def test_the_promised_name_is_kept_where_the_answer_is_only_rearranged(engine_name: str) -> None:
    import onnx

    text = """<ir_version: 10, opset_import: ["" : 18]>
    cells (uint8[1, 32, 32, 3] frame, float[16, 3, 4, 4] weight) => (float[1, 1, 32, 32] probability)
    { numbers = Cast<to = 1>(frame)  planes = Transpose<perm = [0, 3, 1, 2]>(numbers)
      cells_of_four = Conv<strides = [4, 4]>(planes, weight)
      a_name_before_the_promised_one = DepthToSpace<blocksize = 4, mode = "CRD">(cells_of_four)
      probability = Sigmoid(a_name_before_the_promised_one) }"""
    model = onnx.parser.parse_model(text)
    weight = np.random.default_rng(1).normal(scale=1e-3, size=(16, 3, 4, 4)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "weight"))
    del model.graph.input[1]
    with open_engine(engine_name, request_for(model.SerializeToString())) as engine:
        assert list(engine.infer(frames(1)[0])) == ["probability"]


def test_an_answer_is_not_overwritten_by_the_next(engine_name: str, graph: bytes) -> None:
    first, second = frames(2)
    with open_engine(engine_name, request_for(graph)) as engine:
        answer = engine.infer(first)["probability"]
        before = answer.copy()
        engine.infer(second)
        np.testing.assert_array_equal(answer, before)


def test_the_same_frame_gives_the_same_bits(engine_name: str, graph: bytes) -> None:
    frame = frames(1)[0]
    with open_engine(engine_name, request_for(graph)) as engine:
        answers = {engine.infer(frame)["probability"].tobytes() for _ in range(20)}
    assert len(answers) == 1


def test_use_outside_the_block_is_a_bug_and_says_so(engine_name: str, graph: bytes) -> None:
    engine = open_engine(engine_name, request_for(graph))
    engine.close()
    engine.close()
    with pytest.raises(RuntimeError, match="not open"):
        engine.infer(frames(1)[0])


def test_the_fingerprint_names_library_version_and_graph(engine_name: str, graph: bytes) -> None:
    with open_engine(engine_name, request_for(graph)) as engine:
        name, version, short = engine.fingerprint.split(" ")
    assert name == engine_name
    assert version
    assert hashlib.sha256(graph).hexdigest().startswith(short)


@pytest.mark.parametrize("name", REAL)
def test_real_engines_agree_with_the_formula(name: str, graph: bytes) -> None:
    if not ENGINES[name].is_installed:
        pytest.skip(f"the engine {name} is not installed")
    frame = frames(1)[0]
    expected = 1 / (1 + np.exp(-8 * (frame[0, :, :, 0] / 255.0 - 0.5)))
    with open_engine(name, request_for(graph)) as engine:
        np.testing.assert_allclose(engine.infer(frame)["probability"][0, 0], expected, atol=1e-5)


@pytest.mark.parametrize("name", REAL)
def test_a_graph_that_cannot_be_read_is_one_sentence(name: str) -> None:
    if not ENGINES[name].is_installed:
        pytest.skip(f"the engine {name} is not installed")
    with pytest.raises(EnvironmentFault, match="PE-ENGINE-002"):
        open_engine(name, request_for(b"no graph"))


def test_an_unknown_engine_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"PE-ENGINE-001.*onnxruntime, openvino"):
        open_engine("abacus", request_for(b""))


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'physedge-.*\.whl\[openvino\]'"):
        open_engine("openvino", request_for(b""))


def test_onnxruntime_writes_a_profile_when_asked(graph: bytes, tmp_path: Path) -> None:
    engine = open_engine("onnxruntime", request_for(graph, options={"profile": tmp_path / "p"}))
    engine.infer(frames(1)[0])
    engine.close()
    assert list(tmp_path.glob("p*.json"))


def test_openvino_counts_operators_when_asked(graph: bytes) -> None:
    if not ENGINES["openvino"].is_installed:
        pytest.skip("the engine openvino is not installed")
    from physedge_runtime.engines.openvino import OpenVinoEngine

    with OpenVinoEngine(request_for(graph, options={"profile": True})) as engine:
        engine.infer(frames(1)[0])
        assert engine.profiling_info()
