"""From the network that was trained to the network that is deployed: the same function, fewer operators."""

from __future__ import annotations

import copy

import torch
from torch import nn

from physedge.models.blocks.fold import Foldable


def reparameterise(module: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode, with the same answers, in which everything constant is folded.

    Batch normalisations vanish into the convolutions before them (a sum of convolutions becomes one first), parallel
    kernels become one, kernels computed from angles or by rotation become constants, and scalar factors move into the
    nearest convolution. Answers agree to rounding. The copy's weights are not learned; the argument is not changed.
    """
    with torch.no_grad():
        deployed = _folded(copy.deepcopy(module).eval())
    return deployed.eval().requires_grad_(False)


def _folded(module: nn.Module) -> nn.Module:
    while isinstance(module, Foldable):
        module = module.folded()
    for name, child in list(module.named_children()):
        setattr(module, name, _folded(child))
    return module
