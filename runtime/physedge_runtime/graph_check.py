"""What may stand in a graph, decided before an engine's parser sees it.

An engine's reader is large native code. It is given only graphs of which this is known: every byte of the file is one
that `graph_wire` reads, in the one spelling that ONNX's library writes; no tensor points to another file; every
operator is of the standard domain and on the list below (pure functions of tensors: no control flow, no randomness, no
strings, nothing that calls out), with the inputs and attributes that the standard gives it; every tensor holds as many
bytes as its shape says; and the size of every value is known, and within the limits of `graph_sizes`.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter

from physedge_runtime.errors import IntegrityError
from physedge_runtime.graph_nodes import check_node
from physedge_runtime.graph_sizes import Sizes, elements_of, numbers_of, shown
from physedge_runtime.graph_wire import NotAllowed, NotCanonical, NotWhole, Values, read_model
from physedge_runtime.ir import check_ir, ir_parts, is_ir

MOST_NODES = 20_000
OLDEST_OPSET, NEWEST_OPSET = 13, 28
OLDEST_IR, NEWEST_IR = 7, 14
FLOAT_MARK = "physedge.float"
"""The one note that a node may carry: it is computed in floating point, whatever the precision around it."""

_OPERATOR_NAMES = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization BitShift BitwiseAnd
BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Concat Constant
ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Det Div
DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu
Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid
HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual
Log LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool Mean MeanVarianceNormalization Min
Mish Mod Mul Neg Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN
Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare Relu Reshape Resize ReverseSequence Round ScatterElements ScatterND Selu Shape Shrink Sigmoid
Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh
ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where Xor
"""
OPERATORS = frozenset(_OPERATOR_NAMES.split())

# TensorProto.DataType to bits an element; strings are not among them.
BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128}
BITS |= {16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8}


class _Walk:
    """One walk over one graph."""

    def model(self, model: Values) -> None:
        graph = model.get("graph")
        if graph is None:
            raise NotWhole("no graph")
        version = model.get("ir_version", 0)
        if not OLDEST_IR <= version <= NEWEST_IR:
            found = f"the version {version} of ONNX's format"
            raise NotAllowed("PE-BUNDLE-033", found, f"{OLDEST_IR} to {NEWEST_IR}")
        self._graph(graph, self._operator_set(model["opset_import"]))

    def _operator_set(self, imported: list[Values]) -> int:
        for operators in imported:
            if operators.get("domain", ""):
                found = f"operators of the domain {operators['domain']!r}"
                raise NotAllowed("PE-BUNDLE-033", found, "operators of the ONNX standard")
        if len(imported) != 1:
            raise NotAllowed("PE-BUNDLE-033", f"{len(imported)} operator sets", "one")
        version: int = imported[0].get("version", 0)
        if not OLDEST_OPSET <= version <= NEWEST_OPSET:
            found = f"the operator set {version}"
            raise NotAllowed("PE-BUNDLE-033", found, f"{OLDEST_OPSET} to {NEWEST_OPSET}")
        return version

    def _graph(self, graph: Values, opset: int) -> None:
        nodes = graph["node"]
        if len(nodes) > MOST_NODES:
            raise NotAllowed("PE-BUNDLE-034", f"more than {MOST_NODES} nodes", "a graph within the limits")
        for tensor in graph["initializer"]:
            _check_tensor(tensor)
        for value in (*graph["input"], *graph["output"], *graph["value_info"]):
            _check_value(value)
        sizes = Sizes(nodes, [value.get("name", "") for value in graph["output"]], opset)
        for tensor in graph["initializer"]:
            sizes.constant(tensor.get("name", ""), tuple(tensor["dims"]), numbers_of(tensor))
        for value in graph["input"]:
            dims = value["type"]["tensor_type"]["shape"]["dim"]
            sizes.value(value.get("name", ""), tuple(axis["dim_value"] for axis in dims), "an input")
        for index, node in enumerate(nodes):
            self._node(node, opset)
            sizes.node(index, node)
        sizes.end()

    def _node(self, node: Values, opset: int) -> None:
        name, domain = node.get("op_type", ""), node.get("domain", "")
        if domain:
            found = f"the operator {name!r} of the domain {domain!r}"
            raise NotAllowed("PE-BUNDLE-033", found, "operators of the ONNX standard")
        if name not in OPERATORS:
            raise NotAllowed("PE-BUNDLE-032", f"the operator {name!r}", "operators that docs/security.md lists")
        if any(note.get("key") != FLOAT_MARK for note in node["metadata_props"]):
            raise NotCanonical("a note of another program at a node")
        check_node(node, opset)
        for attribute in node["attribute"]:
            if (tensor := attribute.get("t")) is not None:
                _check_tensor(tensor)


