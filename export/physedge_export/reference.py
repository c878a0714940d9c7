"""What a network answers in torch, computed apart from everything that tracing puts around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge_export.shipped import LOGITS, main_output, named_answers
from physedge_runtime.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn


def reference_outputs(module: nn.Module, spec: ModelSpec, inputs: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """What the network answers in torch to one input of the graph.

    Args:
        module: In evaluation mode.
        spec: Its declaration.
        inputs: uint8 (1, height, width, channel) or float32 (1, voltage).

    Returns:
        Output name to float32 array with the batch axis, the main one first.
    """
    return reference_answer(module, spec, inputs)[0]


def reference_answer(
    module: nn.Module, spec: ModelSpec, inputs: NDArray[Any]
) -> tuple[dict[str, NDArray[np.float32]], float]:
    """As `reference_outputs`, and the largest absolute logit behind the answer (0 for an image)."""
    import torch

    values: NDArray[np.float32] = inputs.astype(np.float32)
    if spec.frame is not None:
        scaled = (inputs.astype(np.float64) / 255.0 - spec.normalise.mean) / spec.normalise.std
        values = np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), np.float32)
    with torch.no_grad():
        named = named_answers(module(torch.from_numpy(values)), spec)
        logits = named.pop(LOGITS, None)
        largest_logit = 0.0
        if logits is not None:
            largest_logit = float(logits.abs().max())
            exact = logits.double()
            answer = torch.sigmoid(exact) if spec.output_channels == 1 else torch.softmax(exact, dim=1)
            named = {main_output(spec): answer, **named}
        elif named["image"].dim() == 4:
            named["image"] = named["image"][:, 0]
        return {name: value.to(torch.float32).numpy() for name, value in named.items()}, largest_logit
