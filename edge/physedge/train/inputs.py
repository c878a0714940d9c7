"""From raw numbers to a network's input and back, as export writes it into the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physedge_runtime.spec import ModelSpec


class Normaliser:
    """(pixel - mean) / std on pictures (batch, channel, height, width) from 0 to 1, in channels_last.

    Export puts the same into the graph.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._mean = torch.tensor(spec.normalise.mean).view(1, -1, 1, 1)
        self._std = torch.tensor(spec.normalise.std).view(1, -1, 1, 1)

    def __call__(self, pictures: Tensor) -> Tensor:
        """The network's input."""
        device = pictures.device
        scaled = (pictures - self._mean.to(device)) / self._std.to(device)
        return scaled.contiguous(memory_format=torch.channels_last)


def planar(frames: Tensor) -> Tensor:
    """uint8 (batch, height, width, channel) as float32 (batch, channel, height, width), 0 to 1."""
    return frames.permute(0, 3, 1, 2).float() / 255.0


def probabilities(logits: Tensor) -> NDArray[np.float32]:
    """float32 (batch, plane, ...): a sigmoid of one plane, a softmax of several."""
    values = torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, dim=1)
    return np.asarray(values.detach().float().cpu().numpy(), np.float32)


def logits_of(answer: Any) -> Tensor:
    """The logits of a network that answers with a tensor, or with named tensors."""
    found = answer["logits"] if isinstance(answer, Mapping) else answer
    assert isinstance(found, Tensor)
    return found
