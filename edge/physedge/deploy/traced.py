"""The tracing station: a network as a graph that ships, rewritten for its target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physedge.deploy.network import Network

if TYPE_CHECKING:
    from torch import nn

    from physedge_export.graph import TracedGraph
    from physedge_export.passes.base import PassReport


def trace_network(network: Network, module: nn.Module | None, target: str) -> tuple[TracedGraph, PassReport]:
    """The graph, and what the passes of the target rewrote.

    Args:
        network: The network.
        module: Built from it; None where it comes as ONNX.
        target: A name of `physedge_export.targets.TARGETS`.

    Raises:
        BuildError: It cannot be traced, or is no graph that ships.
    """
    from physedge_export.brought import graph_from_onnx
    from physedge_export.passes.table import apply_passes
    from physedge_export.trace import trace

    if module is None:
        assert network.onnx is not None
        traced = graph_from_onnx(network.onnx, network.spec)
    else:
        traced = trace(module, network.spec)
    return apply_passes(traced, target)
