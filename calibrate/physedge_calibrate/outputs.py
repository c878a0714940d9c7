"""Outputs that no score should be trusted with: not finite, constant, the same for every frame, or empty."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

FOREGROUND_THRESHOLD = 0.5


class OutputFault(StrEnum):
    """What is wrong with a set of outputs."""

    NOT_FINITE = "not finite"
    CONSTANT = "constant"
    SAME = "same for every frame"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFinding:
    """One fault and a sentence about it.

    Attributes:
        fault: The kind.
        sample_count: Samples that show it.
        reason: A sentence without a full stop, with the numbers.
    """

    fault: OutputFault
    sample_count: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Look:
    finite: bool
    constant: bool
    empty: bool
    digest: bytes


def check_outputs(
    outputs: Iterable[NDArray[np.generic]],
    *,
    reference: Iterable[NDArray[np.generic]] | None = None,
    threshold: float | None = FOREGROUND_THRESHOLD,
) -> tuple[OutputFinding, ...]:
    """The faults of a candidate's outputs, before any score is computed; empty where there are none.

    Whether "nothing found" is a fault depends on the frames, so it is judged over all of them together and,
    where the outputs of full precision are at hand, against those.

    Args:
        outputs: What the candidate answered for each frame: probabilities, images or masks of any shape.
        reference: What full precision answered for the same frames.
        threshold: A probability above it is foreground; None where "nothing found" is no answer that could be wrong.
    """
    looks = [_look(output, threshold) for output in outputs]
    known = None if reference is None else [_look(output, threshold) for output in reference]
    if known is not None and len(known) != len(looks):
        raise ValueError(f"expected {len(looks)} reference outputs, got {len(known)}")
    if not looks:
        return ()
    found = (_not_finite(looks), _constant(looks, known), _same(looks, known), _empty(looks, known))
    return tuple(finding for finding in found if finding is not None)


def _look(output: NDArray[np.generic], threshold: float | None) -> _Look:
    values = np.asarray(output)
    numbers = values.astype(values.dtype if values.dtype.kind == "f" else np.float64, copy=False)
    finite = bool(np.isfinite(numbers).all())
    return _Look(
        finite=finite,
        constant=finite and bool(numbers.min() == numbers.max()),
        empty=finite and threshold is not None and not bool(np.greater(numbers, threshold).any()),
        digest=hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).digest(),
    )


def _not_finite(looks: list[_Look]) -> OutputFinding | None:
    count = sum(not look.finite for look in looks)
    if count == 0:
        return None
    return OutputFinding(
        fault=OutputFault.NOT_FINITE,
        sample_count=count,
        reason=f"{count} of {len(looks)} outputs hold NaN or infinity",
    )


def _constant(looks: list[_Look], known: list[_Look] | None) -> OutputFinding | None:
    if not all(look.constant for look in looks) or (known is not None and all(k.constant for k in known)):
        return None
    return OutputFinding(
        fault=OutputFault.CONSTANT,
        sample_count=len(looks),
        reason=f"each of {len(looks)} outputs is constant: one value all over the frame",
    )


def _same(looks: list[_Look], known: list[_Look] | None) -> OutputFinding | None:
    one = len({look.digest for look in looks}) == 1
    if len(looks) < 2 or not one or (known is not None and len({k.digest for k in known}) == 1):
        return None
    return OutputFinding(
        fault=OutputFault.SAME,
        sample_count=len(looks),
        reason=f"all {len(looks)} frames got the same output, bit for bit",
    )


def _empty(looks: list[_Look], known: list[_Look] | None) -> OutputFinding | None:
    if not all(look.empty for look in looks):
        return None
    seen = None if known is None else sum(not look.empty for look in known)
    if seen == 0:
        return None
    against = "" if seen is None else f", while full precision finds something in {seen}"
    return OutputFinding(
        fault=OutputFault.EMPTY,
        sample_count=len(looks),
        reason=f"each of {len(looks)} outputs is empty{against}",
    )
