"""The module that is traced: a network between the raw picture and the answers that the bundle promises.

    frame uint8 (batch, height, width, channel)  ->  cast, scale, layout  ->  network  ->  sigmoid or softmax
    voltages float32 (batch, voltage)            ->                           network

All answers are float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import BuildError
from physedge_runtime.spec import ModelSpec, Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

INPUT_SCOPE, NETWORK_SCOPE, OUTPUT_SCOPE = "input", "network", "output"
LOGITS = "logits"


def input_name(spec: ModelSpec) -> str:
    """Name of the graph's input."""
    return "frame" if spec.frame is not None else "voltages"


def main_output(spec: ModelSpec) -> str:
    """Name of the output that every network of this task has."""
    return "image" if spec.task is Task.RECONSTRUCTION else "probability"


def scale_and_offset(spec: ModelSpec) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`pixel * scale + offset` is `(pixel / 255 - mean) / std`; both (1, channel or 1, 1, 1), float32."""
    mean = np.asarray(spec.normalise.mean, np.float64)
    std = np.asarray(spec.normalise.std, np.float64)
    scale = np.broadcast_to(1.0 / (255.0 * std), np.broadcast_shapes(mean.shape, std.shape))
    offset = np.broadcast_to(-mean / std, scale.shape)
    return tuple(values.astype(np.float32).reshape(1, -1, 1, 1) for values in (scale, offset))  # type: ignore[return-value]


def named_answers(answer: Any, spec: ModelSpec) -> dict[str, Tensor]:
    """What a network gave, by name.

    A tensor is the main answer (`logits`, or `image` for a reconstruction). A mapping, a named tuple or a data class of
    tensors gives each under its own name.

    Raises:
        BuildError: It is something else, or the main answer is missing (`PE-TRACE-004`).
    """
    import torch

    main = "image" if spec.task is Task.RECONSTRUCTION else LOGITS
    named: dict[str, Any]
    if isinstance(answer, torch.Tensor):
        named = {main: answer}
    elif isinstance(answer, Mapping):
        named = dict(answer)
    elif isinstance(answer, tuple) and (as_mapping := getattr(answer, "_asdict", None)):
        named = as_mapping()
    elif dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        named = {field.name: getattr(answer, field.name) for field in dataclasses.fields(answer)}
    else:
        raise _wrong_answer(f"a {type(answer).__name__}", main)
    strangers = [name for name, value in named.items() if not isinstance(value, torch.Tensor)]
    if main not in named or strangers or (main == LOGITS and main_output(spec) in named):
        kinds = ", ".join(f"{name}: {type(value).__name__}" for name, value in named.items())
        raise _wrong_answer(f"({kinds})", main)
    return {main: named.pop(main), **named}


def shipped_module(network: nn.Module, spec: ModelSpec, answer_names: list[str]) -> nn.Module:
    """The network with everything that the device must not do differently inside.

    Args:
        network: Takes float32 (batch, channel, height, width), or float32 (batch, voltage); gives logits or images.
        spec: Its declaration.
        answer_names: Emptied and filled with the names of the answers in their order, whenever the module is called.

    Returns:
        A module from the graph's input to a tuple of float32 tensors.
    """
    import torch
    from torch import nn

    scale, offset = (torch.from_numpy(values.copy()) for values in scale_and_offset(spec))

    class PictureInput(nn.Module):
        scale: Tensor
        offset: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", scale, persistent=False)
            self.register_buffer("offset", offset, persistent=False)

        def forward(self, frame: Tensor) -> Tensor:
            # The cast comes first: TensorRT takes uint8 pictures in, and nothing but a cast may touch them.
            return frame.to(torch.float32).permute(0, 3, 1, 2) * self.scale + self.offset

    class AnswerOutput(nn.Module):
        def forward(self, answer: Any) -> tuple[Tensor, ...]:
            named = named_answers(answer, spec)
            logits = named.pop(LOGITS, None)
            if logits is not None:
                logits = logits.to(torch.float32)
                planes = spec.output_channels
                named = {"probability": logits.sigmoid() if planes == 1 else logits.softmax(dim=1), **named}
            elif named["image"].dim() == 4 and named["image"].shape[1] == 1:
                named["image"] = named["image"].squeeze(1)
            answer_names[:] = named
            return tuple(value.to(torch.float32) for value in named.values())

    class Shipped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.input = PictureInput() if spec.frame is not None else nn.Identity()
            self.network = network
            self.output = AnswerOutput()

        def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
            return self.output(self.network(self.input(inputs)))  # type: ignore[no-any-return]

    return Shipped().eval()


def example_input(spec: ModelSpec, batch: int) -> torch.Tensor:
    """An input of the right shape and type: a grey ramp, or zero volts."""
    import torch

    shape = (batch, *spec.input_shape)
    if spec.frame is None:
        return torch.zeros(shape, dtype=torch.float32)
    ramp = torch.arange(shape[2], dtype=torch.int64) % 256
    return ramp.to(torch.uint8).reshape(1, 1, -1, 1).expand(shape).contiguous()


def check_shape(shape: tuple[int, ...], spec: ModelSpec, batch: int, *, origin: str = "the network") -> None:
    """Refuse a main answer of another shape than the declaration promises.

    Args:
        shape: Of `probability` or `image`, with the batch axis.
        spec: The declaration.
        batch: What the batch axis must be.
        origin: Who answered, for the message.

    Raises:
        BuildError: PE-TRACE-005.
    """
    planes = spec.output_channels
    if spec.task is Task.RECONSTRUCTION:
        fits, expected = len(shape) == 3 and shape[0] == batch, f"({batch}, height, width)"
    elif spec.task is Task.CLASSIFICATION:
        fits, expected = shape == (batch, planes), f"({batch}, {planes}) for the classes {', '.join(spec.classes)}"
    else:
        grid = spec.input_shape[:2] if spec.frame is not None else shape[2:]
        wanted = (batch, planes, *grid)
        fits = shape == wanted
        expected = f"{wanted}: {planes} plane(s) for the classes {', '.join(spec.classes)}, on the grid of the frame"
    if not fits:
        raise BuildError(
            "PE-TRACE-005",
            found=f"{origin} answers with shape {shape}",
            expected=expected,
            next_step="correct classes or [frame] in the specification, or the network's last layer",
        )


def _wrong_answer(found: str, main: str) -> BuildError:
    return BuildError(
        "PE-TRACE-004",
        found=f"the network answers with {found}",
        expected=f"a tensor, or named tensors with {main!r} among them (and none called 'probability')",
        next_step=f"return {{'{main}': ...}} from forward, every value a tensor",
    )
