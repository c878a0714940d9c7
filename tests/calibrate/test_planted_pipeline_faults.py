"""Faults between camera and verdict, planted on a network of colours and in OpenVINO: the gate refuses each.

Those of quantisation and of the sample count stand in `test_planted_faults.py`, the hidden leak in `tests/edge`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_static

from physedge_calibrate.gate import Judgement, check_outputs, judge, standard
from physedge_calibrate.metrics import dice
from physedge_calibrate.metrics.table import DICE
from physedge_calibrate.quantize import prepared, quantize_unsigned
from physedge_calibrate.stages import Stages
from physedge_runtime.engines import EngineRequest, open_engine
from physedge_runtime.verdict import Verdict

SIDE_PX = 32
ENGINES = ("onnxruntime", "openvino")
Frames = list[NDArray[np.uint8]]
Masks = list[NDArray[np.bool_]]
Answers = list[NDArray[np.float32]]


def graph_of(nodes: list[onnx.NodeProto], tensors: dict[str, NDArray[np.float64]]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "planted",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, SIDE_PX, SIDE_PX, 3])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1, 1, SIDE_PX, SIDE_PX])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    serialised: bytes = model.SerializeToString()
    return serialised


def head() -> list[onnx.NodeProto]:
    """From the frame to planes of (pixel - mean) · gain."""
    return [
        helper.make_node("Transpose", ["frame"], ["planes"], name="layout", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["number"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Sub", ["number", "mean"], ["centred"], name="centre_it"),
        helper.make_node("Mul", ["centred", "gain"], ["x"], name="scale_it"),
    ]


def red_graph(*, mean: float = 127.5) -> bytes:
    """Probability that a pixel is redder than it is blue, and bright; another `mean` plants a wrong pipeline."""
    weight = np.array([6.0, 0.0, -6.0]).reshape(1, 3, 1, 1)
    nodes = [
        *head(),
        helper.make_node("Conv", ["x", "colour", "offset"], ["logit"], name="colour_it"),
        helper.make_node("Sigmoid", ["logit"], ["probability"], name="sigmoid"),
    ]
    gain, shift = np.array(1 / 64.0), np.array([-3.0])
    # Brightness counts as well, so that a shifted normalisation shows.
    weight += 8.0
    return graph_of(nodes, {"mean": np.array(mean), "gain": gain, "colour": weight, "offset": shift})


def concat_graph() -> bytes:
    """Two branches joined by a Concat before a pointwise convolution: signed values on both sides of it."""
    random = np.random.default_rng(5)
    first, second = random.normal(size=(2, 8, 3))
    # Weights by which the branches together say how much redder than blue a pixel is, plus some that cancel out.
    branches = np.concatenate([first, second])
    mix = np.linalg.lstsq(branches.T, np.array([3.0, 0.0, -3.0]), rcond=None)[0]
    idle = random.normal(size=16)
    idle -= branches @ np.linalg.lstsq(branches, idle, rcond=None)[0]
    nodes = [
        *head(),
        helper.make_node("Conv", ["x", "first"], ["a"], name="first_it"),
        helper.make_node("Conv", ["x", "second"], ["b"], name="second_it"),
        helper.make_node("Concat", ["a", "b"], ["both"], name="join", axis=1),
        helper.make_node("Conv", ["both", "mix", "offset"], ["logit"], name="mix_it"),
        helper.make_node("Sigmoid", ["logit"], ["probability"], name="sigmoid"),
    ]
    tensors = {
        "mean": np.array(127.5),
        "gain": np.array(1 / 64),
        "first": first.reshape(8, 3, 1, 1),
        "second": second.reshape(8, 3, 1, 1),
        "mix": (mix + 0.5 * idle).reshape(1, 16, 1, 1),
        "offset": np.zeros(1),
    }
    return graph_of(nodes, tensors)


def signed_seven_bit(model: bytes, calibration: Frames) -> bytes:
    """What a quantiser for GPUs makes, with weights of 7 bits so that nothing saturates: signed activations."""

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
            op_types_to_quantize=["Conv", "Concat"],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": True},
        )
        return result.read_bytes()


def scenes(count: int, *, seed: int, colours: tuple[int, ...] = (210, 90, 60)) -> tuple[Frames, Masks]:
    """Disks of one colour on a ground of another, with their masks."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    frames, masks = [], []
    for _ in range(count):
        row, column = random.uniform(10, 22, 2)
        mask = (y - row) ** 2 + (x - column) ** 2 < random.uniform(5, 9) ** 2
        picture = np.where(mask[..., None], np.array(colours), np.array([70, 90, 120]))
        frames.append((picture + random.normal(scale=5, size=picture.shape)).clip(0, 255).astype(np.uint8))
        masks.append(mask)
    return frames, masks


def shaded(count: int, *, seed: int) -> tuple[Frames, Masks]:
    """Disks a little redder than their ground, under a shade that runs over all colours alike."""
    random = np.random.default_rng(seed)
    _, masks = scenes(count, seed=seed)
    ramp = np.linspace(-70, 70, SIDE_PX)
    shown = []
    for mask in masks:
        shade = np.add.outer(ramp * random.uniform(-1, 1), ramp * random.uniform(-1, 1)) / 2 + 128
        tint = np.where(mask[..., None], np.array([7, 0, -7]), np.array([-7, 0, 7]))
        picture = shade[..., None] + tint + random.normal(scale=1, size=(SIDE_PX, SIDE_PX, 3))
        shown.append(picture.clip(0, 255).astype(np.uint8))
    return shown, masks


