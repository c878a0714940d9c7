"""`--growth KEY=VALUE`: a tumour model other than the network's own."""

from __future__ import annotations

import tomllib

from pydantic import ValidationError

from physedge.train.options import TrainOptions
from physedge_runtime.errors import UsageError
from physedge_runtime.growth import GrowthSpec
from physedge_runtime.spec import ModelSpec

OFF = "off"


def growth_of(spec: ModelSpec, options: TrainOptions) -> GrowthSpec | None:
    """The tumour model that is meant: the network's own with what was said, on the grid of the asked picture.

    Args:
        spec: Of the built-in network.
        options: With the classes and the size of the picture.

    Raises:
        UsageError: The network has none, a word is no `KEY=VALUE`, or a value is out of range (`PE-TRAIN-009`).
    """
    own = spec.growth
    if own is None:
        if options.growth:
            raise _refused(f"a network without a tumour model, {options.model}", "leave --growth out")
        return None
    if options.growth == (OFF,):
        return None
    changes: dict[str, object] = {}
    for word in options.growth:
        key, separator, text = word.partition("=")
        if not separator or key not in GrowthSpec.model_fields:
            raise _refused(repr(word), f"write KEY=VALUE with one of {', '.join(GrowthSpec.model_fields)}, or off")
        changes[key] = _value(text)
    if options.height_px != options.width_px:
        raise _refused(
            f"a picture of {options.height_px}x{options.width_px} pixels", "give a square --size for a tumour model"
        )
    none_class = own.none_class if own.none_class in options.classes else ""
    usual = {"cells": options.height_px // 4, "none_class": none_class}
    try:
        return GrowthSpec.model_validate({**own.model_dump(), **usual, **changes})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "growth"
        raise _refused(f"{key}: {first['msg'].removeprefix('Value error, ')}", f"correct {key}") from error


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word


def _refused(found: str, next_step: str) -> UsageError:
    return UsageError(
        "PE-TRAIN-009",
        found=found,
        expected="a tumour model as [growth] in docs/spec.md describes it",
        next_step=next_step,
    )
