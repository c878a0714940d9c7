"""From a torch module to the graph that ships.

    module + spec  ->  torch.export  ->  ONNX  ->  nodes named, float islands marked  ->  stripped  ->  checked

The same module and specification give the same bytes, in every process.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from physedge_export.graph import Progress, TracedGraph, graph_from_model, silent
from physedge_export.islands import float_classes, mark_islands
from physedge_export.quiet import strict_tracing
from physedge_export.scrub import strip
from physedge_export.shipped import example_input, input_name, main_output, shipped_module
from physedge_runtime.errors import BuildError, missing_extra
from physedge_runtime.spec import ModelSpec

if TYPE_CHECKING:
    import onnx
    import torch
    from torch import nn

DEFAULT_OPSET = 18
"""The oldest that the exporter writes without converting down: what reads it is the widest set of engines."""


def trace(
    module: nn.Module,
    spec: ModelSpec,
    *,
    opset: int = DEFAULT_OPSET,
    half: bool = False,
    batch: int | None = 1,
    progress: Progress | None = None,
) -> TracedGraph:
    """Trace a network into the graph that ships.

    Args:
        module: Takes float32 (batch, channel, height, width), normalised, or float32 (batch, voltage), on the CPU;
            gives logits or an image as a tensor, or named tensors (`logits` or `image` among them).
        spec: Its declaration.
        opset: ONNX operator set, 18 or newer.
        half: Weights and values in float16, but for the float islands, the input and the answers.
        batch: The batch axis; free where None.
        progress: Told what is done next.

    Raises:
        EnvironmentFault: torch or onnx is not installed (`PE-ENV-001`).
        BuildError: A weight is not finite (`PE-TRACE-001`), the network cannot be traced (`PE-TRACE-002`), the tracer
            warned (`PE-TRACE-003`), the answer has another form (`PE-TRACE-004`) or shape (`PE-TRACE-005`) than
            declared, the graph is random or changes itself (`PE-TRACE-006`), a declared float module is not there
            (`PE-TRACE-007`), the checker refuses the graph (`PE-TRACE-008`), or a weight leaves the range of float16
            (`PE-TRACE-010`).
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
        import torch
    except ImportError as error:
        raise missing_extra(error.name or "torch", "export") from error
    say = progress or silent
    was_training = module.training
    check_weights(module)
    classes = float_classes(module, spec)
    try:
        say("tracing the network")
        names: list[str] = []
        program = _export_program(shipped_module(module, spec, names), spec, batch)
        say("writing the graph")
        model = _onnx_from_program(program, spec, names, opset)
    finally:
        module.train(was_training)
    mark_islands(model, classes)
    strip(model, name=spec.name)
    if half:
        from physedge_export.half import half_model

        say("converting to half precision")
        model = half_model(model)
    return graph_from_model(model, spec, batch=batch, torch_version=torch.__version__)


def check_weights(module: nn.Module) -> None:
    """Refuse a network with a weight that is no number.

    Raises:
        BuildError: PE-TRACE-001, with the parameter's name.
    """
    for name, values in itertools.chain(module.named_parameters(), module.named_buffers()):
        if values.is_floating_point() and not bool(values.isfinite().all()):
            bad = int((~values.isfinite()).sum())
            raise BuildError(
                "PE-TRACE-001",
                found=f"{bad} of {values.numel()} values of the weight {name} are NaN or infinite",
                expected="finite weights",
                next_step="export an earlier checkpoint, and train with a lower learning rate",
            )


def _export_program(shipped: nn.Module, spec: ModelSpec, batch: int | None) -> torch.export.ExportedProgram:
    import torch

    # A free axis needs an example of at least two: one is taken for a constant.
    example = example_input(spec, batch or 2)
    axis: Any = ({0: torch.export.Dim("batch", min=1, max=1024)},) if batch is None else None
    with strict_tracing():
        try:
            with torch.no_grad():
                program = torch.export.export(shipped, (example,), dynamic_shapes=axis, strict=False)
        except BuildError:
            raise
        except Exception as error:
            raise _cannot_trace(error) from error
    changed = changed_buffers(program)
    if changed:
        raise BuildError(
            "PE-TRACE-006",
            found=f"the network changes its own buffer {changed[0]} while it answers",
            expected="a network without memory between frames",
            next_step="hand the state in and out as tensors, or do not update it in evaluation mode",
        )
    return program


def changed_buffers(program: torch.export.ExportedProgram) -> list[str]:
    """Names of the buffers that a traced network writes into, itself or through a view."""
    signature = program.graph_signature
    owned = {**signature.inputs_to_buffers, **signature.inputs_to_parameters}
    changed = set(signature.buffers_to_mutate.values())
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None or not schema.is_mutable:
            continue
        written = [value for value, told in zip(node.args, schema.arguments, strict=False) if told.is_write]
        changed |= {owned[root] for root in map(_viewed, written) if root in owned}
    return sorted(changed)


def _viewed(node: Any) -> str:
    """Name of the node whose memory this one shows."""
    while schema := getattr(getattr(node, "target", None), "_schema", None):
        if not any(told.alias_info and not told.is_write for told in schema.returns):
            break
        node = node.args[0]
    return str(node)


def _onnx_from_program(
    program: torch.export.ExportedProgram, spec: ModelSpec, output_names: list[str], opset: int
) -> onnx.ModelProto:
    import torch

    names = [name for name in output_names if name]
    with strict_tracing():
        try:
            written = torch.onnx.export(
                program,
                (),
                input_names=[input_name(spec)],
                output_names=names,
                opset_version=opset,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except Exception as error:
            raise _cannot_trace(error) from error
    assert written is not None and names[0] == main_output(spec)
    return written.model_proto


def _cannot_trace(error: Exception) -> BuildError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return BuildError(
        "PE-TRACE-002",
        found=f"the network cannot be traced ({type(error).__name__}: {(lines or ['no message'])[0][:300]})",
        expected="a network whose operations do not depend on the values of its tensors",
        next_step="rewrite branches and loops that depend on a tensor's content as tensor operations; -v shows where",
    )
