"""`diff` for classifiers and for reconstructions: results that changed, and by how much, against truth by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tiny_network import SIDE_PX, tiny_spec

from physedge.deploy.diff import DiffOptions, diff
from physedge.deploy.diff_page import summary_lines, write_diff
from physedge_runtime.bundle import Bundle, read_bundle
from physedge_runtime.manifest import Artefact, GoldenCase, Output
from physedge_runtime.spec import ModelSpec, Task

Write = Callable[..., Path]
LOOSE = (Artefact(entry="model.onnx", precision="fp32", method="by hand", golden_mean_bound=9, golden_max_bound=9),)


def model(nodes: list[Any], given: Any, output: Any, weights: dict[str, np.ndarray]) -> bytes:
    tensors = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "g", [given], [output], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())


def classifier(bias: float) -> bytes:
    """Softmax of (mean red / 255 - 0.5 + bias, 0): class `red` where the picture is red enough."""
    weight = np.zeros((3, 2), np.float32)
    weight[0, 0] = 1 / 255
    nodes = [
        helper.make_node("Cast", ["frame"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "w", "b"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probability"], axis=1),
    ]
    weights = {"w": weight, "b": np.array([bias - 0.5, 0], np.float32), "axes": np.array([1, 2], np.int64)}
    given = helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, SIDE_PX, SIDE_PX, 3])
    return model(nodes, given, helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1, 2]), weights)


def pictures(folder: Path) -> None:
    for index, red in enumerate((20, 110, 120, 240)):
        kind = "red" if red > 100 else "other"
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((SIDE_PX, SIDE_PX, 3), (red, 0, 0), np.uint8)).save(folder / kind / f"{index}.png")


@pytest.fixture
def classifiers(write_tiny: Write) -> tuple[Bundle, Bundle]:
    """The first one says red from 127.5 on, the second from 102 on: pictures of 110 and 120 change."""
    spec = ModelSpec.model_validate(
        tiny_spec().model_dump() | {"task": Task.CLASSIFICATION, "classes": ("red", "other"), "name": "shade"}
    )
    told: dict[str, Any] = {"spec": spec, "outputs": (Output(name="probability", shape=(2,)),), "artefacts": LOOSE}
    answer = np.array([0.5, 0.5], "<f4").tobytes()
    return tuple(  # type: ignore[return-value]
        read_bundle(write_tiny(name, contents={"model.onnx": classifier(bias), "golden/0.probability": answer}, **told))
        for name, bias in (("old", 0.0), ("new", 0.1))
    )


def test_results_of_a_classifier_that_changed(classifiers: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    pictures(tmp_path / "data")
    found = diff(*classifiers, DiffOptions(data=tmp_path / "data", engine="onnxruntime"))
    assert sorted((one.said_before, one.said_after) for one in found.frames) == [
        *[("other", "other"), ("other", "red"), ("other", "red"), ("red", "red")]
    ]
    assert found.changed_frames == 2 and found.changed_pixel_fraction == 0.5
    # Of three red pictures one was right before, all are now; the other one is right twice: + 2 of 4.
    assert found.metric is not None and found.metric.estimate == pytest.approx(0.5)
    assert "50.000% of all results" in summary_lines(found)[1]
    assert summary_lines(found)[2].startswith("accuracy (after - before): +0.5000")
    page, record = write_diff(found, tmp_path / "diff")
    assert "<td>other</td><td>red</td>" in page.read_text(encoding="utf-8")
    assert json.loads(record.read_text(encoding="utf-8"))["metric"]["name"] == "accuracy"


def test_a_reconstruction_that_moved(write_tiny: Write, tmp_path: Path) -> None:
    """The image is the 16 voltages times a gain, 4 x 4; one gain of the second one is 10 % larger."""
    voltages = np.linspace(0.1, 1.6, 16, dtype="<f4")
    spec = ModelSpec.model_validate(
        {
            "name": "tank",
            "task": "reconstruction",
            "voltages": {"count": 16, "electrodes": 16, "protocol": "made up"},
        }
    )

    def tank(gain: float) -> bytes:
        gains = np.ones(16, np.float32)
        gains[15] = gain
        nodes = [
            helper.make_node("Mul", ["voltages", "gains"], ["flat"]),
            helper.make_node("Reshape", ["flat", "shape"], ["image"]),
        ]
        given = helper.make_tensor_value_info("voltages", TensorProto.FLOAT, [1, 16])
        output = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 4, 4])
        return model(nodes, given, output, {"gains": gains, "shape": np.array([1, 4, 4], np.int64)})

    told: dict[str, Any] = {
        "spec": spec,
        "outputs": (Output(name="image", shape=(4, 4)),),
        "artefacts": LOOSE,
        "golden": (GoldenCase(frame="golden/0.frame", shape=(16,), outputs={"image": "golden/0.probability"}),),
    }
    old, new = (
        read_bundle(
            write_tiny(
                name,
                contents={
                    "model.onnx": tank(gain),
                    "golden/0.frame": voltages.tobytes(),
                    "golden/0.probability": voltages.tobytes(),
                },
                **told,
            )
        )
        for name, gain in (("old", 1.0), ("new", 1.1))
    )
    found = diff(old, new, DiffOptions(engine="onnxruntime"))
    (frame,) = found.frames
    assert frame.changed_fraction == pytest.approx(1 / 16) and frame.largest == pytest.approx(0.16, rel=1e-5)
    assert (frame.said_before, frame.said_after) == ("0.1 to 1.6 1", "0.1 to 1.76 1")
    assert found.metric is None and "of all pixels" in summary_lines(found)[1]
    page, _ = write_diff(found, tmp_path / "diff")
    assert "0.1 to 1.76" in page.read_text(encoding="utf-8")
