"""The quantised graphs: what they hold, what they compute, and what they refuse."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from physedge_calibrate.emulation import emulate
from physedge_calibrate.macs import mac_counts, mac_share
from physedge_calibrate.quantize import QuantizedModel, quantize_signed, quantize_unsigned
from physedge_runtime.errors import BuildError, SourceError, UsageError
from physedge_runtime.telemetry import silence_openvino

Frames = list[NDArray[np.uint8]]
# Multiply-accumulates of the small graph: 32x32 outputs.
STEM, DEPTH, MIX, LAPLACIAN, HEAD = (32 * 32 * n for n in (8 * 27, 8 * 9, 8 * 8, 8 * 9, 8))
# Found 0.055 and 0.03; random weights are harder on a quantiser than trained ones. Saturation gives 0.4.
RANDOM_NET_ERROR = 0.10


def optimised(model: bytes, inputs: Frames) -> NDArray[np.float32]:
    """What ONNX Runtime computes with all its optimisations, as on a device."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"frame": image[None]})[0] for image in inputs])


def relative_error(candidate: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((candidate - reference) ** 2)) / reference.std())


@pytest.fixture(scope="module")
def unsigned(small_network: bytes, physics_nodes: tuple[str, ...], calibration_frames: Frames) -> QuantizedModel:
    return quantize_unsigned(small_network, calibration_frames, input_name="frame", float_nodes=physics_nodes)


@pytest.fixture(scope="module")
def signed(small_network: bytes, physics_nodes: tuple[str, ...], calibration_frames: Frames) -> QuantizedModel:
    return quantize_signed(small_network, calibration_frames, input_name="frame", float_nodes=physics_nodes)


@pytest.fixture(scope="module")
def open_form(small_network: bytes, physics_nodes: tuple[str, ...], calibration_frames: Frames) -> QuantizedModel:
    return quantize_unsigned(
        small_network, calibration_frames, input_name="frame", float_nodes=physics_nodes, engine="openvino"
    )


def openvino_runs_in_int8(model: bytes, inputs: Frames) -> tuple[NDArray[np.float32], dict[str, str]]:
    """What OpenVINO computes, and the kernel that it took for each convolution, by its name in the graph."""
    silence_openvino()
    openvino = pytest.importorskip("openvino")
    properties = {"PERF_COUNT": True, "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(openvino.Core().read_model(model), "CPU", properties)
    request = compiled.create_infer_request()
    answers = [request.infer([image[None]])[0].copy() for image in inputs]
    kernels = {entry.node_name: entry.exec_type for entry in request.profiling_info}
    return np.concatenate(answers), kernels


def initialisers(model: bytes) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in onnx.load_from_string(model).graph.initializer}


def test_macs_are_those_of_the_formula(small_network: bytes) -> None:
    counts = {count.node: count for count in mac_counts(small_network)}
    expected = {"stem": STEM, "depth": DEPTH, "mix": MIX, "laplacian": LAPLACIAN, "head": HEAD}
    assert {name: count.macs for name, count in counts.items()} == expected
    assert {name for name, count in counts.items() if count.depthwise} == {"depth", "laplacian"}
    assert mac_share(small_network) == 0.0


def test_matrix_products_are_counted() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18]>
    products (float[batch, 208] v) => (float[batch, 1, 4, 4] image)
    <float[208, 64] a, float[16, 64] b, int64[4] form = {-1, 1, 4, 4}, float[1, 2, 3, 3] up>
    { h = MatMul(v, a)  flat = Gemm<transB = 1>(h, b)  image = Reshape(flat, form) }"""
    model = onnx.parser.parse_model(text)
    for tensor in model.graph.initializer:
        if not tensor.raw_data and not tensor.int64_data:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(tensor.dims, np.float32), tensor.name))
    assert [count.macs for count in mac_counts(model.SerializeToString())] == [208 * 64, 64 * 16]


def test_a_transposed_convolution_is_counted_by_its_input() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18]>
    up (float[1, 4, 8, 8] x, float[4, 2, 2, 2] w) => (float[1, 2, 16, 16] y)
    { y = ConvTranspose<strides = [2, 2]>(x, w) }"""
    (count,) = mac_counts(onnx.parser.parse_model(text).SerializeToString())
    assert count.macs == 8 * 8 * 4 * 2 * 4


