"""Sizes through a graph: those that ONNX's own examples give, and nothing that grows beyond the limits."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from graph_exhibits import GROWING
from onnx import helper, numpy_helper

from physedge_export.canonical import canonical
from physedge_runtime.errors import IntegrityError
from physedge_runtime.graph_check import OLDEST_OPSET, OPERATORS, check_graph
from physedge_runtime.graph_size_rules import RULES
from physedge_runtime.graph_sizes import MOST_NUMBERS, Sizes, numbers_of
from physedge_runtime.graph_wire import NotAllowed, read_model

# What cannot be told is refused: sizes that other values decide, and forms that no network here has.
NOT_TOLD = {"BatchNormalization", "LayerNormalization", "Resize", "LSTM", "GRU", "RNN", "Einsum"}


@cache
def examples() -> list[Any]:
    """One-node models of ONNX's conformance tests, with their data."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():  # casts beyond the range of their type are among them
        warnings.simplefilter("ignore")
        cases = collect_testcases("")
    return [
        case
        for case in cases
        if case.model is not None
        and len(case.model.graph.node) == 1
        and case.model.graph.node[0].op_type in OPERATORS
        and case.model.graph.node[0].domain == ""
        and case.model.opset_import[0].version >= OLDEST_OPSET
    ]


def with_constants(model: onnx.ModelProto, inputs: Sequence[np.ndarray]) -> bytes:
    """The model with its small inputs beyond the first as constants, and true shapes at the others."""
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    graph = changed.graph
    names = [value.name for value in graph.input]
    del graph.input[:], graph.value_info[:]
    for place, (name, values) in enumerate(zip(names, inputs, strict=True)):
        is_size = place > 0 or graph.node[0].op_type == "ConstantOfShape"
        if is_size and values.size <= MOST_NUMBERS:
            graph.initializer.append(numpy_helper.from_array(values, name))
        else:
            kind = helper.np_dtype_to_tensor_dtype(values.dtype)
            graph.input.append(helper.make_tensor_value_info(name, kind, values.shape))
    return canonical(changed.SerializeToString())


def shapes_of(data: bytes) -> dict[str, tuple[int, ...]]:
    """Every size in a graph, as the walk has it."""
    model = read_model(data)
    graph, opset = model["graph"], model["opset_import"][0]["version"]
    sizes = Sizes(graph["node"], [value["name"] for value in graph["output"]], opset)
    for tensor in graph["initializer"]:
        sizes.constant(tensor["name"], tuple(tensor["dims"]), numbers_of(tensor))
    for value in graph["input"]:
        dims = value["type"]["tensor_type"]["shape"]["dim"]
        sizes.value(value["name"], tuple(axis["dim_value"] for axis in dims), "an input")
    for index, node in enumerate(graph["node"]):
        sizes.node(index, node)
    sizes.end()
    return dict(sizes._shapes)


def test_every_operator_has_a_rule() -> None:
    assert set(RULES) | {"Constant"} == OPERATORS


def test_sizes_are_those_of_onnxs_examples() -> None:
    told, refused = Counter[str](), Counter[str]()
    for case in examples():
        node = case.model.graph.node[0]
        for inputs, outputs in case.data_sets:
            if not all(isinstance(values, np.ndarray) for values in (*inputs, *outputs)):
                continue
            if any(values.dtype.kind not in "fiub" for values in (*inputs, *outputs)):
                continue
            try:
                found = shapes_of(with_constants(case.model, inputs))
            except NotAllowed:
                refused[node.op_type] += 1
                continue
            names = [value.name for value in case.model.graph.output]
            assert {name: found[name] for name in names} == {
                name: values.shape for name, values in zip(names, outputs, strict=True)
            }, case.name
            told[node.op_type] += 1
    assert set(refused) <= NOT_TOLD, refused
    assert len(told) > 100
    assert told.total() > 10 * refused.total()


@pytest.mark.requirement("REQ-BUNDLE-DISTRUST")
@pytest.mark.parametrize("name", GROWING)
def test_what_grows_is_refused_before_it_does(name: str) -> None:
    make, identifier = GROWING[name]
    try:
        check_graph(make(), origin="x")
    except IntegrityError as error:
        assert error.identifier == identifier, error
    else:
        assert identifier == "taken"
