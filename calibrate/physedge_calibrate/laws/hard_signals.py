"""Signals whose `void_above` says that an answer is no answer: where full precision stays below, so must what ships."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.laws.law import LawCheck
from physedge_runtime.spec import SignalSpec

Signals = Mapping[str, NDArray[np.float64]]


def check_hard_signals(
    reference: Signals, candidate: Signals, limits: Mapping[str, SignalSpec]
) -> tuple[tuple[LawCheck, ...], tuple[str, ...]]:
    """A check for each signal with a hard limit, and remarks.

    A sample on which full precision itself is void says nothing about a precision: it is left out, and told.

    Args:
        reference: Signals (sample,) of full precision by name.
        candidate: Those of what ships, of the same samples.
        limits: What the network declares of its signals.
    """
    checks, remarks = [], []
    for name, spec in limits.items():
        if spec.void_above is None or name not in candidate or name not in reference:
            continue
        usable = reference[name] <= spec.void_above
        if not usable.all():
            remarks.append(
                f"full precision itself is void in {int((~usable).sum())} of {len(usable)} samples: "
                f"{spec.reason or name}"
            )
        if not usable.any():
            continue
        values = candidate[name][usable]
        worst = float(values.max()) if not np.isnan(values).any() else float("nan")
        checks.append(
            LawCheck(
                title=f"signal {name} ({spec.reason})" if spec.reason else f"signal {name}",
                measured=max(0.0, worst) if worst == worst else worst,
                allowed=spec.void_above,
                cases=len(values),
            )
        )
    return tuple(checks), tuple(remarks)
