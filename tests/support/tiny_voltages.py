"""A tiny bundle of voltages, made without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tiny_network import tiny_contents

from physedge_runtime.bundle import write_bundle
from physedge_runtime.frame import VoltageSpec
from physedge_runtime.manifest import GoldenCase, Output
from physedge_runtime.spec import ModelSpec, Task


def voltage_bundle(path: Path, *, reference: bool, count: int = 12) -> Path:
    """A reconstruction by a real graph: image = first voltage + 0.5, `spread` its negative."""
    from onnx import TensorProto, helper, numpy_helper

    shape = (2, count) if reference else (count,)
    weight = np.zeros((int(np.prod(shape)), 4), np.float32)
    weight[0] = 1
    nodes = [
        helper.make_node("Reshape", ["voltages", "row"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["values"]),
        helper.make_node("Reshape", ["values", "sides"], ["image"]),
        helper.make_node("Neg", ["image"], ["spread"]),
    ]
    constants = {"weight": weight, "bias": np.full(4, 0.5, np.float32)}
    constants |= {"row": np.array([1, weight.shape[0]]), "sides": np.array([1, 2, 2])}
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "voltages",
        [value("voltages", TensorProto.FLOAT, [1, *shape])],
        [value("image", TensorProto.FLOAT, [1, 2, 2]), value("spread", TensorProto.FLOAT, [1, 2, 2])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    manifest, _ = tiny_contents()
    volts = np.linspace(-1, 1, weight.shape[0], dtype="<f4")
    image = np.full((2, 2), volts[0] + 0.5, "<f4")
    contents = {
        "model.onnx": model.SerializeToString(),
        "golden/0.frame": volts.tobytes(),
        "golden/0.image": image.tobytes(),
        "golden/0.spread": (-image).tobytes(),
    }
    voltages = VoltageSpec(count=count, electrodes=4, protocol="adjacent", reference=reference)
    outputs = {"image": "golden/0.image", "spread": "golden/0.spread"}
    changes = {
        "spec": ModelSpec(name="eit", task=Task.RECONSTRUCTION, voltages=voltages),
        "outputs": (Output(name="image", shape=(2, 2)), Output(name="spread", shape=(2, 2))),
        "golden": (GoldenCase(frame="golden/0.frame", shape=shape, outputs=outputs),),
    }
    write_bundle(path, manifest.model_copy(update=changes), contents)
    return path
