"""A tiny network and its bundle, made without torch: what tests of everything around a network stand on."""

from __future__ import annotations

import numpy as np

from physedge_runtime.frame import Frame, FrameSpec
from physedge_runtime.manifest import Artefact, GoldenCase, Manifest, Output
from physedge_runtime.resize import prepare
from physedge_runtime.spec import ModelSpec, Task
from physedge_runtime.verdict import Verdict

SIDE_PX = 32


def tiny_graph(side_px: int = SIDE_PX, bias: float = 0.0) -> bytes:
    """A graph that answers sigmoid(8 (red - 0.5) + bias): uint8 frame in, probability out."""
    from onnx import TensorProto, checker, helper, numpy_helper

    weight = np.zeros((1, 3, 1, 1), np.float32)
    weight[0, 0] = 8 / 255
    nodes = [
        helper.make_node("Cast", ["frame"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weight", "bias"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, side_px, side_px, 3])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1, 1, side_px, side_px])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.array([bias - 4], np.float32), "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return model.SerializeToString()


def tiny_answer(pixels: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """What the tiny graph answers, by its formula: float32 (1, height, width)."""
    assert spec.frame is not None
    red = prepare(Frame(pixels=pixels), spec.frame)[:, :, 0].astype(np.float64) / 255
    return (1 / (1 + np.exp(-8 * (red - 0.5)))).astype(np.float32)[np.newaxis]


def tiny_spec() -> ModelSpec:
    """The declaration of the tiny network."""
    return ModelSpec(
        name="tiny",
        task=Task.SEGMENTATION,
        classes=("background", "lesion"),
        frame=FrameSpec(height=SIDE_PX, width=SIDE_PX),
    )


def tiny_contents() -> tuple[Manifest, dict[str, bytes]]:
    """Manifest and entries of the tiny bundle."""
    spec = tiny_spec()
    pixels = np.random.default_rng(7).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    manifest = Manifest(
        physedge_version="0",
        spec=spec,
        outputs=(Output(name="probability", shape=(1, SIDE_PX, SIDE_PX)),),
        artefacts=(
            Artefact(
                entry="model.onnx", precision="fp32", method="by hand", golden_mean_bound=1e-3, golden_max_bound=1e-3
            ),
        ),
        target="onnxruntime",
        shipped={"onnxruntime": "model.onnx", "openvino": "model.onnx"},
        golden=(
            GoldenCase(frame="golden/0.frame", shape=pixels.shape, outputs={"probability": "golden/0.probability"}),
        ),
        verdict=Verdict.NOT_RUN,
    )
    contents = {
        "model.onnx": tiny_graph(),
        "golden/0.frame": pixels.tobytes(),
        "golden/0.probability": tiny_answer(pixels, spec).astype("<f4").tobytes(),
    }
    return manifest, contents
