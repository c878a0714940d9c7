"""How large the outputs of every operator on the list are, from the sizes of its inputs and from constants.

A rule gives one shape for each output. Where a size cannot be told from what stands in the graph, it is refused: what
decides a size (a target shape, a number of repeats, scales) must be a constant.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from physedge_runtime.graph_wire import NotAllowed

Shape = tuple[int, ...]
Numbers = tuple[float, ...]
MOST_STEP = 2**16
LARGEST_NUMBER = 2**31


@dataclass(frozen=True, slots=True)
class SizedNode:
    """A node with what is known of its inputs.

    Attributes:
        operator: Its name.
        opset: The graph's operator set.
        shapes: Of the inputs; None for one that is left out.
        numbers: The values of inputs that are small constants; None for others.
        attributes: Name to attribute, as `graph_wire` reads it.
        outputs: How many there are.
    """

    operator: str
    opset: int
    shapes: list[Shape | None]
    numbers: list[Numbers | None]
    attributes: dict[str, dict[str, Any]]
    outputs: int

    def unknown(self, why: str) -> NotAllowed:
        """The refusal of a node whose size cannot be told."""
        found = f"{self.operator} whose size cannot be told ({why})"
        return NotAllowed("PE-BUNDLE-034", found, "sizes that stand in the graph")

    def has(self, place: int) -> bool:
        """Whether an input is there and holds something that is no empty constant."""
        return place < len(self.shapes) and self.shapes[place] is not None and self.numbers[place] != ()

    def shape(self, place: int) -> Shape:
        """The shape of an input that must be there."""
        found = self.shapes[place] if place < len(self.shapes) else None
        if found is None:
            raise self.unknown(f"no input {place}")
        return found

    def constants(self, place: int) -> Numbers:
        """The values of an input that must be a small constant."""
        found = self.numbers[place] if place < len(self.numbers) else None
        if found is None:
            raise self.unknown(f"the input {place} is no small constant")
        return found

    def integers(self, place: int) -> Shape:
        """The same, of whole numbers."""
        found = self.constants(place)
        self.need(all(isinstance(value, int) for value in found), f"the input {place} is of no whole numbers")
        return tuple(int(value) for value in found)

    def integer(self, name: str, default: int) -> int:
        """An attribute, held within what a size can be."""
        found = self.attributes.get(name)
        return default if found is None else clamped(found["i"])

    def list(self, name: str, default: Shape) -> Shape:
        """An attribute that is a list of integers."""
        found = self.attributes.get(name)
        return default if found is None else tuple(clamped(value) for value in found["ints"])

    def text(self, name: str, default: str) -> str:
        """An attribute that is a text."""
        found = self.attributes.get(name)
        return default if found is None else str(found["s"])

    def axis(self, value: int, rank: int) -> int:
        """An axis counted from the front."""
        if not -rank <= value < rank:
            raise self.unknown(f"the axis {value} of {rank}")
        return value + rank if value < 0 else value

    def need(self, holds: bool, why: str) -> None:
        """Refuse where a condition does not hold."""
        if not holds:
            raise self.unknown(why)


Rule = Callable[[SizedNode], list[Shape]]


def clamped(value: int) -> int:
    """Held within 2^31: what is larger is beyond every size, and products stay within 64 bits."""
    return max(-LARGEST_NUMBER, min(LARGEST_NUMBER, value))


def float_of(data: memoryview) -> float:
    """A float32 as it stands in the file."""
    value: float = struct.unpack("<f", data)[0]
    return value


def _same(node: SizedNode) -> list[Shape]:
    return [node.shape(0)]


def _quantised(node: SizedNode) -> list[Shape]:
    return [node.shape(0), (), ()]


def _broadcast(node: SizedNode) -> list[Shape]:
    shape: Shape = ()
    for place in range(len(node.shapes)):
        shape = _joined(node, shape, node.shape(place))
    return [shape]


def _joined(node: SizedNode, one: Shape, other: Shape) -> Shape:
    rank = max(len(one), len(other))
    one, other = (1,) * (rank - len(one)) + one, (1,) * (rank - len(other)) + other
    for left, right in zip(one, other, strict=True):
        node.need(left == right or 1 in (left, right), "shapes that do not fit")
    return tuple(right if left == 1 else left for left, right in zip(one, other, strict=True))


def _reduce(node: SizedNode) -> list[Shape]:
    shape = node.shape(0)
    given = node.list("axes", ()) or (node.integers(1) if node.has(1) else ())
    if not given and node.integer("noop_with_empty_axes", 0) != 0:
        return [shape]
    axes = {node.axis(axis, len(shape)) for axis in given} if given else set(range(len(shape)))
    return [_without(shape, axes, node.integer("keepdims", 1))]


def _arg_reduce(node: SizedNode) -> list[Shape]:
    shape = node.shape(0)
    return [_without(shape, {node.axis(node.integer("axis", 0), len(shape))}, node.integer("keepdims", 1))]


def _without(shape: Shape, axes: set[int], keep: int) -> Shape:
    if keep != 0:
        return tuple(1 if axis in axes else side for axis, side in enumerate(shape))
    return tuple(side for axis, side in enumerate(shape) if axis not in axes)


def _window(node: SizedNode, sides: Shape, kernel: Shape) -> Shape:
    """The sides of what a window gives that moves over these."""
    count = len(sides)
    strides, dilations = node.list("strides", (1,) * count), node.list("dilations", (1,) * count)
    pads, mode = node.list("pads", (0,) * (2 * count)), node.text("auto_pad", "NOTSET")
    node.need(len(kernel) == len(strides) == len(dilations) == count and len(pads) == 2 * count, "sizes of the window")
    node.need(all(1 <= value <= MOST_STEP for value in (*kernel, *strides, *dilations)), "steps of the window")
    node.need(all(0 <= value <= MOST_STEP for value in pads), "padding")
    node.need(mode in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"), "a way of padding")
    found = []
    for axis, side in enumerate(sides):
        if mode.startswith("SAME"):
            found.append(-(-side // strides[axis]))
            continue
        before, after = (0, 0) if mode == "VALID" else (pads[axis], pads[axis + count])
        room = side + before + after - (dilations[axis] * (kernel[axis] - 1) + 1)
        node.need(room >= 0, "a window that is larger than what it moves over")
        steps = room // strides[axis] + 1
        if node.integer("ceil_mode", 0) != 0 and room % strides[axis] and steps * strides[axis] < side + before:
            steps += 1
        found.append(steps)
    return tuple(found)


def _conv(node: SizedNode, place: int = 1) -> list[Shape]:
    shape, weight, group = node.shape(0), node.shape(place), node.integer("group", 1)
    node.need(len(shape) == len(weight) >= 3 and group >= 1, "ranks and groups")
    node.need(shape[1] == weight[1] * group and weight[0] % group == 0, "channels")
    node.need(node.list("kernel_shape", weight[2:]) == weight[2:], "the kernel")
    return [(shape[0], weight[0], *_window(node, shape[2:], weight[2:]))]


def _quantised_conv(node: SizedNode) -> list[Shape]:
    return _conv(node, 3)


def _conv_transpose(node: SizedNode) -> list[Shape]:
    shape, weight, group = node.shape(0), node.shape(1), node.integer("group", 1)
    node.need(len(shape) == len(weight) >= 3 and group >= 1 and shape[1] == weight[0], "ranks, groups and channels")
    node.need(weight[0] % group == 0 and node.list("kernel_shape", weight[2:]) == weight[2:], "the kernel")
    kernel, count = weight[2:], len(shape) - 2
    strides, dilations = node.list("strides", (1,) * count), node.list("dilations", (1,) * count)
    more, pads = node.list("output_padding", (0,) * count), node.list("pads", (0,) * (2 * count))
    target, mode = node.list("output_shape", ()), node.text("auto_pad", "NOTSET")
    node.need(len(strides) == len(dilations) == len(more) == count and len(pads) == 2 * count, "sizes of the window")
    node.need(all(1 <= value <= MOST_STEP for value in (*kernel, *strides, *dilations)), "steps of the window")
    node.need(all(0 <= value <= MOST_STEP for value in (*pads, *more)), "padding")
    node.need(mode in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"), "a way of padding")
    if target:
        node.need(len(target) == count, "the shape of the output")
        return [(shape[0], weight[1] * group, *target)]
    found = []
    for axis, side in enumerate(shape[2:]):
        if mode.startswith("SAME"):
            found.append(side * strides[axis])
            continue
        taken = 0 if mode == "VALID" else pads[axis] + pads[axis + count]
        whole = strides[axis] * (side - 1) + more[axis] + dilations[axis] * (kernel[axis] - 1) + 1 - taken
        node.need(whole >= 0, "padding that is larger than the output")
        found.append(whole)
    return [(shape[0], weight[1] * group, *found)]


def _pool(node: SizedNode) -> list[Shape]:
    shape = node.shape(0)
    node.need(len(shape) >= 3, "ranks")
    pooled = (*shape[:2], *_window(node, shape[2:], node.list("kernel_shape", ())))
    return [pooled] * (2 if node.operator == "MaxPool" else 1)


def _global_pool(node: SizedNode) -> list[Shape]:
    shape = node.shape(0)
    node.need(len(shape) >= 3, "ranks")
    return [(*shape[:2], *(1 for _ in shape[2:]))]


def _matmul(node: SizedNode, place: int = 1) -> list[Shape]:
    one, other = node.shape(0), node.shape(place)
    node.need(len(one) >= 1 and len(other) >= 1, "ranks")
    left, right = one if len(one) > 1 else (1, *one), other if len(other) > 1 else (*other, 1)
    node.need(left[-1] == right[-2], "shapes that do not fit")
    rows, columns = left[-2:-1] if len(one) > 1 else (), right[-1:] if len(other) > 1 else ()
    return [(*_joined(node, left[:-2], right[:-2]), *rows, *columns)]


def _quantised_matmul(node: SizedNode) -> list[Shape]:
    return _matmul(node, 3)


def _gemm(node: SizedNode) -> list[Shape]:
    one, other = node.shape(0), node.shape(1)
    node.need(len(one) == len(other) == 2, "ranks")
    one = one[::-1] if node.integer("transA", 0) != 0 else one
    other = other[::-1] if node.integer("transB", 0) != 0 else other
    node.need(one[1] == other[0], "shapes that do not fit")
    return [(one[0], other[1])]


def _concat(node: SizedNode) -> list[Shape]:
    first = node.shape(0)
    axis, joined = node.axis(node.integer("axis", 0), len(first)), 0
    for place in range(len(node.shapes)):
        shape = node.shape(place)
        fits = len(shape) == len(first) and all(
            side == other for at, (side, other) in enumerate(zip(shape, first, strict=True)) if at != axis
        )
        node.need(fits, "shapes that do not fit")
        joined += shape[axis]
    return [(*first[:axis], joined, *first[axis + 1 :])]


def _split(node: SizedNode) -> list[Shape]:
    shape, count = node.shape(0), node.outputs
    axis = node.axis(node.integer("axis", 0), len(shape))
    if node.has(1):
        parts = node.integers(1)
    else:
        each = -(-shape[axis] // count)
        parts = (*(each for _ in range(count - 1)), shape[axis] - each * (count - 1))
    node.need(len(parts) == count and min(parts) >= 0 and sum(parts) == shape[axis], "parts that do not fit")
    return [(*shape[:axis], part, *shape[axis + 1 :]) for part in parts]


def _slice(node: SizedNode) -> list[Shape]:
    sides = list(node.shape(0))
    starts, ends = node.integers(1), node.integers(2)
    axes = node.integers(3) if node.has(3) else tuple(range(len(starts)))
    steps = node.integers(4) if node.has(4) else (1,) * len(starts)
    node.need(len(starts) == len(ends) == len(axes) == len(steps), "lists of different lengths")
    for start, end, given, step in zip(starts, ends, axes, steps, strict=True):
        axis = node.axis(given, len(sides))
        side = sides[axis]
        node.need(step != 0, "a step of nothing")
        low, high = (0, side) if step > 0 else (-1, side - 1)
        first = min(max(start + side if start < 0 else start, max(low, 0) if step > 0 else low), high)
        last = min(max(end + side if end < 0 else end, low), high)
        gap = last - first if step > 0 else first - last
        sides[axis] = max(0, -(-gap // abs(step)))
    return [tuple(sides)]


def _gather(node: SizedNode) -> list[Shape]:
    shape, taken = node.shape(0), node.shape(1)
    axis = node.axis(node.integer("axis", 0), len(shape))
    return [(*shape[:axis], *taken, *shape[axis + 1 :])]


def _gather_elements(node: SizedNode) -> list[Shape]:
    node.need(len(node.shape(0)) == len(node.shape(1)), "ranks")
    return [node.shape(1)]


def _gather_nd(node: SizedNode) -> list[Shape]:
    shape, taken, batch = node.shape(0), list(node.shape(1)), node.integer("batch_dims", 0)
    node.need(bool(taken) and 0 <= batch < min(len(shape), len(taken)), "ranks")
    depth = taken[-1]
    node.need(1 <= depth <= len(shape) - batch and list(shape[:batch]) == taken[:batch], "indices that do not fit")
    return [(*taken[:-1], *shape[batch + depth :])]


def _transpose(node: SizedNode) -> list[Shape]:
    shape = node.shape(0)
    order = node.list("perm", tuple(reversed(range(len(shape)))))
    node.need(sorted(order) == list(range(len(shape))), "an order of other axes")
    return [tuple(shape[axis] for axis in order)]


def _reshape(node: SizedNode) -> list[Shape]:
    shape, wanted, elements = node.shape(0), node.integers(1), math.prod(node.shape(0))
    sides = list[int]()
    for place, side in enumerate(wanted):
        if side == 0 and node.integer("allowzero", 0) == 0:
            node.need(place < len(shape), "an axis that is not there")
            sides.append(shape[place])
        else:
            sides.append(side)
    node.need(all(-1 <= side <= LARGEST_NUMBER for side in sides) and sides.count(-1) <= 1, "sides")
    if -1 in sides:
        rest = _bounded_product(node, [side for side in sides if side != -1])
        node.need(rest > 0 and elements % rest == 0, "a shape of another size")
        sides[sides.index(-1)] = elements // rest
    node.need(_bounded_product(node, sides) == elements, "a shape of another size")
    return [tuple(sides)]


def _bounded_product(node: SizedNode, sides: list[int]) -> int:
    """The product; refused once it is beyond every size, unless a side is nothing."""
    if 0 in sides:
        return 0
    product = 1
    for side in sides:
        product *= side
        node.need(product <= LARGEST_NUMBER, "a shape of another size")
    return product


def _flatten(node: SizedNode) -> list[Shape]:
    shape, axis = node.shape(0), node.integer("axis", 1)
    node.need(-len(shape) <= axis <= len(shape), "the axis")
    axis = axis + len(shape) if axis < 0 else axis
    return [(_bounded_product(node, list(shape[:axis])), _bounded_product(node, list(shape[axis:])))]


def _squeeze(node: SizedNode) -> list[Shape]:
    shape = node.shape(0)
    if node.has(1):
        axes = {node.axis(axis, len(shape)) for axis in node.integers(1)}
    else:
        axes = {axis for axis, side in enumerate(shape) if side == 1}
    node.need(all(shape[axis] == 1 for axis in axes), "an axis that is not one long")
    return [_without(shape, axes, 0)]


def _unsqueeze(node: SizedNode) -> list[Shape]:
    shape, given = node.shape(0), node.integers(1)
    rank = len(shape) + len(given)
    axes = {node.axis(axis, rank) for axis in given}
    node.need(len(axes) == len(given), "an axis twice")
    sides = iter(shape)
    return [tuple(1 if axis in axes else next(sides) for axis in range(rank))]


def _expand(node: SizedNode) -> list[Shape]:
    target = node.integers(1)
    node.need(all(side >= 0 for side in target), "a side below nothing")
    return [_joined(node, node.shape(0), target)]


def _tile(node: SizedNode) -> list[Shape]:
    shape, times = node.shape(0), node.integers(1)
    node.need(len(times) == len(shape) and all(value >= 0 for value in times), "repeats that do not fit")
    return [tuple(side * value for side, value in zip(shape, times, strict=True))]


def _pad(node: SizedNode) -> list[Shape]:
    sides, pads = list(node.shape(0)), node.integers(1)
    axes = node.integers(3) if node.has(3) else tuple(range(len(sides)))
    node.need(len(pads) == 2 * len(axes) and all(abs(value) <= MOST_STEP for value in pads), "padding")
    for place, given in enumerate(axes):
        axis = node.axis(given, len(sides))
        sides[axis] += pads[place] + pads[place + len(axes)]
        node.need(sides[axis] >= 0, "padding below nothing")
    return [tuple(sides)]


def _resize(node: SizedNode) -> list[Shape]:
    sides = list(node.shape(0))
    given = node.list("axes", tuple(range(len(sides))))
    axes = [node.axis(axis, len(sides)) for axis in given]
    node.need(node.text("keep_aspect_ratio_policy", "stretch") == "stretch", "a policy for the aspect ratio")
    values = node.integers(3) if node.has(3) else node.constants(2)
    node.need(len(values) == len(axes), "sizes that do not fit")
    for axis, value in zip(axes, values, strict=True):
        node.need(0 <= value <= LARGEST_NUMBER, "sizes that do not fit")
        sides[axis] = int(value) if node.has(3) else math.floor(sides[axis] * value)
    return [tuple(sides)]


def _depth_to_space(node: SizedNode) -> list[Shape]:
    shape, block = node.shape(0), node.integer("blocksize", 0)
    node.need(len(shape) == 4 and 1 <= block <= MOST_STEP and shape[1] % (block * block) == 0, "the block")
    return [(shape[0], shape[1] // (block * block), shape[2] * block, shape[3] * block)]


def _space_to_depth(node: SizedNode) -> list[Shape]:
    shape, block = node.shape(0), node.integer("blocksize", 0)
    node.need(len(shape) == 4 and 1 <= block <= MOST_STEP, "the block")
    node.need(shape[2] % block == 0 and shape[3] % block == 0, "the block")
    return [(shape[0], shape[1] * block * block, shape[2] // block, shape[3] // block)]


def _constant_of_shape(node: SizedNode) -> list[Shape]:
    sides = node.integers(0)
    node.need(all(side >= 0 for side in sides), "a side below nothing")
    return [sides]


def _shape(node: SizedNode) -> list[Shape]:
    rank = len(node.shape(0))
    start, end = node.integer("start", 0), node.integer("end", rank)
    start, end = (min(max(value + rank if value < 0 else value, 0), rank) for value in (start, end))
    return [(max(0, end - start),)]


def _size(_: SizedNode) -> list[Shape]:
    return [()]


def _one_hot(node: SizedNode) -> list[Shape]:
    shape, depth = node.shape(0), node.integers(1)
    axis = node.axis(node.integer("axis", -1), len(shape) + 1)
    node.need(len(depth) == 1 and depth[0] >= 0, "the depth")
    return [(*shape[:axis], depth[0], *shape[axis:])]


def _top_k(node: SizedNode) -> list[Shape]:
    shape, count = node.shape(0), node.integers(1)
    axis = node.axis(node.integer("axis", -1), len(shape))
    node.need(len(count) == 1 and 0 <= count[0] <= shape[axis], "how many")
    return [(*shape[:axis], count[0], *shape[axis + 1 :])] * 2


def _recurrent(node: SizedNode) -> list[Shape]:
    shape, weight, repeated = node.shape(0), node.shape(1), node.shape(2)
    node.need(len(shape) == len(weight) == len(repeated) == 3 and node.integer("layout", 0) == 0, "ranks and layout")
    directions = 2 if node.text("direction", "forward") == "bidirectional" else 1
    node.need(weight[0] == repeated[0] == directions and weight[2] == shape[2], "weights that do not fit")
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[node.operator]
    hidden = repeated[2]
    node.need(weight[1] == repeated[1] == gates * hidden, "weights that do not fit")
    node.need(node.integer("hidden_size", hidden) == hidden, "the number of hidden units")
    last = (directions, shape[1], hidden)
    return [(shape[0], *last), last, last][: 3 if node.operator == "LSTM" else 2]


def _einsum(node: SizedNode) -> list[Shape]:
    equation = node.text("equation", "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    node.need(bool(arrow) and len(terms) == len(node.shapes), "an equation without its answer")
    node.need(all("a" <= letter <= "z" or "A" <= letter <= "Z" for letter in "".join(terms) + right), "an equation")
    sides = dict[str, int]()
    for place, term in enumerate(terms):
        shape = node.shape(place)
        node.need(len(term) == len(shape), "ranks")
        for letter, side in zip(term, shape, strict=True):
            node.need(sides.setdefault(letter, side) == side, "shapes that do not fit")
    node.need(all(letter in sides for letter in right) and len(set(right)) == len(right), "an equation")
    return [tuple(sides[letter] for letter in right)]


def _grid_sample(node: SizedNode) -> list[Shape]:
    shape, grid = node.shape(0), node.shape(1)
    node.need(len(shape) == len(grid) >= 3 and shape[0] == grid[0] and grid[-1] == len(shape) - 2, "the grid")
    return [(*shape[:2], *grid[1:-1])]


def _det(node: SizedNode) -> list[Shape]:
    shape = node.shape(0)
    node.need(len(shape) >= 2 and shape[-1] == shape[-2], "a matrix")
    return [shape[:-2]]


_NAMES: dict[Rule, str] = {
    _same: """
        Abs Acos Acosh Asin Asinh Atan Atanh BatchNormalization BitwiseNot Cast CastLike Ceil Celu Clip Cos Cosh CumSum
        DequantizeLinear Elu Erf Exp EyeLike Floor Gelu GroupNormalization HardSigmoid HardSwish Hardmax Identity
        InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Log LogSoftmax LpNormalization
        MeanVarianceNormalization Mish Neg Not PRelu QuantizeLinear RMSNormalization Reciprocal Relu ReverseSequence
        Round ScatterElements ScatterND Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh
        ThresholdedRelu Trilu
    """,
    _broadcast: """
        Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min
        Mod Mul Or Pow Sub Sum Where Xor
    """,
    _reduce: """
        ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
        ReduceSumSquare
    """,
    _arg_reduce: "ArgMax ArgMin",
    _quantised: "DynamicQuantizeLinear",
    _conv: "Conv ConvInteger",
    _quantised_conv: "QLinearConv",
    _conv_transpose: "ConvTranspose",
    _pool: "AveragePool LpPool MaxPool",
    _global_pool: "GlobalAveragePool GlobalLpPool GlobalMaxPool",
    _matmul: "MatMul MatMulInteger",
    _quantised_matmul: "QLinearMatMul",
    _gemm: "Gemm",
    _concat: "Concat",
    _split: "Split",
    _slice: "Slice",
    _gather: "Gather",
    _gather_elements: "GatherElements",
    _gather_nd: "GatherND",
    _transpose: "Transpose",
    _reshape: "Reshape",
    _flatten: "Flatten",
    _squeeze: "Squeeze",
    _unsqueeze: "Unsqueeze",
    _expand: "Expand",
    _tile: "Tile",
    _pad: "Pad",
    _resize: "Resize",
    _depth_to_space: "DepthToSpace",
    _space_to_depth: "SpaceToDepth",
    _constant_of_shape: "ConstantOfShape",
    _shape: "Shape",
    _size: "Size",
    _one_hot: "OneHot",
    _top_k: "TopK",
    _recurrent: "GRU LSTM RNN",
    _einsum: "Einsum",
    _grid_sample: "GridSample",
    _det: "Det",
}
RULES: dict[str, Rule] = {name: rule for rule, names in _NAMES.items() for name in names.split()}
