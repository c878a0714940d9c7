"""The built-in networks: a factory and a specification each, the same door as for a network of one's own."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Fit, FrameSpec, VoltageSpec
from physedge_runtime.growth import GrowthSpec
from physedge_runtime.spec import ModelSpec, Normalise, Task

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A network that can be named on the command line.

    Attributes:
        factory: `package.module:function`, as `--model` takes it; called with `classes` and `channels` of the
        specification, or with its `voltages`.
        spec: Its declaration before training: classes, frame and normalisation are overridden by `train`.
        summary: One line for people.
    """

    factory: str
    spec: ModelSpec
    summary: str

    def build(self, **options: Any) -> nn.Module:
        """The untrained network; options go to the factory, those that it does not offer are passed over.

        A network with one form of physics, or without heads for training, has nothing to choose there.
        """
        factory = load_factory(self.factory)
        offered = inspect.signature(factory).parameters
        return factory(**{name: value for name, value in options.items() if name in offered})


def _segmentation(name: str) -> ModelSpec:
    return ModelSpec(
        name=name,
        task=Task.SEGMENTATION,
        classes=("background", "lesion"),
        frame=FrameSpec(height=256, width=256),
        normalise=Normalise(mean=(0.5,), std=(0.25,)),
    )


def _tumour(name: str) -> ModelSpec:
    return ModelSpec(
        name=name,
        task=Task.CLASSIFICATION,
        intended_use=_TUMOUR_USE,
        classes=("glioma", "meningioma", "no_tumor", "pituitary"),
        frame=FrameSpec(height=224, width=224, fit=Fit.LETTERBOX),
        normalise=Normalise(mean=(0.2,), std=(0.2,)),
        growth=GrowthSpec(none_class="no_tumor"),
    )


def _impedance(name: str) -> ModelSpec:
    return ModelSpec(
        name=name,
        task=Task.RECONSTRUCTION,
        intended_use="Research on impedance tomography of tanks. Not a medical device.",
        voltages=VoltageSpec(count=208, electrodes=16, protocol="adjacent", reference=True),
        unit="ln(sigma / sigma_reference)",
    )


_TUMOUR_USE = (
    "Research on tumour growth models in classifiers. Not for diagnosis, triage or treatment planning; its density "
    "obeys a growth equation and is at best the place of what looks like a synthetic lesion, and D and rho are latent "
    "numbers, not measurements of a patient. Not a medical device."
)

REGISTRY: dict[str, ModelEntry] = {
    "eit_post": ModelEntry(
        factory="physedge.models.eit_post:eit_post",
        spec=_impedance("eit_post"),
        summary="impedance tomography, linear image mended by a small U-Net, 112,657 parameters",
    ),
    "eit_unrolled": ModelEntry(
        factory="physedge.models.eit_unrolled:eit_unrolled",
        spec=_impedance("eit_unrolled"),
        summary="impedance tomography, five unrolled steps with a learned prior, 69,465 parameters",
    ),
    "pmrnet": ModelEntry(
        factory="physedge.models.pmrnet:pmrnet",
        spec=_segmentation("pmrnet"),
        summary="segmentation, paper topology, 867,337 parameters",
    ),
    "pmrnet_e": ModelEntry(
        factory="physedge.models.pmrnet_e:pmrnet_e",
        spec=_segmentation("pmrnet_e"),
        summary="segmentation, edge form, 862,387 parameters, half the arithmetic",
    ),
    "pmrnet_s": ModelEntry(
        factory="physedge.models.pmrnet_s:pmrnet_s",
        spec=_segmentation("pmrnet_s"),
        summary="segmentation, device form, 745,811 parameters, strict physics on a quarter of the side",
    ),
    "physnet": ModelEntry(
        factory="physedge.models.physnet:physnet",
        spec=_tumour("physnet"),
        summary="classification with tumour growth inside, ResNet-18, 11,204,647 parameters",
    ),
    "physnet_34": ModelEntry(
        factory="physedge.models.physnet:physnet_34",
        spec=_tumour("physnet_34"),
        summary="classification with tumour growth inside, ResNet-34, 21,312,807 parameters",
    ),
    "physnet_50": ModelEntry(
        factory="physedge.models.physnet:physnet_50",
        spec=_tumour("physnet_50"),
        summary="classification with tumour growth inside, ResNet-50, 23,611,431 parameters",
    ),
    "physnet_e": ModelEntry(
        factory="physedge.models.physnet:physnet_e",
        spec=_tumour("physnet_e"),
        summary="classification with tumour growth inside, for small devices, 1,192,311 parameters",
    ),
}


def factory_options(spec: ModelSpec) -> dict[str, Any]:
    """What a factory is called with for a network of this declaration; what is not declared is not said."""
    if spec.voltages is not None:
        return {"voltages": spec.voltages}
    options: dict[str, Any] = {"classes": spec.output_channels}
    if spec.frame is not None:
        options["channels"] = spec.frame.colour.channels
    if spec.growth is not None:
        options["growth"] = spec.growth
        none_class = spec.growth.none_class
        options["none_label"] = spec.classes.index(none_class) if none_class else None
    return options


def find(name: str) -> ModelEntry:
    """The built-in network of this name.

    Raises:
        UsageError: There is none (`PE-NETWORK-001`).
    """
    try:
        return REGISTRY[name]
    except KeyError:
        raise UsageError(
            "PE-NETWORK-001",
            found=f"the network {name!r}",
            expected=f"one of {', '.join(sorted(REGISTRY))}, or package.module:factory",
            next_step="name a built-in network or give --model, --weights and --spec",
        ) from None


def load_factory(path: str) -> Callable[..., nn.Module]:
    """The function behind `package.module:function`.

    Raises:
        UsageError: The path has another form, or names nothing that can be called (`PE-NETWORK-002`).
    """
    module_name, _, attribute = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            "PE-NETWORK-002",
            found=f"{path!r} cannot be imported ({error})",
            expected="package.module:factory, importable from here",
            next_step="check the name and PYTHONPATH",
        ) from error
    if not callable(factory):
        raise UsageError(
            "PE-NETWORK-002",
            found=f"{path!r} is a {type(factory).__name__}",
            expected="a function that returns a torch module",
            next_step="name the function",
        )
    return factory  # type: ignore[no-any-return]
