"""What every impedance network of physedge is: voltages in; image, linear image, spread and trust signals out.

volts (batch, 2, voltage) -> differences -> suspect electrode -> linear images without it -> refinement -> image
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from physedge.models.blocks.impedance import (
    NEVER,
    Doubts,
    ForwardOperator,
    InFloat,
    LinearImages,
    UnitSize,
    VoltageDifference,
)
from physedge.physics.eit.embed import STRENGTHS, EmbeddedPhysics, embed, protocol_of, rank_of
from physedge.physics.eit.pixels import IMAGE_PX
from physedge_runtime.errors import UsageError
from physedge_runtime.frame import VoltageSpec
from physedge_runtime.spec import SignalSpec

_ORDER_LIMIT = 0.5
"""Misfit of a reference to the homogeneous body: some per cent where it is one, about 1 for electrodes in disorder."""


class DiskOutput(nn.Module):
    """Adds the refinement to the linear image and clears what lies outside the disk."""

    keep_float: ClassVar[bool] = True

    def forward(self, linear: Tensor, change: Tensor, size: Tensor, mask: Tensor) -> Tensor:
        """(batch, 1, height, width); `change` is in units of `size`."""
        return (linear + change * size) * mask


class Refinement(nn.Module):
    """The learned part: from linear images and differences, both in units of the linear image's size, to an image."""

    def forward(self, linear: Tensor, difference: Tensor, operator: ForwardOperator, strength: Tensor) -> Tensor:
        """What is added to the first linear image, (batch, 1, height, width), in the same units.

        Args:
            linear: (batch, strength, height, width).
            difference: (batch, voltage).
            operator: The linearised body.
            strength: (batch, 1, 1, 1), from 0 for weak images to 1.
        """
        raise NotImplementedError


class ImpedanceNetwork(nn.Module):
    """A reconstruction with its physics inside.

    Args:
        voltages: Protocol and body; the network takes in reference and frame.
        refinement: The learned part.
    """

    deviation: Tensor

    def __init__(self, voltages: VoltageSpec, refinement: Refinement) -> None:
        super().__init__()
        if not voltages.reference:
            raise UsageError(
                "PE-MODEL-020",
                found="voltages without a reference frame",
                expected="reference = true in [voltages]: time differences need the body at rest",
                next_step="correct the specification",
            )
        protocol, rank = protocol_of(voltages), rank_of(voltages.count)
        self.voltages = voltages
        self.difference = VoltageDifference(voltages)
        self.unit_size = UnitSize()
        self.linear = LinearImages(voltages, side_px=IMAGE_PX, strengths=len(STRENGTHS), rank=rank)
        self.operator = ForwardOperator(voltages, side_px=IMAGE_PX, rank=rank)
        self.doubts = Doubts(voltages, protocol)
        self.refinement = refinement
        self.output = DiskOutput()
        self.blame, self.suspect = InFloat(self.doubts.blame), InFloat(self.doubts.suspect)
        self.residual, self.reciprocity = InFloat(self.doubts.residual), InFloat(self.doubts.reciprocity)
        self.order, self.spread = InFloat(self._misfit_of_reference), InFloat(self._spread)
        self.register_buffer("deviation", torch.zeros(IMAGE_PX, IMAGE_PX))

    def load_physics(self, physics: EmbeddedPhysics | None = None) -> None:
        """Fill in the body's physics; computed here where None, some seconds."""
        physics = physics or embed(self.voltages)
        for part in (self.difference, self.linear, self.operator, self.doubts):
            part.load(physics)
        self.deviation.copy_(torch.from_numpy(physics.deviation))

    def reconstruct(self, difference: Tensor, left_out: Tensor) -> tuple[Tensor, Tensor]:
        """Image and linear image, both (batch, 1, height, width), without the electrodes that are left out."""
        linear = self.linear(difference, left_out)
        scaled, size, strength = self.unit_size(linear, self.linear.mask)
        change = self.refinement(scaled, difference / size.flatten(1), self.operator, strength)
        return self.output(linear[:, :1], change, size, self.linear.mask), linear[:, :1]

    def forward(self, voltages: Tensor) -> dict[str, Tensor]:
        """Named answers of volts (batch, 2, voltage), the reference first.

        Returns:
            `image` and `linear_image` (batch, height, width), ln of conductivity over that of the reference;
            `deviation` of the same shape, a posterior standard deviation; `trust_...` signals.
        """
        difference = self.difference(voltages)
        blame = self.blame(difference)
        suspect = self.suspect(blame)
        image, linear = self.reconstruct(difference, suspect)
        residual = self.residual(difference, self.operator(image))
        signals = {
            "trust_electrode": blame,
            "trust_residual": residual,
            "trust_order": self.order(voltages),
        }
        if self.doubts.has_pairs:
            signals["trust_reciprocity"] = self.reciprocity(difference, self.difference.frame)
        spread = self.spread(residual)
        return {"image": image[:, 0], "linear_image": linear[:, 0], "deviation": spread, **signals}

    def _misfit_of_reference(self, voltages: Tensor) -> Tensor:
        return self.difference.misfit(voltages[:, 0])

    def _spread(self, residual: Tensor) -> Tensor:
        """The spread that the prior leaves, wider where the data fit worse than they should."""
        return self.deviation * residual.clamp(1.0, 100.0).unsqueeze(2)

    @property
    def trust_signals(self) -> Mapping[str, SignalSpec]:
        """What each signal means; limits are fitted at export, but for the order and for what leaves an electrode out.

        From the same limit on an electrode is left out of the image and the answer is called doubtful.
        """
        limit = float(self.doubts.limit)
        signals = {
            "electrode": SignalSpec(
                reason="its voltages do not fit the others, and the image is made without them",
                each="electrode",
                doubtful_above=limit if limit < NEVER else None,
            ),
            "residual": SignalSpec(reason="the image does not explain the voltages"),
            "order": SignalSpec(
                reason="the reference is not that of this body: electrodes in another order, or another protocol",
                void_above=_ORDER_LIMIT,
            ),
        }
        if self.doubts.has_pairs:
            signals["reciprocity"] = SignalSpec(reason="current and voltage electrodes do not change places")
        return signals
