"""The table of targets: a new one is one line here, and a file where it needs more."""

from __future__ import annotations

from dataclasses import dataclass

from physedge_runtime.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a graph is to run.

    Attributes:
        name: As after `--target`.
        engine: The engine that runs it, by its name in the runtime's table.
        precisions: That may ship for it, the fastest last.
        int8_entry: The INT8 graph that it takes.
    """

    name: str
    engine: str
    precisions: tuple[str, ...]
    int8_entry: str


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="onnxruntime",
            engine="onnxruntime",
            precisions=("fp32", "int8"),
            int8_entry="model.int8-cpu.onnx",
        ),
        Target(name="openvino", engine="openvino", precisions=("fp32", "int8"), int8_entry="model.int8-cpu.onnx"),
        Target(
            name="tensorrt",
            engine="tensorrt",
            precisions=("fp32", "fp16", "int8"),
            int8_entry="model.int8-gpu.onnx",
        ),
    )
}


def find_target(name: str) -> Target:
    """The line of the table.

    Raises:
        UsageError: No target has this name (`PE-TARGET-001`).
    """
    try:
        return TARGETS[name]
    except KeyError:
        raise UsageError(
            "PE-TARGET-001",
            found=f"the target {name!r}",
            expected=f"one of {', '.join(TARGETS)}",
            next_step="name one of these with --target",
        ) from None
