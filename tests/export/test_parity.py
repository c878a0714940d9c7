"""Parity is checked from the raw frame to the mask, at several sizes, and fails closed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from physedge_export.brought import graph_from_onnx
from physedge_export.parity import check_parity
from physedge_runtime.errors import BuildError
from physedge_runtime.frame import FrameSpec, VoltageSpec
from physedge_runtime.spec import ModelSpec, Normalise, Task

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 1, 1)).astype(np.float32)
SIZES = ((32, 48), (60, 40), (16, 24))


class Pointwise(nn.Module):
    def __init__(self, planes: int, *, shift: float = 0.0) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.from_numpy(KERNEL[:planes].copy()))
        self.shift = shift

    def forward(self, picture: Tensor) -> Tensor:
        return nn.functional.conv2d(picture, self.kernel) + self.shift


def spec(classes: int = 2) -> ModelSpec:
    return ModelSpec(
        name="own",
        task=Task.SEGMENTATION,
        classes=("background", "a", "b")[:classes],
        frame=FrameSpec(height=16, width=24),
        normalise=Normalise(mean=(0.4, 0.5, 0.6), std=(0.2,)),
    )


def graph(tmp_path, planes: int = 1, kernel: np.ndarray = KERNEL) -> bytes:  # type: ignore[no-untyped-def]
    made = helper.make_graph(
        [helper.make_node("Conv", ["x", "k"], ["logits"], name="head/Conv")],
        "own",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 16, 24))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, planes, 16, 24))],
        [numpy_helper.from_array(kernel[:planes], "k")],
    )
    path = tmp_path / "own.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return graph_from_onnx(path, spec(2 if planes == 1 else planes)).model


def frames(count: int = 2) -> list[np.ndarray]:
    generator = np.random.default_rng(4)
    return [generator.integers(0, 256, (30 + k, 50, 3), dtype=np.uint8) for k in range(count)]


@pytest.mark.parametrize("planes", [1, 3])
def test_the_same_function_passes_at_every_size(tmp_path, planes: int) -> None:  # type: ignore[no-untyped-def]
    report = check_parity(
        Pointwise(planes), spec(2 if planes == 1 else planes), graph(tmp_path, planes), frames(), sizes=SIZES
    )
    assert [size.size for size in report.sizes] == list(SIZES)
    assert report.largest < 1e-5 and report.mask_disagreement == 0
    assert report.mask_pixels == 2 * 3 * 16 * 24
    assert "2 frames at 3 raw sizes" in report.sentence()


def test_the_deviation_is_what_analysis_says(tmp_path) -> None:  # type: ignore[no-untyped-def]
    # sigmoid(z + s) - sigmoid(z) is largest around z = 0, where it is s / 4 for a small s.
    sure = spec().model_copy(update={"threshold": 0.999999})  # no class changes
    report = check_parity(Pointwise(1, shift=2e-3), sure, graph(tmp_path), frames(), sizes=SIZES)
    assert report.largest == pytest.approx(5e-4, rel=0.02)
    (output,) = report.sizes[0].outputs
    assert output.mean < output.p99 <= output.largest


def test_logits_beyond_float32_are_judged_by_their_rounding_and_their_classes(tmp_path) -> None:  # type: ignore[no-untyped-def]
    large = KERNEL * np.float32(1e5)
    network = Pointwise(1, shift=0.02)  # a fraction of a millionth of the logits, and up to 5e-3 of a probability
    with torch.no_grad():
        network.kernel.copy_(torch.from_numpy(large[:1]))
    report = check_parity(network, spec(), graph(tmp_path, kernel=large), frames(1), sizes=SIZES)
    assert report.sizes[0].largest_logit > 1e4
    assert report.tolerance.of_output("probability", 20.0) == 1e-3
    assert report.tolerance.of_output("image", 1e6) == 1e-3


def test_a_deviation_above_the_tolerance_fails(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BuildError, match=r"PE-PARITY-001: at 32 x 48 on onnxruntime .*probability deviates") as caught:
        check_parity(Pointwise(1, shift=0.1), spec(), graph(tmp_path), frames(), sizes=SIZES)
    assert caught.value.exit_status == 6


def test_mask_disagreement_alone_fails(tmp_path) -> None:  # type: ignore[no-untyped-def]
    flat = np.zeros_like(KERNEL)
    network = Pointwise(1, shift=1e-4)
    with torch.no_grad():
        network.kernel.zero_()
    below = spec().model_copy(update={"threshold": 0.50001})  # p is 0.5 in the graph and 0.500025 in torch
    with pytest.raises(BuildError, match=r"1\.00e\+00 of the classes differ"):
        check_parity(network, below, graph(tmp_path, kernel=flat), frames(), sizes=SIZES)


def test_what_is_not_finite_is_named(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BuildError, match=r"PE-PARITY-003: the network in torch"):
        check_parity(Pointwise(1, shift=float("nan")), spec(), graph(tmp_path), frames(), sizes=SIZES)


def test_no_frames_are_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BuildError, match="PE-PARITY-002"):
        check_parity(Pointwise(1), spec(), graph(tmp_path), [], sizes=SIZES)


def test_voltages_are_compared_relative_to_the_image(tmp_path) -> None:  # type: ignore[no-untyped-def]
    matrix = np.random.default_rng(3).normal(size=(6, 16)).astype(np.float32) * 1e3
    made = helper.make_graph(
        [
            helper.make_node("MatMul", ["v", "r"], ["flat"], name="linear/MatMul"),
            helper.make_node("Reshape", ["flat", "s"], ["image"], name="linear/Reshape"),
        ],
        "tank",
        [helper.make_tensor_value_info("v", TensorProto.FLOAT, (1, 6))],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 4, 4))],
        [numpy_helper.from_array(matrix, "r"), numpy_helper.from_array(np.array([1, 4, 4], np.int64), "s")],
    )
    path = tmp_path / "tank.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    volts = VoltageSpec(count=6, electrodes=4, protocol="adjacent")
    tank = ModelSpec(name="tank", task=Task.RECONSTRUCTION, voltages=volts)

    class Linear(nn.Module):
        def forward(self, v: Tensor) -> Tensor:
            return (v @ torch.from_numpy(matrix) * (1 + 5e-4)).reshape(-1, 4, 4)

    given = [np.random.default_rng(9).normal(size=6).astype(np.float32)]
    report = check_parity(Linear(), tank, graph_from_onnx(path, tank).model, given)
    assert report.largest == pytest.approx(5e-4, rel=0.01)
    assert report.sizes[0].mask_disagreement is None
