"""What may stand in a graph, decided before an engine's parser sees it: a walk over the protobuf's own bytes.

An engine's reader is large native code. It is given only graphs of which this is known: every message is whole and
nested as ONNX nests them; no tensor points to another file; every operator is of the standard domain and on the list
below (pure functions of tensors: no control flow, no randomness, no strings, nothing that calls out); every tensor
holds as many bytes as its shape says, and no shape is beyond `MOST_ELEMENTS`.

Field numbers are those of onnx/onnx.proto, which never change.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from physedge_runtime.errors import IntegrityError
from physedge_runtime.ir import check_ir, ir_parts, is_ir

MOST_ELEMENTS = 2**28
MOST_NODES = 100_000
_MOST_PADDING = 2**16
_SHORT_BYTES = 160
_LONGEST_VARINT_BYTES = 10
_STANDARD_DOMAINS = (b"", b"ai.onnx")

_OPERATOR_NAMES = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization BitShift BitwiseAnd
BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu CenterCropPad Clip Col2Im Compress Concat Constant
ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumSum DFT DepthToSpace DequantizeLinear Det Div
DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu
Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid
HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual
Log LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool MaxUnpool Mean MeanVarianceNormalization Min
Mish Mod Mul Neg Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN
Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare Relu Reshape Resize ReverseSequence Round STFT ScatterElements ScatterND Selu Shape Shrink Sigmoid
Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh
ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
"""
OPERATORS = frozenset(_OPERATOR_NAMES.split())

# TensorProto.DataType to bits an element; strings are not among them.
_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128}
_BITS |= {16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8}
_INT64 = 7
# Operator to the input that is a shape, or multiplies one.
_SHAPE_INPUTS = {"ConstantOfShape": 0, "Expand": 1, "Reshape": 1, "Tile": 1, "Resize": 3, "Pad": 1}

Field = tuple[int, int, "int | memoryview"]


@dataclass(frozen=True, slots=True)
class _Tensor:
    """What is remembered of a tensor: its name and, if it is a short list of int64, its values."""

    name: bytes
    values: tuple[int, ...] = ()


@dataclass(slots=True)
class _Seen:
    """What the walk has met."""

    nodes: int = 0
    values: dict[bytes, tuple[int, ...]] = field(default_factory=dict)
    shapes_wanted: list[tuple[str, bytes]] = field(default_factory=list)


class _Broken(Exception):
    """The bytes are no whole message."""