def test_an_unknown_shape_is_named() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18]>
    any (float[batch, 3, height, 8] x, float[4, 3, 1, 1] w) => (float[batch, 4, height, 8] y)
    { y = Conv(x, w) }"""
    with pytest.raises(BuildError, match="PE-CALIB-003: the shape of 'y'"):
        mac_counts(onnx.parser.parse_model(text).SerializeToString())


@pytest.mark.parametrize("form", ["unsigned", "signed", "open_form"])
def test_everything_but_the_physics_runs_in_int8(form: str, request: pytest.FixtureRequest) -> None:
    quantised: QuantizedModel = request.getfixturevalue(form)
    assert set(quantised.quantised_nodes) == {"stem", "depth", "mix", "head"}
    assert quantised.float_nodes == ("laplacian",)
    whole = STEM + DEPTH + MIX + LAPLACIAN + HEAD
    assert quantised.int8_mac_share == pytest.approx((whole - LAPLACIAN) / whole)
    assert mac_share(quantised.model, closed=form == "unsigned") == quantised.int8_mac_share
    assert quantised.calibration_count == 16


def test_onnx_runtime_replaces_exactly_the_counted_nodes(unsigned: QuantizedModel, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(unsigned.model, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
    assert {node.name for node in nodes if node.op_type == "Conv"} == {"laplacian"}
    assert sum(node.op_type == "QLinearConv" for node in nodes) == len(unsigned.quantised_nodes)


def test_openvino_takes_integer_kernels_for_exactly_the_counted_nodes(
    small_network: bytes, open_form: QuantizedModel, other_frames: Frames
) -> None:
    answers, kernels = openvino_runs_in_int8(open_form.model, other_frames)
    integer = {name for name, kernel in kernels.items() if kernel.upper().endswith(("I8", "U8"))}
    for name in (*open_form.quantised_nodes, *open_form.float_nodes):
        took = {entry for entry in integer if entry == name or entry.startswith(f"{name}/")}
        assert bool(took) == (name in open_form.quantised_nodes), (name, kernels)
    assert relative_error(answers, optimised(small_network, other_frames)) < RANDOM_NET_ERROR


def test_every_engine_gives_the_same_answers_with_the_graph_of_another(
    unsigned: QuantizedModel, open_form: QuantizedModel, other_frames: Frames
) -> None:
    for quantised in (unsigned, open_form):
        answers, _ = openvino_runs_in_int8(quantised.model, other_frames)
        assert relative_error(answers, optimised(quantised.model, other_frames)) < 0.02


def test_a_relu_is_folded_into_the_rounding_before_it(unsigned: QuantizedModel, open_form: QuantizedModel) -> None:
    def operators(model: bytes) -> list[str]:
        return [node.op_type for node in onnx.load_from_string(model).graph.node]

    assert operators(unsigned.model).count("Relu") == 0
    assert operators(unsigned.model).count("QuantizeLinear") == 6
    assert operators(open_form.model).count("Relu") == 2
    assert operators(open_form.model).count("QuantizeLinear") == 4


def test_steps_between_convolutions_stay_integer_in_onnx_runtime_and_the_answer_does_not(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["" : 18]>
    steps (float[1, 4, 8, 8] frame, float[4, 4, 1, 1] w0, float[4, 4, 1, 1] w1, float[1, 8, 1, 1] w2) =>
    (float[1, 1, 8, 8] probability)
    { a = Conv(frame, w0)  s = Sigmoid(a)  b = Conv(s, w1)  c = Add(b, s)  d = Concat<axis = 1>(c, a)
      e = Conv(d, w2)  probability = Sigmoid(e) }"""
    model = onnx.parser.parse_model(text)
    random = np.random.default_rng(3)
    for name in ("w0", "w1", "w2"):
        (value,) = (value for value in model.graph.input if value.name == name)
        shape = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        model.graph.initializer.append(numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name))
        model.graph.input.remove(value)
    for index, node in enumerate(model.graph.node):
        node.name = f"{index}/{node.op_type}"
    frames = [random.normal(size=(1, 4, 8, 8)).astype(np.float32) for _ in range(8)]
    quantised = quantize_unsigned(model.SerializeToString(), frames, input_name="frame")
    assert quantised.int8_mac_share == 1.0
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    session = onnxruntime.InferenceSession(quantised.model, options, providers=["CPUExecutionProvider"])
    ran = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert {"QLinearConv", "QLinearSigmoid", "QLinearAdd"} <= set(ran)
    assert "Add" not in ran
    assert ran.count("Sigmoid") == 1  # the one that makes the answer
    full = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    small, reference = (np.stack([one.run(None, {"frame": x})[0] for x in frames]) for one in (session, full))
    assert relative_error(small, reference) < RANDOM_NET_ERROR