def answers(model: bytes, frames: Frames, engine: str) -> Answers:
    request = EngineRequest(
        graph=model,
        graph_sha256="",
        input_shape=(1, SIDE_PX, SIDE_PX, 3),
        outputs={"probability": (1, 1, SIDE_PX, SIDE_PX)},
        threads=1,
    )
    with open_engine(engine, request) as opened:
        return [opened.infer(frame[None])["probability"][0, 0] for frame in frames]


def scores(many: Answers, masks: Masks) -> NDArray[np.float64]:
    return np.array([dice(answer > 0.5, mask) for answer, mask in zip(many, masks, strict=True)])


def verdict_on(candidate: Answers, reference: Answers, masks: Masks, *, strata: list[str] | None = None) -> Judgement:
    return judge(
        scores(reference, masks),
        scores(candidate, masks),
        strata=strata,
        tolerance=standard(),
        generator=np.random.default_rng(0),
        findings=check_outputs(candidate, reference=reference),
    )


def swapped(frames: Frames) -> Frames:
    return [np.ascontiguousarray(frame[..., ::-1]) for frame in frames]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_swapped_colour_order_is_refused(engine: str) -> None:
    frames, masks = scenes(40, seed=1)
    graph = red_graph()
    reference = answers(graph, frames, "onnxruntime")
    assert scores(reference, masks).mean() > 0.95
    assert verdict_on(answers(graph, frames, engine), reference, masks).verdict is Verdict.ACCEPT
    assert verdict_on(answers(graph, swapped(frames), engine), reference, masks).verdict is Verdict.REJECT


@pytest.mark.parametrize("engine", ENGINES)
def test_a_shifted_normalisation_is_refused(engine: str) -> None:
    frames, masks = scenes(40, seed=1)
    reference = answers(red_graph(), frames, "onnxruntime")
    # The mean of another data set, and one that is left out.
    for shifted in (red_graph(mean=160.0), red_graph(mean=0.0)):
        assert verdict_on(answers(shifted, frames, engine), reference, masks).verdict is Verdict.REJECT


@pytest.mark.parametrize("engine", ENGINES)
def test_an_all_empty_mask_is_refused_before_any_tolerance(engine: str) -> None:
    frames, masks = scenes(40, seed=1)
    # Most frames are empty in truth too, so that the mean of an empty answer is high.
    empty, _ = scenes(200, seed=2, colours=(70, 90, 120))
    masks += [np.zeros((SIDE_PX, SIDE_PX), bool)] * len(empty)
    frames += empty
    reference = answers(red_graph(), frames, "onnxruntime")
    silent = answers(red_graph(mean=165.0), frames, engine)
    found = verdict_on(silent, reference, masks)
    assert found.verdict is Verdict.REJECT
    assert found.reasons[0].startswith("each of 240 outputs is empty, while full precision finds something in 40")


def test_one_bad_stratum_is_refused_though_the_mean_passes() -> None:
    frames, masks = scenes(190, seed=1)
    rare_frames, rare_masks = scenes(10, seed=3, colours=(190, 80, 90))
    strata = ["common"] * len(frames) + ["rare"] * len(rare_frames)
    frames, masks = frames + rare_frames, masks + rare_masks
    reference = answers(red_graph(), frames, "onnxruntime")
    assert scores(reference, masks)[-10:].mean() > 0.9
    candidate = list(reference)
    for index in range(190, 200):
        # One row is lost in every mask of the rare kind.
        kept = candidate[index].copy()
        rows = np.flatnonzero((kept > 0.5).any(axis=1))
        kept[rows[0]] = 0.0
        kept[rows[-1]] = 0.0
        candidate[index] = kept
    without = verdict_on(candidate, reference, masks)
    assert without.verdict is Verdict.ACCEPT
    found = verdict_on(candidate, reference, masks, strata=strata)
    assert found.verdict is Verdict.REJECT
    assert found.reasons[0].startswith("stratum 'rare' (10 samples) keeps")


def test_signed_activations_through_a_concat_are_refused_where_openvino_gets_them_wrong() -> None:
    frames, masks = shaded(40, seed=1)
    calibration, _ = shaded(16, seed=2)
    graph = concat_graph()
    reference = answers(graph, frames, "onnxruntime")
    assert scores(reference, masks).mean() > 0.95
    signed = signed_seven_bit(graph, calibration)
    right, wrong = (answers(signed, frames, engine) for engine in ENGINES)
    assert verdict_on(right, reference, masks).verdict is Verdict.ACCEPT
    ours = quantize_unsigned(graph, calibration, input_name="frame", engine="openvino")
    assert verdict_on(answers(ours.model, frames, "openvino"), reference, masks).verdict is Verdict.ACCEPT
    difference = max(float(np.abs(first - second).max()) for first, second in zip(right, wrong, strict=True))
    if difference < 0.05:
        pytest.skip("signed activations through Concat come out right in this OpenVINO on this processor")
    assert verdict_on(wrong, reference, masks).verdict is Verdict.REJECT


def test_the_stages_say_whether_rounding_or_the_kernels_lost_the_score() -> None:
    kernels = Stages(torch=0.9, full_precision=0.9, simulated=0.899, target=0.5)
    assert "lost in the kernels" in kernels.attribution(DICE, standard())
    rounding = Stages(torch=0.9, full_precision=0.9, simulated=0.5, target=0.5)
    assert "lost by rounding" in rounding.attribution(DICE, standard())
    tracing = Stages(torch=0.9, full_precision=0.5, simulated=0.5, target=0.5)
    assert "lost before quantisation" in tracing.attribution(DICE, standard())
    assert Stages(torch=0.9, full_precision=0.9, simulated=0.9, target=0.9).attribution(DICE, standard()) == ""
    assert Stages(full_precision=0.9, target=0.5).attribution(DICE, standard()) == ""
