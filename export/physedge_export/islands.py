"""Float islands: which nodes of a graph came from modules that must be computed in floating point."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from physedge_export.marks import mark_float, name_nodes
from physedge_export.shipped import INPUT_SCOPE, NETWORK_SCOPE, OUTPUT_SCOPE
from physedge_runtime.errors import BuildError
from physedge_runtime.spec import ModelSpec

if TYPE_CHECKING:
    import onnx
    from torch import nn

_HIERARCHY = "pkg.torch.onnx.class_hierarchy"
_SCOPES = "pkg.torch.onnx.name_scopes"


def class_path(kind: type) -> str:
    """`package.module.Class`, as the exporter writes it."""
    return f"{kind.__module__}.{kind.__qualname__}"


def float_classes(network: nn.Module, spec: ModelSpec) -> frozenset[str]:
    """Classes of the network's modules that must stay float: those that say so, and those that the declaration names.

    Raises:
        BuildError: The declaration names a class that no module has (`PE-TRACE-007`).
    """
    kinds = {type(module) for module in network.modules()}
    by_path = {class_path(kind): kind for kind in kinds}
    for wanted in spec.float_modules:
        if wanted not in by_path:
            near = sorted(path for path in by_path if path.rpartition(".")[2] == wanted.rpartition(".")[2])
            raise BuildError(
                "PE-TRACE-007",
                found=f"float_modules names {wanted}, and no module of the network is one",
                expected=f"one of its classes{', for example ' + near[0] if near else ''}",
                next_step="correct float_modules in the specification: package.module.Class",
            )
    own_word = {path for path, kind in by_path.items() if getattr(kind, "keep_float", False) is True}
    return frozenset(own_word | set(spec.float_modules))


def mark_islands(model: onnx.ModelProto, classes: frozenset[str]) -> None:
    """Name every node by its module, and mark the nodes of float islands.

    What lies around the network (scaling of the picture, sigmoid or softmax) is an island too.
    """
    modules: list[str] = []
    for node in model.graph.node:
        told = {item.key: item.value for item in node.metadata_props}
        scopes = _text_list(told.get(_SCOPES, "[]"))
        # The last scope is the operation itself, the first the whole; between them the deepest module.
        path = scopes[-2] if len(scopes) > 2 else ""
        inside = path.split(".")[0] == NETWORK_SCOPE
        if path.split(".")[0] in (INPUT_SCOPE, OUTPUT_SCOPE) or (
            inside and classes.intersection(_text_list(told.get(_HIERARCHY, "[]")))
        ):
            mark_float(node)
        modules.append((path.removeprefix(NETWORK_SCOPE).removeprefix(".") or NETWORK_SCOPE) if inside else path)
    name_nodes(model.graph.node, modules)


def _text_list(text: str) -> list[str]:
    value = ast.literal_eval(text)
    return [str(part) for part in value] if isinstance(value, list) else []
