"""The networks with strict physics, as `package.module:factory` names them where a file must say which form is meant.

physedge export --model physedge.models.strict:pmrnet_e --weights best.safetensors --spec spec.toml
"""

from __future__ import annotations

from physedge.models import pmrnet as paper
from physedge.models import pmrnet_e as edge
from physedge.models import pmrnet_s as device


def pmrnet(*, classes: int = 1, channels: int = 3) -> paper.PMRNet:
    """Build `pmrnet` with every row of strict physics."""
    return paper.pmrnet(classes=classes, channels=channels, physics="strict")


def pmrnet_e(*, classes: int = 1, channels: int = 3) -> edge.PMRNetE:
    """Build `pmrnet_e` with the strict coupling."""
    return edge.pmrnet_e(classes=classes, channels=channels, physics="strict")


def pmrnet_s(*, classes: int = 1, channels: int = 3) -> device.PMRNetS:
    """Build `pmrnet_s`, whose physics is always strict."""
    return device.pmrnet_s(classes=classes, channels=channels)
