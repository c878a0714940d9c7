"""Every pass in every case it lists: the same function, the operators it promises, and no float mark lost."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from physedge_export.graph import graph_from_model
from physedge_export.marks import float_nodes, mark_float
from physedge_export.passes.affine_convolutions import FoldAffineIntoConvolutions
from physedge_export.passes.base import GraphPass, PassReport, PassResult, largest_deviation, run_passes
from physedge_export.passes.convolution_sums import SumConvolutions
from physedge_export.passes.folded_pixels import FoldPixelsIntoConvolution
from physedge_export.passes.idle_nodes import RemoveIdleNodes
from physedge_export.passes.input_scale import FoldInputScale
from physedge_export.passes.magnitude_in_convolution import MagnitudeInConvolution
from physedge_export.passes.sigmoid_as_division import SigmoidAsDivision
from physedge_export.passes.sigmoid_as_polynomial import COEFFICIENTS, LIMIT, SigmoidAsPolynomial
from physedge_export.passes.softmax_in_steps import SoftmaxInSteps
from physedge_export.passes.table import PASSES, apply_passes
from physedge_runtime.errors import BuildError
from physedge_runtime.frame import FrameSpec
from physedge_runtime.spec import ModelSpec, Task

GENERATOR = np.random.default_rng(7)
SHAPE = (1, 4, 6, 5)


def weights(*shape: int) -> np.ndarray:
    return GENERATOR.normal(size=shape).astype(np.float32)


def model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], shape: tuple[int, ...] = SHAPE) -> bytes:
    for index, node in enumerate(nodes):
        node.name = node.name or f"block.{index}/{node.op_type}"
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return onnx.shape_inference.infer_shapes(made, strict_mode=True).SerializeToString()


def run(graph_pass: GraphPass, data: bytes) -> tuple[Counter[str], PassReport]:
    after, report = run_passes(data, [graph_pass])
    kinds = Counter(node.op_type for node in onnx.load_from_string(after).graph.node)
    return kinds, report


node = helper.make_node


@pytest.mark.parametrize(
    ("idle", "constants"),
    [
        (node("Identity", ["a"], ["b"]), {}),
        (node("Cast", ["a"], ["b"], to=TensorProto.FLOAT), {}),
        (node("Mul", ["a", "k"], ["b"]), {"k": np.ones((1, 4, 1, 1), np.float32)}),
        (node("Mul", ["k", "a"], ["b"]), {"k": np.float32(1)}),
        (node("Sub", ["a", "k"], ["b"]), {"k": np.float32(0)}),
        (node("Div", ["a", "k"], ["b"]), {"k": np.float32(1)}),
        (node("Transpose", ["a"], ["b"], perm=[0, 1, 2, 3]), {}),
    ],
)
def test_idle_nodes_go(idle: onnx.NodeProto, constants: dict[str, np.ndarray]) -> None:
    kinds, report = run(
        RemoveIdleNodes(), model([node("Relu", ["x"], ["a"]), idle, node("Abs", ["b"], ["y"])], constants)
    )
    assert kinds == {"Relu": 1, "Abs": 1}
    assert report.deviation == 0 and report.changed == {"remove_idle_nodes": 1}


@pytest.mark.parametrize(
    ("busy", "constants"),
    [
        (node("Add", ["a", "k"], ["b"]), {"k": np.zeros((3, 1, 1, 1), np.float32)}),  # widens the batch
        (node("Div", ["k", "a"], ["b"]), {"k": np.float32(1)}),  # the inverse
        (node("Sub", ["k", "a"], ["b"]), {"k": np.float32(0)}),  # the negative
        (node("Transpose", ["a"], ["b"], perm=[0, 1, 3, 2]), {}),
    ],
)
def test_what_only_looks_idle_stays(busy: onnx.NodeProto, constants: dict[str, np.ndarray]) -> None:
    data = model([node("Softplus", ["x"], ["a"]), busy, node("Abs", ["b"], ["y"])], constants)
    assert run(RemoveIdleNodes(), data)[1].changed == {"remove_idle_nodes": 0}


def test_a_chain_of_idle_nodes_and_a_promised_output() -> None:
    chain = [node("Identity", ["x"], ["a"]), node("Identity", ["a"], ["b"]), node("Identity", ["b"], ["y"])]
    kinds, _ = run(RemoveIdleNodes(), model(chain, {}))
    assert kinds == {"Identity": 1}  # the last one makes the promised output


CONVOLUTION = node("Conv", ["x", "w", "c"], ["a"], pads=[1, 1, 1, 1])
BASE = {"w": weights(4, 4, 3, 3), "c": weights(4)}


@pytest.mark.parametrize(
    ("after", "constants"),
    [
        (
            node("BatchNormalization", ["a", "g", "h", "m", "v"], ["b"], epsilon=1e-3),
            {"g": weights(4), "h": weights(4), "m": weights(4), "v": np.abs(weights(4)) + 0.1},
        ),
        (node("Mul", ["a", "k"], ["b"]), {"k": weights(1, 4, 1, 1)}),
        (node("Mul", ["k", "a"], ["b"]), {"k": np.float32(0.3)}),
        (node("Add", ["a", "k"], ["b"]), {"k": weights(4, 1, 1)}),
        (node("Sub", ["a", "k"], ["b"]), {"k": np.float32(0.7)}),
        (node("Sub", ["k", "a"], ["b"]), {"k": np.float32(0.7)}),
    ],
)
def test_what_follows_a_convolution_is_folded(after: onnx.NodeProto, constants: dict[str, np.ndarray]) -> None:
    kinds, report = run(
        FoldAffineIntoConvolutions(), model([CONVOLUTION, after, node("Relu", ["b"], ["y"])], {**BASE, **constants})
    )
    assert kinds == {"Conv": 1, "Relu": 1}
    assert report.deviation < 1e-5


def test_a_scale_before_a_padded_convolution_is_folded() -> None:
    nodes = [node("Mul", ["x", "k"], ["s"]), node("Conv", ["s", "w"], ["y"], pads=[1, 1, 1, 1])]
    kinds, report = run(FoldAffineIntoConvolutions(), model(nodes, {"w": BASE["w"], "k": np.float32(0.25)}))
    assert kinds == {"Conv": 1} and report.deviation < 1e-5


@pytest.mark.parametrize(
    ("after", "constants"),
    [
        (node("Mul", ["a", "x"], ["b"]), {}),  # no constant
        (node("Add", ["a", "k"], ["b"]), {"k": weights(1, 4, 6, 5)}),  # a value a pixel
        (node("Add", ["a", "k"], ["b"]), {"k": weights(5)}),  # along the width
    ],
)
def test_what_is_no_affine_map_of_channels_stays(after: onnx.NodeProto, constants: dict[str, np.ndarray]) -> None:
    data = model([CONVOLUTION, after, node("Relu", ["b"], ["y"])], {**BASE, **constants})
    assert run(FoldAffineIntoConvolutions(), data)[1].changed == {"fold_affine_into_convolutions": 0}


def test_a_convolution_whose_answer_is_used_twice_stays() -> None:
    nodes = [CONVOLUTION, node("Mul", ["a", "k"], ["b"]), node("Add", ["a", "b"], ["y"])]
    assert run(FoldAffineIntoConvolutions(), model(nodes, {**BASE, "k": np.float32(2)}))[1].nodes_after == 3


def test_a_fold_carries_the_float_mark_on() -> None:
    scaling = node("Mul", ["a", "k"], ["b"], name="flow/Mul")
    mark_float(scaling)
    data = model([CONVOLUTION, scaling, node("Relu", ["b"], ["y"])], {**BASE, "k": np.float32(2)})
    after, _ = run_passes(data, [FoldAffineIntoConvolutions()])
    assert len(float_nodes(onnx.load_from_string(after))) == 1


def picture_model(side: int = 9) -> bytes:
    """A raw picture, scaled, into a padded convolution: its border is where a wrong folding shows."""
    nodes = [
        node("Cast", ["frame"], ["f"], name="input/Cast", to=TensorProto.FLOAT),
        node("Transpose", ["f"], ["t"], name="input/Transpose", perm=[0, 3, 1, 2]),
        node("Mul", ["t", "scale"], ["s"], name="input/Mul"),
        node("Add", ["s", "offset"], ["n"], name="input/Add"),
        node("Conv", ["n", "w"], ["c"], name="stem/Conv", pads=[1, 1, 1, 1]),
        node("Sigmoid", ["c"], ["g"], name="stem/Sigmoid"),
        node("Conv", ["g", "h"], ["l"], name="head/Conv"),
        node("Sigmoid", ["l"], ["probability"], name="output/Sigmoid"),
    ]
    for marked in (*nodes[:4], nodes[-1]):
        mark_float(marked)
    scale = (1 / (255 * np.array([0.2, 0.25, 0.3]))).astype(np.float32).reshape(1, 3, 1, 1)
    offset = np.array([-2.0, -1.5, -1.0], np.float32).reshape(1, 3, 1, 1)
    kernel, head = weights(8, 3, 3, 3), weights(1, 8, 1, 1)
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, (1, side, side, 3))],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, (1, 1, side, side))],
        [
            numpy_helper.from_array(values, name)
            for name, values in (("scale", scale), ("offset", offset), ("w", kernel), ("h", head))
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return onnx.shape_inference.infer_shapes(made, strict_mode=True).SerializeToString()


def test_the_input_scale_is_folded_exactly_at_the_border_too() -> None:
    data = picture_model()
    kinds, report = run(FoldInputScale(), data)
    assert kinds["Mul"] == 0 and kinds["Add"] == 1
    assert report.deviation < 1e-5
    after, _ = run_passes(data, [FoldInputScale()])
    black = np.zeros((1, 9, 9, 3), np.uint8)
    answers = [
        onnxruntime.InferenceSession(given, providers=["CPUExecutionProvider"]).run(None, {"frame": black})[0]
        for given in (data, after)
    ]
    np.testing.assert_allclose(*answers, atol=1e-6)


def test_a_large_sigmoid_is_written_out_and_a_small_one_stays() -> None:
    kinds, report = run(SigmoidAsDivision(), picture_model(side=96))
    assert (kinds["Sigmoid"], kinds["Exp"], kinds["Div"]) == (1, 1, 1)  # the answer's own sigmoid stays
    assert report.deviation < 1e-5
    assert run(SigmoidAsDivision(), picture_model(side=9))[1].changed == {"sigmoid_as_division": 0}


def test_a_written_out_sigmoid_ends_in_zero_and_one() -> None:
    data = model(
        [node("Conv", ["x", "w"], ["a"]), node("Sigmoid", ["a"], ["y"])],
        {"w": np.full((1, 1, 1, 1), 1e4, np.float32)},
        shape=(1, 1, 256, 256),
    )
    after, _ = run_passes(data, [SigmoidAsDivision()])
    given = np.where(np.arange(65536) % 2 == 0, -1.0, 1.0).astype(np.float32).reshape(1, 1, 256, 256)
    (answer,) = onnxruntime.InferenceSession(after, providers=["CPUExecutionProvider"]).run(None, {"x": given})
    np.testing.assert_array_equal(answer, given > 0)


def test_a_magnitude_becomes_part_of_its_convolution_bit_by_bit() -> None:
    data = model(
        [node("Conv", ["x", "w"], ["a"], pads=[1] * 4, group=4), node("Abs", ["a"], ["y"])],
        {"w": weights(4, 1, 3, 3)},
    )
    kinds, report = run(MagnitudeInConvolution(), data)
    assert kinds == {"Conv": 1, "LeakyRelu": 1} and report.deviation == 0.0
    after, _ = run_passes(data, [MagnitudeInConvolution()])
    given = np.concatenate([weights(1, 4, 6, 4), np.zeros((1, 4, 6, 1), np.float32)], axis=3)
    answers = [
        onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, {"x": given})[0]
        for graph in (data, after)
    ]
    np.testing.assert_array_equal(*answers)
    assert answers[0].min() >= 0.0


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Relu", ["x"], ["a"]), node("Abs", ["a"], ["y"])],
        [node("Conv", ["x", "w"], ["a"]), node("Abs", ["a"], ["b"]), node("Add", ["a", "b"], ["y"])],
    ],
    ids=["of no convolution", "of a convolution that others use"],
)
def test_a_magnitude_of_something_else_stays(nodes: list[onnx.NodeProto]) -> None:
    constants = {"w": weights(4, 4, 1, 1)} if nodes[0].op_type == "Conv" else {}
    assert run(MagnitudeInConvolution(), model(nodes, constants))[1].changed == {"magnitude_in_convolution": 0}


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [1, 2, -3])
def test_a_softmax_is_written_out_and_stays_stable(operator: str, axis: int) -> None:
    data = model([node(operator, ["x"], ["a"], axis=axis), node("Identity", ["a"], ["y"])], {})
    kinds, report = run(SoftmaxInSteps(), data)
    assert kinds[operator] == 0 and report.deviation < 1e-6
    after, _ = run_passes(data, [SoftmaxInSteps()])
    given = 1e4 * weights(*SHAPE)  # exp alone would overflow
    wanted = given - given.max(axis=axis, keepdims=True)
    wanted = wanted - np.log(np.exp(wanted.astype(np.float64)).sum(axis=axis, keepdims=True))
    (answer,) = onnxruntime.InferenceSession(after, providers=["CPUExecutionProvider"]).run(None, {"x": given})
    if operator == "Softmax":
        answer = np.log(np.maximum(answer, 1e-30))
        wanted = np.maximum(wanted, np.log(1e-30))
    np.testing.assert_allclose(answer, wanted, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_a_softmax_along_the_last_axis_and_the_answer_itself_stay(operator: str) -> None:
    inside = model([node(operator, ["x"], ["a"], axis=-1), node("Identity", ["a"], ["y"])], {})
    answer = model([node(operator, ["x"], ["y"], axis=1)], {})
    for data in (inside, answer):
        assert run_passes(data, [SoftmaxInSteps()])[0] is data


class Breaks:
    name = "breaks"

    def __init__(self, how: str) -> None:
        self.how = how

    def apply(self, given: onnx.ModelProto) -> PassResult:
        graph = given.graph
        if self.how == "function":
            graph.node[-1].op_type = "Tanh"
        elif self.how == "mark":
            del graph.node[0].metadata_props[:]
        elif self.how == "name":
            graph.node[1].name = graph.node[0].name
        else:
            graph.node[1].input[0] = "nothing"
        return PassResult(given, 1)


@pytest.mark.parametrize(
    ("how", "word"), [("function", "answers differ"), ("mark", "float mark"), ("name", "name"), ("graph", "nothing")]
)
def test_a_pass_that_breaks_its_promise_is_caught(how: str, word: str) -> None:
    with pytest.raises(BuildError, match=rf"PE-TRACE-030: the graph pass breaks broke the graph .*{word}"):
        run_passes(picture_model(), [Breaks(how)])


def test_nothing_to_do_gives_the_same_bytes() -> None:
    data = model([node("Relu", ["x"], ["y"])], {})
    assert run_passes(data, [RemoveIdleNodes()])[0] is data


def test_a_graph_with_branches_is_left_alone() -> None:
    branch = helper.make_graph(
        [node("Abs", ["a"], ["z"], name="b/Abs")],
        "b",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, SHAPE)],
    )
    nodes = [
        node("Identity", ["x"], ["a"]),
        node("If", ["k"], ["y"], then_branch=branch, else_branch=branch),
    ]
    data = model(nodes, {"k": np.array(True)})
    assert run_passes(data, [RemoveIdleNodes()])[0] is data


@pytest.mark.parametrize("target", PASSES)
def test_every_target_has_its_list(target: str) -> None:
    spec = ModelSpec(
        name="t", task=Task.SEGMENTATION, classes=("background", "a"), frame=FrameSpec(height=96, width=96)
    )
    traced = graph_from_model(onnx.load_from_string(picture_model(96)), spec)
    after, report = apply_passes(traced, target)
    assert largest_deviation(traced.model, after.model) <= report.deviation
    assert set(after.module_of_node) == {n.name for n in onnx.load_from_string(after.model).graph.node}
    assert "output/Sigmoid" in after.float_nodes
    assert (report.changed.get("sigmoid_as_division", 0) == 1) == (target == "openvino")
    assert apply_passes(traced, target)[0].model == after.model


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("biased", [False, True])
def test_a_sum_of_two_convolutions_becomes_one(group: int, biased: bool) -> None:
    nodes = [
        node("Conv", ["x", "w3", *(["c"] if biased else [])], ["a"], pads=[1] * 4, group=group),
        node("Conv", ["x", "w5"], ["b"], pads=[2] * 4, group=group),
        node("Add", ["a", "b"], ["y"]),
    ]
    constants = {"w3": weights(4, 4 // group, 3, 3), "w5": weights(4, 4 // group, 5, 5), "c": weights(4)}
    kinds, report = run(
        SumConvolutions(), model(nodes, constants if biased else {k: constants[k] for k in ("w3", "w5")})
    )
    assert kinds == {"Conv": 1}
    assert report.changed == {"sum_convolutions": 1} and report.deviation < 1e-5


@pytest.mark.parametrize(
    "changes",
    [
        {"dilations": [2, 2], "pads": [2] * 4},  # as large a map, but not a kernel that fits into the other
        {"pads": [2, 0, 0, 2]},  # shifted against the other; the sum has one size all the same
        {"auto_pad": "SAME_UPPER"},
        {"of": "z"},  # of another value
    ],
)
def test_convolutions_that_do_not_lie_on_each_other_stay_two(changes: dict[str, object]) -> None:
    source = str(changes.pop("of", "x"))
    second = {"pads": [1] * 4, **changes} if "auto_pad" not in changes else changes
    nodes = [
        node("Relu", ["x"], ["z"]),
        node("Conv", ["x", "w3"], ["a"], pads=[1] * 4),
        node("Conv", [source, "v3"], ["b"], **second),
        node("Add", ["a", "b"], ["s"]),
        node("Add", ["s", "z"], ["y"]),
    ]
    data = model(nodes, {"w3": weights(4, 4, 3, 3), "v3": weights(4, 4, 3, 3)})
    assert run(SumConvolutions(), data)[1].changed == {"sum_convolutions": 0}


def test_a_convolution_that_is_used_elsewhere_stays() -> None:
    nodes = [
        node("Conv", ["x", "w3"], ["a"], pads=[1] * 4),
        node("Conv", ["x", "v3"], ["b"], pads=[1] * 4),
        node("Add", ["a", "b"], ["s"]),
        node("Mul", ["s", "a"], ["y"]),
    ]
    data = model(nodes, {"w3": weights(4, 4, 3, 3), "v3": weights(4, 4, 3, 3)})
    assert run(SumConvolutions(), data)[1].changed == {"sum_convolutions": 0}


def unshuffle(block: int, shape: tuple[int, ...]) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    batch, channels, height, width = shape
    rows, columns = height // block, width // block
    constants = {
        "six": np.array([batch, channels, rows, block, columns, block], np.int64),
        "four": np.array([batch, channels * block**2, rows, columns], np.int64),
    }
    nodes = [
        node("Reshape", ["x", "six"], ["r"]),
        node("Transpose", ["r"], ["t"], perm=[0, 1, 3, 5, 2, 4]),
        node("Reshape", ["t", "four"], ["f"]),
    ]
    return nodes, constants


@pytest.mark.parametrize("block", [2, 3])
def test_pixels_folded_into_channels_become_a_strided_convolution(block: int) -> None:
    shape = (1, 4, 6, 12)
    folding, constants = unshuffle(block, shape)
    constants |= {"w": weights(5, 4 * block**2, 1, 1), "c": weights(5)}
    for nodes in (folding, [node("SpaceToDepth", ["x"], ["f"], blocksize=block)]):
        used = {name: values for name, values in constants.items() if len(nodes) == 3 or name in ("w", "c")}
        data = model([*nodes, node("Conv", ["f", "w", "c"], ["y"])], used, shape)
        kinds, report = run(FoldPixelsIntoConvolution(), data)
        assert kinds == {"Conv": 1}
        assert report.deviation < 1e-5


def test_pixels_folded_for_another_reader_stay() -> None:
    shape = (1, 4, 6, 12)
    folding, constants = unshuffle(2, shape)
    constants |= {"w": weights(16, 16, 1, 1)}
    data = model([*folding, node("Conv", ["f", "w"], ["a"]), node("Add", ["a", "f"], ["y"])], constants, shape)
    assert run(FoldPixelsIntoConvolution(), data)[1].changed == {"fold_pixels_into_convolution": 0}


LARGE = (1, 8, 32, 32)
DIVISION = [
    node("Exp", ["a"], ["e"]),
    node("Add", ["e", "one"], ["t"]),
    node("Div", ["one", "t"], ["s"]),
]


@pytest.mark.parametrize(
    ("steps", "constants", "sign"),
    [
        ([node("Sigmoid", ["a"], ["s"])], {}, 1.0),
        (DIVISION, {"one": np.float32(1)}, -1.0),
    ],
)
def test_a_sigmoid_becomes_a_polynomial_near_it(
    steps: list[onnx.NodeProto], constants: dict[str, np.ndarray], sign: float
) -> None:
    nodes = [node("Mul", ["x", "k"], ["a"]), *steps, node("Identity", ["s"], ["y"])]
    data = model(nodes, {**constants, "k": np.float32(4)}, LARGE)
    after, report = run_passes(data, [SigmoidAsPolynomial()], most_deviation=1.0)
    kinds = Counter(one.op_type for one in onnx.load_from_string(after).graph.node)
    assert report.changed == {"sigmoid_as_polynomial": 1}
    assert not {"Sigmoid", "Exp", "Div"} & set(kinds)
    session = onnxruntime.InferenceSession(after, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=LARGE).astype(np.float32)
    expected = 1.0 / (1.0 + np.exp(-sign * 4.0 * x.astype(np.float64)))
    assert 1e-3 < np.abs(session.run(None, {"x": x})[0] - expected).max() < 0.0042


def test_the_polynomial_is_the_best_of_its_degree() -> None:
    from scipy.optimize import linprog

    points = np.linspace(0.0, LIMIT, 2000)
    powers = np.stack([points**power for power in (1, 3, 5, 7)], axis=1)
    truth = np.append(1.0 / (1.0 + np.exp(-points)) - 0.5, 0.5)  # beyond the limit: up to infinity
    powers = np.vstack([powers, powers[-1:]])
    bound = -np.ones((len(powers), 1))
    best = linprog(
        [0.0] * 4 + [1.0],
        A_ub=np.block([[powers, bound], [-powers, bound]]),
        b_ub=np.concatenate([truth, -truth]),
        bounds=[(None, None)] * 4 + [(0, None)],
    )
    np.testing.assert_allclose(COEFFICIENTS, best.x[:4], rtol=1e-3)
    assert best.x[4] == pytest.approx(0.00406, abs=1e-5)


def test_small_sigmoids_and_those_of_float_islands_stay_exact() -> None:
    def scaled(sigmoid: onnx.NodeProto, shape: tuple[int, ...]) -> bytes:
        return model([node("Mul", ["x", "k"], ["a"]), sigmoid], {"k": np.float32(4)}, shape)

    island = node("Sigmoid", ["a"], ["y"])
    mark_float(island)
    for data in (scaled(node("Sigmoid", ["a"], ["y"]), SHAPE), scaled(island, LARGE)):
        assert run_passes(data, [SigmoidAsPolynomial()])[1].changed == {"sigmoid_as_polynomial": 0}
    rewritten = run_passes(scaled(node("Sigmoid", ["a"], ["y"]), LARGE), [SigmoidAsPolynomial()], most_deviation=1.0)
    assert rewritten[1].changed == {"sigmoid_as_polynomial": 1}