def _check_tensor(tensor: Values) -> None:
    kind, dims = tensor.get("data_type", 0), tensor["dims"]
    if tensor.get("data_location", 0) != 0:
        raise NotAllowed("PE-BUNDLE-031", "a tensor whose data lies in another file", "data in the graph")
    if kind not in BITS:
        raise NotAllowed("PE-BUNDLE-034", f"a tensor of the data type {kind}", "numbers")
    elements = elements_of(dims, "a tensor")
    raw: memoryview | None = tensor.get("raw_data")
    held = 0 if raw is None else len(raw)
    if raw is None or held != (elements * BITS[kind] + 7) // 8:
        found = f"a tensor of the shape {shown(dims)} with {held} bytes"
        raise NotAllowed("PE-BUNDLE-034", found, "the data that it names")


def _check_value(value: Values) -> None:
    kind = value.get("type", {}).get("tensor_type")
    if kind is None:
        raise NotAllowed("PE-BUNDLE-035", "a value that is no tensor", "tensors")
    if kind.get("elem_type", 0) not in BITS:
        raise NotAllowed("PE-BUNDLE-034", f"a value of the data type {kind.get('elem_type', 0)}", "numbers")
    sides = [axis.get("dim_value") for axis in kind.get("shape", {"dim": [{}]})["dim"]]
    if None in sides or any("dim_param" in axis for axis in kind["shape"]["dim"]):
        raise NotAllowed("PE-BUNDLE-034", "a value without a size", "sizes in whole numbers")
    elements_of(sides, "a value")


def graph_parts(graph: bytes) -> tuple[dict[str, int], dict[str, str]]:
    """What a graph consists of: operator to how often, and constant tensor to the sha256 of its bytes.

    Args:
        graph: The ONNX file or OpenVINO's entry, which `check_graph` has passed.
    """
    if is_ir(graph):
        return ir_parts(graph)
    body = read_model(graph)["graph"]
    operators = Counter(node["op_type"] for node in body["node"])
    tensors = {tensor.get("name", ""): _hash(tensor) for tensor in body["initializer"]}
    return dict(sorted(operators.items())), tensors


def _hash(tensor: Values) -> str:
    """The sha256 of type, shape and numbers."""
    dims = tensor["dims"]
    hashed = hashlib.sha256(struct.pack(f"<{len(dims) + 1}q", tensor["data_type"], *dims))
    hashed.update(tensor["raw_data"])
    return hashed.hexdigest()


def check_graph(graph: bytes, *, origin: str) -> None:
    """Refuse a graph that an engine should not be given.

    Args:
        graph: The ONNX file, or an entry in OpenVINO's representation.
        origin: Its name, for errors.

    Raises:
        IntegrityError: It is no whole ONNX message (`PE-BUNDLE-030`), is spelled otherwise than physedge spells it
            (`PE-BUNDLE-036`), points outside (`PE-BUNDLE-031`), has an operator (`PE-BUNDLE-032`), a domain or an
            operator set (`PE-BUNDLE-033`) that is not on the list, a shape beyond the limits or beyond its data
            (`PE-BUNDLE-034`), a part that no deployed graph needs (`PE-BUNDLE-035`), or an operator with other inputs,
            outputs or attributes than the standard gives it (`PE-BUNDLE-037`).
    """
    if is_ir(graph):
        check_ir(graph, origin=origin)
        return
    try:
        _Walk().model(read_model(graph))
    except NotWhole as error:
        raise IntegrityError(
            "PE-BUNDLE-030",
            found=f"{origin} is no whole ONNX graph ({error})",
            expected="the graph that physedge export wrote",
            next_step="copy the bundle again from where it was made",
        ) from error
    except NotCanonical as error:
        raise IntegrityError(
            "PE-BUNDLE-036",
            found=f"{origin} is not in the form that physedge writes ({error})",
            expected="known fields only, each spelled in one way",
            next_step="export the network again with this physedge",
        ) from error
    except NotAllowed as error:
        raise IntegrityError(
            error.identifier,
            found=f"{origin} has {error.found}",
            expected=error.expected,
            next_step="do not use it; its maker exports the network without this",
        ) from error
