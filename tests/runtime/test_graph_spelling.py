"""A graph has one spelling: what a reader would skip, merge or read otherwise is refused; what is taken is whole."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any

import onnx
import pytest
from graph_edits import graph_edits
from graph_exhibits import OTHER_NODES, SPELLINGS, with_node
from hypothesis import given, settings
from tiny_network import tiny_graph

from physedge_runtime.errors import IntegrityError
from physedge_runtime.graph_check import OPERATORS, check_graph
from physedge_runtime.graph_nodes import schemas


def told(graph: bytes) -> str:
    """The identifier of the refusal, or `taken`."""
    try:
        check_graph(graph, origin="x")
    except IntegrityError as error:
        return error.identifier
    return "taken"


@pytest.mark.requirement("REQ-BUNDLE-DISTRUST")
@pytest.mark.parametrize("name", SPELLINGS)
def test_another_spelling_is_refused(name: str) -> None:
    make, identifier = SPELLINGS[name]
    graph = make()
    started_s = time.process_time()
    assert told(graph) == identifier
    assert time.process_time() - started_s < 10  # the bound that docs/security.md states, wide of any machine's noise


@pytest.mark.requirement("REQ-BUNDLE-MUTATIONS")
@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(graph=graph_edits(tiny_graph()))
def test_what_is_taken_is_what_onnx_would_write(graph: bytes) -> None:
    """Nothing is skipped: ONNX's own library reads the same and writes the same bytes, without unknown fields."""
    if told(graph) != "taken":
        return
    model = onnx.load_from_string(graph)
    assert model.SerializeToString(deterministic=True) == graph
    model.DiscardUnknownFields()
    assert model.SerializeToString(deterministic=True) == graph
    assert not any(tensor.external_data or tensor.data_location for tensor in model.graph.initializer)


def test_operator_schemas_are_onnxs() -> None:
    """The table that is read on a device is what ONNX's own schemas say."""
    script = Path(__file__).parents[2] / "runtime/native/make_operator_schemas.py"
    found = importlib.util.spec_from_file_location("make_operator_schemas", script)
    assert found is not None
    assert found.loader is not None
    made = importlib.util.module_from_spec(found)
    found.loader.exec_module(made)
    assert made.TARGET.read_text("utf-8") == made.text(), "python runtime/native/make_operator_schemas.py"
    assert set(schemas()) == OPERATORS


@pytest.mark.requirement("REQ-BUNDLE-DISTRUST")
@pytest.mark.parametrize("name", OTHER_NODES)
def test_operators_have_what_the_standard_gives_them(name: str) -> None:
    make, identifier = OTHER_NODES[name]
    assert told(make()) == identifier


@pytest.mark.parametrize(
    "changes",
    [{}, {"strides": [1, 1]}, {"inputs": ["planes", "weight", ""]}, {"op_type": "Mish", "inputs": ["planes"]}],
)
def test_what_the_standard_allows_is_taken(changes: dict[str, Any]) -> None:
    assert told(with_node(**changes)()) == "taken"
