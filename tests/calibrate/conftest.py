"""A small segmentation graph with an embedded diffusion step, made without torch."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE = 32
PHYSICS_NODES = ("laplacian", "increment", "state")


def small_graph(*, seed: int = 0, logit_gain: float = 1.0) -> bytes:
    """Frame uint8 (batch, 32, 32, 3) to probability float32 (batch, 1, 32, 32).

    Convolutions 3x3 dense, 3x3 depthwise, 1x1 and a head, around one step u + 0.2·Lu of a diffusion.
    """
    random = np.random.default_rng(seed)

    def kernel(name: str, *shape: int) -> onnx.TensorProto:
        fan_in = int(np.prod(shape[1:]))
        values = random.normal(scale=np.sqrt(2 / fan_in), size=shape)
        return numpy_helper.from_array(values.astype(np.float32), name)

    laplace = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float32)
    constants = {
        "scale": np.float32(1 / 64),
        "centre": np.float32(2.0),
        "rate": np.float32(0.2),
        "gain": np.float32(logit_gain),
        "five_point": np.tile(laplace, (8, 1, 1, 1)),
    }
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    initializers += [
        kernel("w_stem", 8, 3, 3, 3),
        kernel("w_depth", 8, 1, 3, 3),
        kernel("w_mix", 8, 8, 1, 1),
        kernel("w_head", 1, 8, 1, 1),
    ]

    def conv(name: str, source: str, weight: str, result: str, pads: int, group: int = 1) -> onnx.NodeProto:
        return helper.make_node("Conv", [source, weight], [result], name=name, pads=[pads] * 4, group=group)

    nodes = [
        helper.make_node("Transpose", ["frame"], ["planes"], name="layout", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["number"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["number", "scale"], ["scaled"], name="scale_it"),
        helper.make_node("Sub", ["scaled", "centre"], ["x"], name="centre_it"),
        conv("stem", "x", "w_stem", "s", 1),
        helper.make_node("Relu", ["s"], ["sr"], name="stem_relu"),
        conv("depth", "sr", "w_depth", "d", 1, group=8),
        conv("mix", "d", "w_mix", "m", 0),
        helper.make_node("Relu", ["m"], ["u"], name="mix_relu"),
        conv("laplacian", "u", "five_point", "lu", 1, group=8),
        helper.make_node("Mul", ["lu", "rate"], ["du"], name="increment"),
        helper.make_node("Add", ["u", "du"], ["v"], name="state"),
        conv("head", "v", "w_head", "h", 0),
        helper.make_node("Mul", ["h", "gain"], ["logit"], name="gain_it"),
        helper.make_node("Sigmoid", ["logit"], ["probability"], name="sigmoid"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    serialised: bytes = model.SerializeToString()
    return serialised


def frames(count: int, *, seed: int = 0, side: int = SIDE) -> list[NDArray[np.uint8]]:
    """Pictures uint8 (height, width, 3): a bright blob on a smooth, coloured, noisy ground."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    pictures = []
    for _ in range(count):
        tilt, centre, radius = random.normal(size=2), random.uniform(0.25, 0.75, 2), random.uniform(0.1, 0.3)
        ground = 90 + 40 * (tilt[0] * (x - 0.5) + tilt[1] * (y - 0.5))
        blob = 90 * (((y - centre[0]) ** 2 + (x - centre[1]) ** 2) < radius**2)
        tint = random.uniform(0.6, 1.1, 3)
        picture = (ground + blob)[..., None] * tint + random.normal(scale=6, size=(side, side, 3))
        pictures.append(picture.clip(0, 255).astype(np.uint8))
    return pictures


@pytest.fixture(scope="session")
def small_network() -> bytes:
    """The serialised small graph."""
    return small_graph()


@pytest.fixture(scope="session")
def physics_nodes() -> tuple[str, ...]:
    """Names of its nodes that must stay in float."""
    return PHYSICS_NODES


@pytest.fixture(scope="session")
def calibration_frames() -> list[NDArray[np.uint8]]:
    """Sixteen pictures for calibration."""
    return frames(16, seed=1)


@pytest.fixture(scope="session")
def other_frames() -> list[NDArray[np.uint8]]:
    """Eight pictures of the same kind that no calibration has seen."""
    return frames(8, seed=2)
