"""Looking around in a graph that is being rewritten: who makes a value, who uses it, what it is if it is constant."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge_export.marks import is_float, mark_float, unique_name

if TYPE_CHECKING:
    import onnx


class GraphView:
    """An index over a graph, kept true while nodes are replaced through it.

    Attributes:
        graph: The graph, changed in place.
        maker: Value to the node that makes it.
        users: Value to the nodes that take it in.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.weights = {tensor.name: tensor for tensor in self.graph.initializer}
        self.promised = {value.name for value in self.graph.output}
        self._names = {node.name for node in self.graph.node}
        self._values = {value for node in self.graph.node for value in (*node.input, *node.output)} | set(self.weights)
        self.maker: dict[str, onnx.NodeProto] = {}
        self.users: dict[str, list[onnx.NodeProto]] = {}
        self._index()

    def _index(self) -> None:
        self.maker = {value: node for node in self.graph.node for value in node.output}
        self.users = {}
        for node in self.graph.node:
            for value in node.input:
                self.users.setdefault(value, []).append(node)

    def constant(self, value: str) -> NDArray[Any] | None:
        """The array of a weight; None for anything that is computed."""
        import onnx

        tensor = self.weights.get(value)
        return None if tensor is None else np.asarray(onnx.numpy_helper.to_array(tensor))

    def only_user(self, value: str) -> onnx.NodeProto | None:
        """The one node that takes a value in, where there is one and the graph does not promise the value."""
        users = self.users.get(value, [])
        return users[0] if len(users) == 1 and value not in self.promised else None

    def add_weight(self, wanted: str, values: NDArray[Any]) -> str:
        """Add a constant and give its name."""
        import onnx

        name = unique_name(wanted, self._values)
        tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(values), name)
        self.graph.initializer.append(tensor)
        self.weights[name] = tensor
        return name

    def new_value(self, wanted: str) -> str:
        """A name that no value has."""
        return unique_name(wanted, self._values)

    def new_node(self, operator: str, inputs: list[str], output: str, *, like: onnx.NodeProto) -> onnx.NodeProto:
        """A node of the same module and the same float mark as `like`; it is not in the graph yet."""
        import onnx

        name = unique_name(f"{like.name.rpartition('/')[0] or 'graph'}/{operator}", self._names)
        node = onnx.helper.make_node(operator, inputs, [output], name=name)
        if is_float(like):
            mark_float(node)
        return node

    def replace(self, node: onnx.NodeProto, new: Iterable[onnx.NodeProto]) -> None:
        """Put nodes into the place of one."""
        index = next(i for i, present in enumerate(self.graph.node) if present.name == node.name)
        del self.graph.node[index]
        for offset, added in enumerate(new):
            self.graph.node.insert(index + offset, added)
        self._index()

    def rewrite(self, rule: Callable[[onnx.NodeProto], bool]) -> int:
        """Try a rule on every node until it applies nowhere, and count where it did.

        The walk starts anew after each success: a rule may have taken out the nodes that lay ahead.
        """
        changed = 0
        while any(rule(node) for node in list(self.graph.node)):
            changed += 1
        return changed

    def bypass(self, node: onnx.NodeProto, source: str) -> bool:
        """Take a node out: whoever took its output in takes `source` in. False where the graph promises the output."""
        (output,) = node.output
        if output in self.promised:
            return False
        for user in self.users.get(output, []):
            for index, value in enumerate(user.input):
                if value == output:
                    user.input[index] = source
        self.replace(node, [])
        return True


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """The value of an attribute, or its default."""
    import onnx

    for item in node.attribute:
        if item.name == name:
            return onnx.helper.get_attribute_value(item)
    return default