def test_the_unsigned_form_has_unsigned_activations_and_seven_bit_weights(unsigned: QuantizedModel) -> None:
    tensors = initialisers(unsigned.model)
    weights = {name: numpy_helper.to_array(t) for name, t in tensors.items() if name.endswith("_quantized")}
    weights = {name: values for name, values in weights.items() if values.dtype == np.int8}
    assert len(weights) == 4
    for values in weights.values():
        assert values.min() >= -64
        assert values.max() <= 64
    for node in onnx.load_from_string(unsigned.model).graph.node:
        if node.op_type == "QuantizeLinear":
            assert tensors[node.input[2]].data_type == TensorProto.UINT8
    scale = next(t for name, t in tensors.items() if name.startswith("w_stem") and name.endswith("scale"))
    assert list(scale.dims) == [8]


def test_the_signed_form_is_what_tensorrt_accepts(signed: QuantizedModel) -> None:
    tensors = initialisers(signed.model)
    for node in onnx.load_from_string(signed.model).graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero_point = tensors[node.input[2]]
            assert zero_point.data_type == TensorProto.INT8
            assert not numpy_helper.to_array(zero_point).any()


def test_int8_is_close_to_full_precision_in_the_optimised_runtime(
    small_network: bytes, unsigned: QuantizedModel, other_frames: Frames
) -> None:
    reference = optimised(small_network, other_frames)
    assert relative_error(optimised(unsigned.model, other_frames), reference) < RANDOM_NET_ERROR


def test_emulation_agrees_with_the_optimised_runtime_where_nothing_saturates(
    unsigned: QuantizedModel, other_frames: Frames
) -> None:
    emulated = [outputs["probability"] for outputs in emulate(unsigned.model, other_frames, input_name="frame")]
    assert relative_error(optimised(unsigned.model, other_frames), np.concatenate(emulated)) < 0.02


def test_the_signed_form_is_close_to_full_precision_in_emulation(
    small_network: bytes, signed: QuantizedModel, other_frames: Frames
) -> None:
    reference = optimised(small_network, other_frames)
    emulated = [outputs["probability"] for outputs in emulate(signed.model, other_frames, input_name="frame")]
    assert relative_error(np.concatenate(emulated), reference) < RANDOM_NET_ERROR


def test_only_dense_products_when_asked_for(
    small_network: bytes, physics_nodes: tuple[str, ...], calibration_frames: Frames
) -> None:
    quantised = quantize_unsigned(
        small_network, calibration_frames, input_name="frame", float_nodes=physics_nodes, kinds="dense"
    )
    assert set(quantised.quantised_nodes) == {"stem", "mix", "head"}
    assert "dense" in quantised.method


def test_the_same_images_give_the_same_bytes(
    small_network: bytes, physics_nodes: tuple[str, ...], calibration_frames: Frames, unsigned: QuantizedModel
) -> None:
    again = quantize_unsigned(small_network, iter(calibration_frames), input_name="frame", float_nodes=physics_nodes)
    assert again == unsigned


def test_no_domain_is_declared_that_no_node_uses(unsigned: QuantizedModel) -> None:
    model = onnx.load_from_string(unsigned.model)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain for entry in model.opset_import} == {""}


def test_progress_is_reported_and_nothing_is_left_behind(
    small_network: bytes, calibration_frames: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[int] = []
    quantize_unsigned(small_network, calibration_frames[:3], input_name="frame", progress=seen.append)
    assert seen == [1, 2, 3]
    assert list(tmp_path.iterdir()) == []


def test_no_calibration_images_are_refused(small_network: bytes) -> None:
    with pytest.raises(UsageError, match=r"PE-CALIB-001: no calibration images.*--calib DIR"):
        quantize_unsigned(small_network, [], input_name="frame")


def test_images_of_another_size_are_refused(small_network: bytes) -> None:
    with pytest.raises(BuildError, match="PE-CALIB-002: the quantiser of ONNX Runtime stopped"):
        quantize_unsigned(small_network, [np.zeros((8, 8, 3), np.uint8)], input_name="frame")


def test_what_the_source_of_images_raises_comes_through(small_network: bytes) -> None:
    def broken() -> Iterator[NDArray[np.uint8]]:
        yield np.zeros((32, 32, 3), np.uint8)
        raise SourceError("PE-SRC-900", found="a broken picture", expected="a picture", next_step="look at it")

    with pytest.raises(SourceError, match="a broken picture"):
        quantize_unsigned(small_network, broken(), input_name="frame")


def test_physics_that_is_not_in_the_graph_is_refused(small_network: bytes, calibration_frames: Frames) -> None:
    with pytest.raises(BuildError, match="PE-CALIB-004: none of 1 nodes"):
        quantize_unsigned(small_network, calibration_frames, input_name="frame", float_nodes=["renamed"])
