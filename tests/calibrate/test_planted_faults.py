"""Faults planted on purpose, on the real engines: the gate has to refuse them, and to pass the same without."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_static

from physedge_calibrate.emulation import emulate
from physedge_calibrate.gate import Judgement, check_outputs, judge, standard
from physedge_calibrate.metrics import dice
from physedge_calibrate.quantize import prepared, quantize_unsigned
from physedge_runtime.verdict import Verdict

SIDE_PX = 32
Frames = list[NDArray[np.uint8]]
Masks = list[NDArray[np.bool_]]


def brightness_graph() -> bytes:
    """Probability that the 3x3 surroundings of a pixel are bright; all weights are positive, which saturates best."""

    def tensor(name: str, values: NDArray[np.float64]) -> onnx.TensorProto:
        return numpy_helper.from_array(values.astype(np.float32), name)

    nodes = [
        helper.make_node("Transpose", ["frame"], ["planes"], name="layout", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["number"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Conv", ["number", "spread"], ["copies"], name="stem"),
        helper.make_node("Conv", ["copies", "mean", "threshold"], ["logit"], name="mean_it", pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["logit"], ["probability"], name="sigmoid"),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, SIDE_PX, SIDE_PX, 3])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1, 1, SIDE_PX, SIDE_PX])],
        [
            tensor("spread", np.full((32, 3, 1, 1), 1 / 3 / 255)),
            tensor("mean", np.full((1, 32, 3, 3), 20 / 32 / 9)),
            tensor("threshold", np.array([-12.0])),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    serialised: bytes = model.SerializeToString()
    return serialised


def scenes(count: int, *, seed: int) -> tuple[Frames, Masks]:
    """Bright disks on a dark ground, with their masks."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    frames, masks = [], []
    for _ in range(count):
        row, column = random.uniform(10, 22, 2)
        mask = (y - row) ** 2 + (x - column) ** 2 < random.uniform(5, 9) ** 2
        picture = np.where(mask, 240, 60)[..., None] + random.normal(scale=5, size=(SIDE_PX, SIDE_PX, 3))
        frames.append(picture.clip(0, 255).astype(np.uint8))
        masks.append(mask)
    return frames, masks


def full_range(model: bytes, calibration: Frames) -> bytes:
    """What a careless quantiser makes: unsigned activations and weights of 8 full bits."""

    class Reader:
        def __init__(self) -> None:
            self.images = iter(calibration)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            image = next(self.images, None)
            return None if image is None else {"frame": image[None]}

    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "source.onnx", Path(folder) / "result.onnx"
        source.write_bytes(prepared(model))
        quantize_static(
            str(source),
            str(result),
            Reader(),  # type: ignore[arg-type]
            op_types_to_quantize=["Conv"],
            per_channel=True,
            reduce_range=False,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return result.read_bytes()


def answers(model: bytes, frames: Frames) -> list[NDArray[np.float32]]:
    """Of ONNX Runtime with its integer kernels."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [session.run(None, {"frame": frame[None]})[0][0, 0] for frame in frames]


def emulated(model: bytes, frames: Frames) -> list[NDArray[np.float32]]:
    return [output["probability"][0, 0] for output in emulate(model, frames, input_name="frame")]


def verdict_on(candidate: list[NDArray[np.float32]], reference: list[NDArray[np.float32]], masks: Masks) -> Judgement:
    scores = [
        [dice(answer > 0.5, mask) for answer, mask in zip(many, masks, strict=True)] for many in (reference, candidate)
    ]
    return judge(
        *scores,
        tolerance=standard(),
        generator=np.random.default_rng(0),
        findings=check_outputs(candidate, reference=reference),
    )


def saturates() -> bool:
    """Whether this processor multiplies bytes into 16 bits: x86 with AVX2 and without VNNI."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return "avx2" in flags and not {"avx512_vnni", "avx_vnni"} & set(flags)


def test_weights_of_eight_full_bits_are_refused_where_the_processor_saturates() -> None:
    if not saturates():
        pytest.skip("saturation of 8-bit weights does not show on this processor: it has VNNI, or no AVX2")
    frames, masks = scenes(40, seed=1)
    calibration, _ = scenes(16, seed=2)
    network = brightness_graph()
    reference = answers(network, frames)
    careless = full_range(network, calibration)
    # Emulation sees nothing wrong: only the kernels of this processor do.
    assert verdict_on(emulated(careless, frames), reference, masks).verdict is Verdict.ACCEPT
    assert verdict_on(answers(careless, frames), reference, masks).verdict is Verdict.REJECT
    ours = quantize_unsigned(network, calibration, input_name="frame")
    assert verdict_on(answers(ours.model, frames), reference, masks).verdict is Verdict.ACCEPT


def test_calibration_with_random_noise_of_another_range_is_refused() -> None:
    frames, masks = scenes(40, seed=1)
    network = brightness_graph()
    # Dark noise never shows the range of what matters: everything bright is clipped.
    noise = list(np.random.default_rng(3).integers(0, 60, (16, SIDE_PX, SIDE_PX, 3), dtype=np.uint8))
    quantised = quantize_unsigned(network, noise, input_name="frame")
    found = verdict_on(answers(quantised.model, frames), answers(network, frames), masks)
    assert found.verdict is Verdict.REJECT


def test_a_shifted_normalisation_and_an_empty_mask_are_refused() -> None:
    frames, masks = scenes(40, seed=1)
    network = brightness_graph()
    reference = answers(network, frames)
    darker = answers(network, [(frame * 0.55).astype(np.uint8) for frame in frames])
    found = verdict_on(darker, reference, masks)
    assert found.verdict is Verdict.REJECT
    assert any("empty" in reason for reason in found.reasons)


def test_three_evaluation_images_are_too_few() -> None:
    frames, masks = scenes(3, seed=1)
    reference = answers(brightness_graph(), frames)
    found = verdict_on(reference, reference, masks)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "too few" in found.reasons[0]
