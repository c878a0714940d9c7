"""What the graphs keep about their nodes while they travel: which module a node came from, and which must stay float.

Both live in the node itself, so that a pass that fuses two nodes carries them on and cannot lose them silently. A
node is named `module.path/Operator`, and a node of a float island has the property `physedge.float`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from physedge_runtime.graph_check import FLOAT_MARK

if TYPE_CHECKING:
    import onnx

FLOAT_KEY = FLOAT_MARK
"""Node property: present on every node that must be computed in floating point, whatever the precision around it."""


def float_nodes(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the nodes that must stay in floating point."""
    return frozenset(node.name for node in model.graph.node if is_float(node))


def is_float(node: onnx.NodeProto) -> bool:
    """Whether a node must stay in floating point."""
    return any(item.key == FLOAT_KEY for item in node.metadata_props)


def mark_float(node: onnx.NodeProto) -> None:
    """Keep a node in floating point."""
    if not is_float(node):
        node.metadata_props.add(key=FLOAT_KEY, value="1")


def module_of(node_name: str) -> str:
    """Path of the module that a node came from; empty where it is not known."""
    return node_name.rpartition("/")[0]


def unique_name(wanted: str, taken: set[str]) -> str:
    """`wanted`, or `wanted_2`, `wanted_3` ... where that is taken; the answer is taken from then on."""
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    taken.add(name)
    return name


def name_nodes(nodes: Iterable[onnx.NodeProto], modules: Iterable[str]) -> None:
    """Give every node the name `module.path/Operator`, in the graph's order, each name once."""
    taken: set[str] = set()
    for node, module in zip(nodes, modules, strict=True):
        node.name = unique_name(f"{module or 'graph'}/{node.op_type}", taken)
