"""The half-precision graph: weights and values in float16, float islands and delicate operators in float32.

Types are written into the graph, since engines that follow them (TensorRT 11, TensorRT-RTX) take no precision flags.
Rounding happens once, after every folding in float32.

    inside a float island           float32
    reductions, norms, exponentials float32 (their sums leave the range of float16 first)
    a Cast to float32               float32: the network's author asked for it
    the picture's scaling, answers  float32
    all else                        float16
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physedge_export.graph import TracedGraph, graph_from_model
from physedge_export.marks import is_float, module_of, unique_name
from physedge_runtime.errors import BuildError
from physedge_runtime.spec import ModelSpec

if TYPE_CHECKING:
    import onnx

_DELICATE = frozenset(
    {
        *("ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd"),
        *("ReduceSumSquare", "GlobalAveragePool", "MeanVarianceNormalization", "LpNormalization", "CumSum"),
        *("InstanceNormalization", "LayerNormalization", "GroupNormalization", "Softmax", "LogSoftmax"),
        *("Exp", "Log", "Pow", "Reciprocal", "Softplus", "Constant", "ConstantOfShape", "EyeLike", "Range"),
    }
)
_FLOAT32_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}
"""Operators whose listed inputs are float32 whatever the type of the picture (region and scales)."""


def half_graph(traced: TracedGraph, spec: ModelSpec) -> TracedGraph:
    """The half-precision form of a graph in float32, checked and described.

    Raises:
        BuildError: PE-TRACE-010, PE-TRACE-011, or the checker's word (`PE-TRACE-008`).
    """
    import onnx

    batch = traced.outputs[0].shape[0]
    halved = half_model(onnx.load_from_string(traced.model))
    return graph_from_model(halved, spec, batch=None if batch < 0 else batch, torch_version=traced.torch_version)


def half_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph in half precision.

    Args:
        model: Float32, checked, float islands marked; it is not changed.

    Returns:
        A new model whose inputs and outputs have the types they had.

    Raises:
        BuildError: A weight is beyond 65504 (`PE-TRACE-010`), or the graph has loops or branches (`PE-TRACE-011`).
    """
    import onnx

    halved = _Halving(onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True))
    halved.run()
    return halved.model


class _Halving:
    """One conversion: which value lies in which type by now."""

    def __init__(self, inferred: onnx.ModelProto) -> None:
        import onnx

        self.float32, self.float16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
        self.model = inferred
        graph = inferred.graph
        values = (*graph.value_info, *graph.input, *graph.output)
        self.type_of = {value.name: value.type.tensor_type.elem_type for value in values}
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.type_of |= {name: tensor.data_type for name, tensor in self.weights.items()}
        self.names = {node.name for node in graph.node}
        self.values = set(self.type_of)
        self.twins: dict[tuple[str, int], str] = {}
        self.producer = {output: node.name for node in graph.node for output in node.output}
        self.nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        graph = self.model.graph
        given_out = {value.name for value in graph.output}
        floats = {name for name, kind in self.type_of.items() if kind == self.float32}
        for node in graph.node:
            keeps = self._keeps(node)
            exceptions = _FLOAT32_INPUTS.get(node.op_type, ())
            for index, name in enumerate(node.input):
                if name in floats:
                    wanted = self.float32 if keeps or index in exceptions else self.float16
                    node.input[index] = self._as_type(name, wanted)
            self.nodes.append(node)
            for index, name in enumerate(node.output):
                if name in floats and not keeps:
                    node.output[index] = self._give_half(name, promised=name in given_out)
        del graph.node[:]
        graph.node.extend(self.nodes)
        self._finish_weights()
        del graph.value_info[:]
        self._infer_again()

    def _keeps(self, node: onnx.NodeProto) -> bool:
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise BuildError(
                "PE-TRACE-011",
                found=f"the node {node.name} is a loop or a branch ({node.op_type})",
                expected="a graph without control flow for half precision",
                next_step="unroll it in the network, or export in fp32",
            )
        casts_up = node.op_type == "Cast" and any(
            item.name == "to" and item.i == self.float32 for item in node.attribute
        )
        return is_float(node) or node.op_type in _DELICATE or casts_up

    def _as_type(self, name: str, wanted: int) -> str:
        """The name under which the value `name` can be had in the type `wanted`."""
        if self.type_of[name] == wanted:
            return name
        if (name, wanted) in self.twins:
            return self.twins[name, wanted]
        suffix = "half" if wanted == self.float16 else "float"
        twin = unique_name(f"{name}_{suffix}", self.values)
        if name in self.weights:
            self._copy_weight(name, twin)
        else:
            self._cast(name, twin, wanted, after=self.producer.get(name, ""))
        self.twins[name, wanted] = twin
        return twin

    def _give_half(self, name: str, *, promised: bool) -> str:
        """A node's output is half from here on; where the graph promised it as float32, a cast follows."""
        if not promised:
            self.type_of[name] = self.float16
            return name
        half = unique_name(f"{name}_half", self.values)
        self.type_of[half] = self.float16
        self.twins[name, self.float16] = half
        self._cast(half, name, self.float32, after=self.producer[name])
        return half

    def _cast(self, source: str, target: str, wanted: int, *, after: str) -> None:
        import onnx

        name = unique_name(f"{module_of(after) or 'graph'}/Cast", self.names)
        self.nodes.append(onnx.helper.make_node("Cast", [source], [target], name=name, to=wanted))
        self.type_of[target] = wanted

    def _copy_weight(self, name: str, twin: str) -> None:
        import onnx

        values = onnx.numpy_helper.to_array(self.weights[name])
        largest = float(np.max(np.abs(values), initial=0.0))
        if largest > float(np.finfo(np.float16).max):
            raise BuildError(
                "PE-TRACE-010",
                found=f"the weight {name} reaches {largest:.3g}",
                expected="at most 65504, the largest float16",
                next_step="set keep_float = True on its module, or name it in float_modules",
            )
        self.model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float16), twin))

    def _finish_weights(self) -> None:
        graph = self.model.graph
        used = {name for node in graph.node for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)

    def _infer_again(self) -> None:
        import onnx

        self.model = onnx.shape_inference.infer_shapes(self.model, strict_mode=True, data_prop=True)
