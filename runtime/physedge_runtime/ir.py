"""A graph in OpenVINO's own representation as one entry of a bundle, and what may stand in it.

OpenVINO keeps a graph as XML and its constants in a file beside it. A bundle holds both in one entry, `NAME.ovir`: the
mark `PEOVIR01`, the length of the XML as 8 bytes (little endian), the XML, the constants. As with ONNX, the engine's
reader is given only graphs of which this is known: the XML is in the one spelling of `ir_spelling`; every operator is
of a numbered standard set and on the list below (pure functions of tensors); every input is given by one output of the
same type and shape before it; every constant has as many bytes as its shape says, and no byte is left over; no shape is
beyond the limits.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter

from physedge_runtime.errors import IntegrityError
from physedge_runtime.graph_wire import NotAllowed, NotCanonical
from physedge_runtime.ir_spelling import Layer, Net, read_net, spelled, whole_number, whole_numbers

MARK = b"PEOVIR01"
SUFFIX = ".ovir"
MOST_ELEMENTS = 2**28
_LENGTH_BYTES = 8

_OPERATOR_NAMES = """
Abs Acos Acosh Add Asin Asinh Atan Atanh AvgPool BatchNormInference Broadcast Ceiling Clamp Concat Const Convert
ConvertLike Convolution ConvolutionBackpropData Cos Cosh CumSum DepthToSpace Divide Einsum Elu Equal Erf Exp
FakeConvert FakeQuantize Floor FloorMod Gather GatherElements GatherND Gelu Greater GreaterEqual GridSample
GroupConvolution GroupConvolutionBackpropData GroupNormalization HSigmoid HSwish HardSigmoid Interpolate IsFinite IsInf
IsNaN LRN Less LessEqual Log LogSoftmax LogicalAnd LogicalNot LogicalOr LogicalXor MVN MatMul MaxPool Maximum Minimum
Mish Mod Multiply Negative NormalizeL2 NotEqual OneHot PRelu Pad Parameter Power Range ReLU ReduceL1 ReduceL2
ReduceLogicalAnd ReduceLogicalOr ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Reshape Result Reverse Roll Round
ScatterElementsUpdate ScatterNDUpdate ScatterUpdate Select Selu ShapeOf Sigmoid Sign Sin Sinh Slice SoftMax SoftPlus
SoftSign Softmax SpaceToDepth Split Sqrt SquaredDifference Squeeze StridedSlice Subtract Swish Tan Tanh Tile TopK
Transpose Unsqueeze VariadicSplit
"""
OPERATORS = frozenset(_OPERATOR_NAMES.split())
_BITS = {"boolean": 8, "u1": 1, "u4": 4, "i4": 4, "u8": 8, "i8": 8, "u16": 16, "i16": 16, "f16": 16, "bf16": 16}
_BITS |= {"u32": 32, "i32": 32, "f32": 32, "u64": 64, "i64": 64, "f64": 64}


_CONSTANT_DATA = {"element_type", "offset", "shape", "size"}


def pack_ir(xml: bytes, weights: bytes) -> bytes:
    """The entry for a graph and its constants as OpenVINO wrote them, in the one spelling."""
    return packed(*spelled(xml, weights))


def packed(xml: bytes, weights: bytes) -> bytes:
    """The entry for a graph that is spelled already."""
    return MARK + len(xml).to_bytes(_LENGTH_BYTES, "little") + xml + weights


def is_ir(graph: bytes) -> bool:
    """Whether an entry holds OpenVINO's representation."""
    return graph.startswith(MARK)


def unpack_ir(graph: bytes, *, origin: str = "the graph") -> tuple[bytes, bytes]:
    """XML and constants of an entry.

    Raises:
        IntegrityError: It is cut short (`PE-BUNDLE-030`).
    """
    start = len(MARK) + _LENGTH_BYTES
    length = int.from_bytes(graph[len(MARK) : start], "little")
    if not is_ir(graph) or len(graph) < start or length > len(graph) - start:
        raise _refused("PE-BUNDLE-030", origin, "no whole graph in it", "XML and constants of the stated length")
    return graph[start : start + length], graph[start + length :]


def check_ir(graph: bytes, *, origin: str) -> None:
    """Refuse a graph that OpenVINO should not be given.

    Args:
        graph: The entry.
        origin: Its name, for errors.

    Raises:
        IntegrityError: The entry is not whole or has no layer (`PE-BUNDLE-030`), its XML is spelled otherwise than
            physedge spells it or a byte of its constants belongs to none (`PE-BUNDLE-036`), it has an operator
            (`PE-BUNDLE-032`) or an operator set (`PE-BUNDLE-033`) that is not on the list, or a shape or constant
            beyond the limits or beyond its data (`PE-BUNDLE-034`).
    """
    xml, weights = unpack_ir(graph, origin=origin)
    try:
        net = read_net(xml)
        if not net.layers:
            raise _refused("PE-BUNDLE-030", origin, "no layer", "a graph")
        end = 0
        for layer in net.layers:
            end = _check_layer(layer, end)
        if end != len(weights):
            raise NotCanonical(f"{len(weights)} bytes of constants, of which {end} belong to one")
        _check_edges(net)
    except NotCanonical as error:
        raise IntegrityError(
            "PE-BUNDLE-036",
            found=f"{origin} is not in the form that physedge writes ({error})",
            expected="plain elements, each spelled in one way",
            next_step="export the network again with this physedge",
        ) from error
    except NotAllowed as error:
        raise _refused(error.identifier, origin, error.found, error.expected) from error


