"""A graph in OpenVINO's own representation as one entry of a bundle, and what may stand in it.

OpenVINO keeps a graph as XML and its constants in a file beside it. A bundle holds both in one entry, `NAME.ovir`: the
mark `PEOVIR01`, the length of the XML as 8 bytes (little endian), the XML, the constants. As with ONNX, the engine's
reader is given only graphs of which this is known: the XML is whole and has no document type and no entities; every
operator is of a numbered standard set and on the list below (pure functions of tensors); every constant lies within
the entry and has as many bytes as its shape says; no shape is beyond the limits.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass, field
from xml.parsers import expat

from physedge_runtime.errors import IntegrityError

MARK = b"PEOVIR01"
SUFFIX = ".ovir"
MOST_ELEMENTS = 2**28
MOST_LAYERS = 100_000
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
_ELEMENTS = frozenset({"net", "layers", "layer", "data", "input", "output", "port", "dim", "edges", "edge", "rt_info"})
_BITS = {"boolean": 8, "u1": 1, "u4": 4, "i4": 4, "u8": 8, "i8": 8, "u16": 16, "i16": 16, "f16": 16, "bf16": 16}
_BITS |= {"u32": 32, "i32": 32, "f32": 32, "u64": 64, "i64": 64, "f64": 64}


def pack_ir(xml: bytes, weights: bytes) -> bytes:
    """The entry for a graph and its constants."""
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
        IntegrityError: The XML is not whole (`PE-BUNDLE-030`), has an operator (`PE-BUNDLE-032`) or an operator set
            (`PE-BUNDLE-033`) that is not on the list, a shape or constant beyond the limits or beyond its data
            (`PE-BUNDLE-034`), or a part that no deployed graph needs (`PE-BUNDLE-035`).
    """
    xml, weights = unpack_ir(graph, origin=origin)
    walked = _walked(xml, origin, len(weights))
    if not walked.operators:
        raise _refused("PE-BUNDLE-030", origin, "no layer", "a graph")


def ir_parts(graph: bytes) -> tuple[dict[str, int], dict[str, str]]:
    """What a graph consists of: operator to how often, and constant to the sha256 of its bytes.

    Args:
        graph: The entry, which `check_ir` has passed.
    """
    xml, weights = unpack_ir(graph)
    walked = _walked(xml, "the graph", len(weights))
    tensors = {
        name: hashlib.sha256(weights[offset : offset + size]).hexdigest()
        for name, (offset, size) in walked.constants.items()
    }
    return dict(sorted(walked.operators.items())), tensors


@dataclass(slots=True)
class _Walk:
    """The state of one walk over the XML, element by element."""

    origin: str
    weights_bytes: int
    operators: Counter[str] = field(default_factory=Counter)
    constants: dict[str, tuple[int, int]] = field(default_factory=dict)
    open_elements: list[str] = field(default_factory=list)
    layer: dict[str, str] = field(default_factory=dict)
    dims: list[int] = field(default_factory=list)
    text: str = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        self.text = ""
        inside_notes = "rt_info" in self.open_elements
        self.open_elements.append(name)
        if inside_notes:
            return
        if name not in _ELEMENTS or (len(self.open_elements) == 1) != (name == "net"):
            raise _refused("PE-BUNDLE-035", self.origin, f"the element {name!r}", "layers and edges of one plain graph")
        if name == "layer":
            self._layer(attributes)
        elif name == "data" and self.layer.get("type") == "Const":
            self._constant(attributes)
        elif name == "port":
            self.dims = []

    def end(self, name: str) -> None:
        """An element ends."""
        self.open_elements.pop()
        if name == "dim" and "rt_info" not in self.open_elements:
            size = _whole(self.text)
            if size is None:
                raise _refused(
                    "PE-BUNDLE-034", self.origin, f"the side {self.text[:40]!r} of a shape", "a whole number"
                )
            self.dims.append(size)
            if math.prod(self.dims) > MOST_ELEMENTS:
                raise _refused(
                    "PE-BUNDLE-034", self.origin, f"a tensor of the shape {self.dims}", "one within the limits"
                )

    def _layer(self, attributes: dict[str, str]) -> None:
        self.layer = attributes
        kind, version = attributes.get("type", ""), attributes.get("version", "")
        if kind not in OPERATORS:
            raise _refused(
                "PE-BUNDLE-032", self.origin, f"the operator {kind!r}", "operators that docs/security.md lists"
            )
        if not (version.startswith("opset") and version[5:].isdigit()):
            raise _refused("PE-BUNDLE-033", self.origin, f"{kind!r} of the set {version!r}", "a standard operator set")
        self.operators[kind] += 1
        if self.operators.total() > MOST_LAYERS:
            raise _refused("PE-BUNDLE-034", self.origin, f"more than {MOST_LAYERS} layers", "a graph within the limits")

    def _constant(self, attributes: dict[str, str]) -> None:
        sides = [_whole(side) for side in attributes.get("shape", "").split(",") if side.strip()]
        offset, size = _whole(attributes.get("offset", "")), _whole(attributes.get("size", ""))
        bits = _BITS.get(attributes.get("element_type", ""))
        known = [side for side in sides if side is not None]
        fits = (
            offset is not None
            and size is not None
            and bits is not None
            and len(known) == len(sides)
            and math.prod(known) <= MOST_ELEMENTS
            and size == (math.prod(known) * bits + 7) // 8
            and offset + size <= self.weights_bytes
        )
        if not fits:
            found = f"the constant {self.layer.get('name', '')[:60]!r} that is not in its data as its shape says"
            raise _refused("PE-BUNDLE-034", self.origin, found, "the data that it names")
        assert offset is not None
        assert size is not None
        self.constants[self.layer.get("name", "")] = (offset, size)


def _walked(xml: bytes, origin: str, weights_bytes: int) -> _Walk:
    walk = _Walk(origin, weights_bytes)

    def refuse_declaration(*_: object) -> None:
        raise _refused("PE-BUNDLE-035", origin, "a document type or an entity", "plain elements")

    def text(data: str) -> None:
        walk.text += data[:64]

    parser = expat.ParserCreate()
    parser.StartElementHandler = walk.start
    parser.EndElementHandler = walk.end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse_declaration
    parser.EntityDeclHandler = refuse_declaration
    parser.ProcessingInstructionHandler = refuse_declaration
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as error:
        raise _refused("PE-BUNDLE-030", origin, f"broken XML ({error})", "a whole graph") from error
    return walk


def _whole(text: str) -> int | None:
    """A whole number of at most 18 digits, not negative; None where it is none."""
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else None


def _refused(identifier: str, origin: str, found: str, expected: str) -> IntegrityError:
    return IntegrityError(
        identifier,
        found=f"{origin} has {found}",
        expected=expected,
        next_step="do not use it; its maker exports the network without this",
    )