class _Walk:
    """One walk over one graph."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._seen = _Seen()

    def model(self, data: memoryview) -> None:
        """ModelProto."""
        graphs = 0
        for number, _, value in _fields(data):
            if number == 7:
                self._graph(_message(value))
                graphs += 1
            elif number in (20, 25):
                what = "training information" if number == 20 else "a function of its own"
                raise self._refused("PE-BUNDLE-035", what, "one plain graph")
        if graphs != 1:
            raise _Broken(f"{graphs} graphs")
        for operator, name in self._seen.shapes_wanted:
            self._check_shape(operator, self._seen.values.get(name, ()))

    def _graph(self, data: memoryview) -> None:
        for number, _, value in _fields(data):
            if number == 1:
                self._node(_message(value))
            elif number == 5:
                tensor = self._tensor(_message(value))
                self._seen.values[tensor.name] = tensor.values
            elif number in (11, 12, 13):
                self._value_info(_message(value))
            elif number == 15:
                raise self._refused("PE-BUNDLE-035", "a sparse tensor", "one plain graph")

    def _node(self, data: memoryview) -> None:
        inputs, outputs, operator, domain = [], [], b"", b""
        constant: _Tensor | None = None
        for number, _, value in _fields(data):
            if number == 1:
                inputs.append(bytes(_message(value)))
            elif number == 2:
                outputs.append(bytes(_message(value)))
            elif number == 4:
                operator = bytes(_message(value))
            elif number == 5:
                constant = self._attribute(_message(value)) or constant
            elif number == 7:
                domain = bytes(_message(value))
        self._seen.nodes += 1
        if self._seen.nodes > MOST_NODES:
            raise self._refused("PE-BUNDLE-034", f"more than {MOST_NODES} nodes", "a graph within the limits")
        name = operator.decode("utf-8", "replace")
        if domain not in _STANDARD_DOMAINS:
            found = f"the operator {name!r} of the domain {domain.decode('utf-8', 'replace')!r}"
            raise self._refused("PE-BUNDLE-033", found, "operators of the ONNX standard")
        if name not in OPERATORS:
            raise self._refused("PE-BUNDLE-032", f"the operator {name!r}", "operators that docs/security.md lists")
        if constant is not None and outputs:
            self._seen.values[outputs[0]] = constant.values
        place = _SHAPE_INPUTS.get(name)
        if place is not None and place < len(inputs):
            self._seen.shapes_wanted.append((name, inputs[place]))

    def _attribute(self, data: memoryview) -> _Tensor | None:
        tensor = None
        for number, _, value in _fields(data):
            if number in (5, 10):
                tensor = self._tensor(_message(value))
            elif number in (6, 11, 22, 23):
                raise self._refused("PE-BUNDLE-035", "a graph or a sparse tensor inside a node", "one plain graph")
        return tensor

    def _tensor(self, data: memoryview) -> _Tensor:
        dims, kind, name = list[int](), 0, b""
        raw: memoryview | None = None
        typed_bytes, short = 0, list[int]()
        for number, wire, value in _fields(data):
            if number == 1:
                dims += _integers(wire, value)
            elif number == 2:
                kind = _integers(wire, value)[0]
            elif number == 8:
                name = bytes(_message(value))
            elif number == 9:
                raw = _message(value)
            elif number in (4, 5, 7, 10, 11):
                typed_bytes += len(value) if isinstance(value, memoryview) else 1
                if number == 7 and typed_bytes <= _SHORT_BYTES:
                    short += _integers(wire, value)
            elif number == 13 or (number == 14 and value != 0):
                raise self._refused("PE-BUNDLE-031", "a tensor whose data lies in another file", "data in the graph")
        self._check_size(dims, kind, None if raw is None else len(raw), typed_bytes)
        if kind != _INT64:
            return _Tensor(name)
        if raw is not None and len(raw) <= _SHORT_BYTES:
            return _Tensor(name, struct.unpack(f"<{len(raw) // 8}q", raw))
        return _Tensor(name, tuple(short))

    def _check_size(self, dims: list[int], kind: int, raw_bytes: int | None, typed_bytes: int) -> None:
        elements = math.prod(dims)
        if kind not in _BITS:
            raise self._refused("PE-BUNDLE-034", f"a tensor of the data type {kind}", "numbers")
        if any(size < 0 for size in dims) or elements > MOST_ELEMENTS:
            raise self._refused("PE-BUNDLE-034", f"a tensor of the shape {_shown(dims)}", "a shape within the limits")
        if raw_bytes is not None:
            fits, held = raw_bytes == (elements * _BITS[kind] + 7) // 8, raw_bytes
        else:  # typed fields take at least one byte an element, or half of one for two packed together
            fits, held = typed_bytes >= (elements * min(_BITS[kind], 8) + 7) // 8, typed_bytes
        if not fits:
            raise self._refused(
                "PE-BUNDLE-034", f"a tensor of the shape {_shown(dims)} with {held} bytes", "the data that it names"
            )

    def _value_info(self, data: memoryview) -> None:
        for number, _, kind in _fields(data):
            if number != 2:
                continue
            for type_number, _, tensor in _fields(_message(kind)):
                if type_number != 1:
                    raise self._refused("PE-BUNDLE-035", "a value that is no tensor", "tensors")
                for tensor_number, _, shape in _fields(_message(tensor)):
                    if tensor_number == 2:
                        self._declared_shape(_message(shape))

    def _declared_shape(self, data: memoryview) -> None:
        dims = []
        for number, _, dimension in _fields(data):
            if number == 1:
                dims += [value for key, _, value in _fields(_message(dimension)) if key == 1 and isinstance(value, int)]
        if math.prod(dims) > MOST_ELEMENTS or any(size >= 2**63 for size in dims):
            raise self._refused("PE-BUNDLE-034", f"a value of the shape {_shown(dims)}", "a shape within the limits")

    def _check_shape(self, operator: str, values: tuple[int, ...]) -> None:
        too_large = (
            any(abs(value) > _MOST_PADDING for value in values)
            if operator == "Pad"
            else math.prod(value for value in values if value > 0) > MOST_ELEMENTS
        )
        if too_large:
            raise self._refused("PE-BUNDLE-034", f"{operator} to {_shown(values)}", "a shape within the limits")

    def _refused(self, identifier: str, found: str, expected: str) -> IntegrityError:
        return IntegrityError(
            identifier,
            found=f"{self._origin} has {found}",
            expected=expected,
            next_step="do not use it; its maker exports the network without this",
        )


def graph_parts(graph: bytes) -> tuple[dict[str, int], dict[str, str]]:
    """What a graph consists of: operator to how often, and constant tensor to the sha256 of its bytes.

    Args:
        graph: The ONNX file or OpenVINO's entry, which `check_graph` has passed.
    """
    if is_ir(graph):
        return ir_parts(graph)
    operators: dict[str, int] = {}
    tensors: dict[str, str] = {}
    for model_number, _, body in _fields(memoryview(graph)):
        if model_number != 7:
            continue
        for number, _, value in _fields(_message(body)):
            if number == 1:
                names = [bytes(_message(part)).decode() for key, _, part in _fields(_message(value)) if key == 4]
                operators[names[0]] = operators.get(names[0], 0) + 1
            elif number == 5:
                names = [bytes(_message(part)).decode() for key, _, part in _fields(_message(value)) if key == 8]
                tensors[names[0]] = hashlib.sha256(_message(value)).hexdigest()
    return dict(sorted(operators.items())), tensors


def check_graph(graph: bytes, *, origin: str) -> None:
    """Refuse a graph that an engine should not be given.

    Args:
        graph: The ONNX file, or an entry in OpenVINO's representation.
        origin: Its name, for errors.

    Raises:
        IntegrityError: It is no whole ONNX message (`PE-BUNDLE-030`), points outside (`PE-BUNDLE-031`), has an
            operator (`PE-BUNDLE-032`) or a domain (`PE-BUNDLE-033`) that is not on the list, a shape beyond the limits
            or beyond its data (`PE-BUNDLE-034`), or a part that no deployed graph needs (`PE-BUNDLE-035`).
    """
    if is_ir(graph):
        check_ir(graph, origin=origin)
        return
    try:
        _Walk(origin).model(memoryview(graph))
    except _Broken as error:
        raise IntegrityError(
            "PE-BUNDLE-030",
            found=f"{origin} is no whole ONNX graph ({error})",
            expected="the graph that physedge export wrote",
            next_step="copy the bundle again from where it was made",
        ) from error


def _fields(data: memoryview) -> Iterator[Field]:
    """The fields of one message: number, wire type, and an integer or the bytes."""
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise _Broken("a field without a number")
        if wire == 0:
            value, position = _varint(data, position)
            yield number, wire, value
            continue
        if wire == 2:
            size, position = _varint(data, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise _Broken(f"wire type {wire}")
        if size > end - position:
            raise _Broken("a field runs past its end")
        yield number, wire, data[position : position + size]
        position += size


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(_LONGEST_VARINT_BYTES):
        if position >= len(data):
            raise _Broken("an integer runs past its end")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value & (2**64 - 1), position
    raise _Broken("an integer of more than ten bytes")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _Broken("an integer where a message should be")
    return value


def _integers(wire: int, value: int | memoryview) -> list[int]:
    """The signed 64-bit integers of a field, packed or not."""
    if isinstance(value, int):
        return [_signed(value)]
    if wire != 2:
        raise _Broken("a fixed number where an integer should be")
    found, position = [], 0
    while position < len(value):
        integer, position = _varint(value, position)
        found.append(_signed(integer))
    return found or [0]


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _shown(dims: list[int] | tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in dims[:6]) + (" ..." if len(dims) > 6 else "")
