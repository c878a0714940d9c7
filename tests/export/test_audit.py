"""The audit counts operators, asks the readers that are installed, and names what they refuse with its module."""

from __future__ import annotations

import importlib.util
import sys

import onnx
import pytest
from onnx import TensorProto, helper

from physedge_export.audit import audit
from physedge_runtime.errors import BuildError, UsageError

TARGETS = [
    pytest.param(
        target,
        marks=pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed"),
    )
    for target, package in (
        ("onnxruntime", "onnxruntime"),
        ("openvino", "openvino"),
        ("tensorrt", "tensorrt_rtx_bindings"),
    )
]


def model(operator: str, *, domain: str = "", shape: tuple[int, ...] = (1, 4, 4)) -> bytes:
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], name="input/Cast", to=TensorProto.FLOAT),
        helper.make_node(operator, ["a"], ["b"], name=f"flow.step/{operator}", domain=domain),
        helper.make_node("Relu", ["b"], ["c"], name="flow/Relu"),
        helper.make_node("Relu", ["c"], ["y"], name="flow/Relu_2"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


@pytest.mark.parametrize("target", TARGETS)
def test_a_graph_that_is_taken_passes(target: str) -> None:
    report = audit(model("Tanh"), target).require()
    assert report.asked_the_reader and report.passed
    assert report.operators == {"Relu": 2, "Cast": 1, "Tanh": 1}


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_refused_is_named_with_its_module(target: str) -> None:
    report = audit(model("Swirl", domain="com.acme"), target)
    assert [(found.node, found.module) for found in report.unsupported] == [("flow.step/Swirl", "flow.step")]
    with pytest.raises(BuildError, match=r"PE-AUDIT-001.*Swirl in module 'flow\.step'"):
        report.require()


def test_openvino_names_an_operator_that_it_cannot_convert() -> None:
    pytest.importorskip("openvino")
    (found,) = audit(model("Det"), "openvino").unsupported
    assert (found.operator, found.module) == ("Det", "flow.step")
    assert found.advice == "write the determinant out for the fixed size"


def test_tensorrt_falls_back_to_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", None)
    report = audit(model("Det"), "tensorrt")
    assert not report.asked_the_reader and "list" in report.checked_by
    assert [found.node for found in report.unsupported] == ["flow.step/Det"]
    assert audit(model("Tanh"), "tensorrt").passed


def test_the_list_agrees_with_the_parser() -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    from physedge_export.audit import _TENSORRT_REFUSES

    for operator in ("Det", "DynamicQuantizeLinear", "BitwiseNot"):
        assert operator in _TENSORRT_REFUSES
        assert not audit(model(operator), "tensorrt").passed


def test_tensorrt_refuses_a_raw_picture_that_anything_but_a_cast_touches() -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    given = onnx.load_from_string(model("Tanh"))
    given.graph.node[0].CopyFrom(helper.make_node("Transpose", ["x"], ["t"], name="input/Transpose", perm=[0, 2, 1]))
    given.graph.node.insert(1, helper.make_node("Cast", ["t"], ["a"], name="input/Cast", to=TensorProto.FLOAT))
    (found,) = audit(given.SerializeToString(), "tensorrt").unsupported
    assert found.node == "input/Transpose" and "UInt8" in found.reason


def test_a_target_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    report = audit(model("Tanh"), "openvino")
    assert not report.asked_the_reader and "not installed" in report.checked_by


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(UsageError, match="PE-AUDIT-002"):
        audit(model("Tanh"), "abacus")