def ir_parts(graph: bytes) -> tuple[dict[str, int], dict[str, str]]:
    """What a graph consists of: operator to how often, and constant to the sha256 of its bytes.

    Args:
        graph: The entry, which `check_ir` has passed.
    """
    xml, weights = unpack_ir(graph)
    operators, tensors, end = Counter[str](), dict[str, str](), 0
    for layer in read_net(xml).layers:
        operators[layer.kind] += 1
        if layer.kind == "Const":
            start, end = end, end + int(layer.data["size"])
            tensors[layer.name] = hashlib.sha256(weights[start:end]).hexdigest()
    return dict(sorted(operators.items())), tensors


def _check_layer(layer: Layer, end: int) -> int:
    """Check one layer; gives where the constants end that were named so far."""
    if layer.kind not in OPERATORS:
        raise NotAllowed("PE-BUNDLE-032", f"the operator {layer.kind!r}", "operators that docs/security.md lists")
    if not _is_standard(layer.version):
        found = f"{layer.kind!r} of the set {layer.version!r}"
        raise NotAllowed("PE-BUNDLE-033", found, "a standard operator set")
    for port in (*layer.inputs, *layer.outputs):
        _elements(port.dims)
    is_end = layer.kind == "Result"
    if (not layer.outputs) != is_end or (is_end and len(layer.inputs) != 1):
        raise NotCanonical(f"{layer.kind} with other ports than it has")
    if layer.kind not in ("Const", "Parameter"):
        return end
    if layer.inputs or len(layer.outputs) != 1:
        raise NotCanonical(f"{layer.kind} with other ports than it has")
    if whole_numbers(layer.data.get("shape", "")) != layer.outputs[0].dims:
        raise NotAllowed("PE-BUNDLE-034", f"a {layer.kind} of another shape than its port's", "one shape")
    if layer.kind == "Parameter":
        return end
    if set(layer.data) != _CONSTANT_DATA:
        raise NotCanonical("a constant with other attributes than it has")
    offset, size = (_whole(layer.data[key]) for key in ("offset", "size"))
    bits = _BITS.get(layer.data["element_type"])
    if bits is None or size != (_elements(layer.outputs[0].dims) * bits + 7) // 8:
        raise NotAllowed("PE-BUNDLE-034", "a constant that is not in its data as its shape says", "the data it names")
    if offset != end:
        raise NotCanonical("a constant that does not lie behind the one before")
    return end + size


def _check_edges(net: Net) -> None:
    """Every input of every layer has one edge, in their order, from an output that was there before."""
    wanted = ((number, place) for number, layer in enumerate(net.layers) for place in range(len(layer.inputs)))
    edges = iter(net.edges)
    for to_layer, to_port in wanted:
        edge = next(edges, None)
        if edge is None or edge[2:] != (to_layer, to_port) or edge[0] >= to_layer:
            raise NotCanonical(f"no edge to the input {to_port} of layer {to_layer} where it should stand")
        giver = net.layers[edge[0]]
        place = edge[1] - len(giver.inputs)
        if not 0 <= place < len(giver.outputs):
            raise NotCanonical(f"an edge from the port {edge[1]} of layer {edge[0]}, which is no output")
        if giver.outputs[place] != net.layers[to_layer].inputs[to_port]:
            raise NotAllowed("PE-BUNDLE-034", "an edge between two types or shapes", "one type and one shape")
    if next(edges, None) is not None:
        raise NotCanonical("an edge to no input")


def _is_standard(version: str) -> bool:
    """`opset` and a number."""
    if not version.startswith("opset"):
        return False
    try:
        _whole(version[5:])
    except NotCanonical:
        return False
    return True


def _whole(text: str) -> int:
    number, end = whole_number(text, 0)
    if end != len(text):
        raise NotCanonical("no whole number in its shortest form")
    return number


def _elements(dims: tuple[int, ...]) -> int:
    elements = math.prod(dims)
    if elements > MOST_ELEMENTS or any(side > MOST_ELEMENTS for side in dims):
        shown = " x ".join(map(str, dims))
        raise NotAllowed("PE-BUNDLE-034", f"a tensor of the shape {shown}", "a shape within the limits")
    return elements


def _refused(identifier: str, origin: str, found: str, expected: str) -> IntegrityError:
    return IntegrityError(
        identifier,
        found=f"{origin} has {found}",
        expected=expected,
        next_step="do not use it; its maker exports the network without this",
    )
