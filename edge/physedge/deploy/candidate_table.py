"""The form of a bundle's table of candidates (`choosing.evidence` writes it), checked before a page is made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from physedge.deploy.choosing import ENTRY
from physedge_calibrate.metrics.table import METRICS
from physedge_runtime.bundle import Bundle
from physedge_runtime.errors import IntegrityError
from physedge_runtime.verdict import Verdict


class _Checked(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class _Figure(_Checked):
    value: float
    low: float
    high: float


class _Drop(_Checked):
    estimate: float
    low: float | None
    high: float | None


class _Stratum(_Checked):
    name: str
    sample_count: int
    reference_mean: float
    candidate_mean: float
    kept_fraction: float


class _Comparison(_Checked):
    kept_fraction: float
    allowed_drop: float
    drop: _Drop
    strata: list[_Stratum] = []


class _Loss(_Checked):
    title: str
    reference: float | None
    most: float | None
    drop: _Drop


class _Law(_Checked):
    title: str
    measured: float | None
    allowed: float
    unit: str
    cases: int
    where: str
    held: bool


class _Stages(_Checked):
    torch: float | None
    full_precision: float | None
    simulated: float | None
    target: float | None


class _Time(_Checked):
    cpu_median_ms: float
    cpu_median_error_ms: float
    speed_up: float


class _Candidate(_Checked):
    entry: str
    method: str
    reason: str
    int8_mac_share: float
    verdict: str
    measured: _Figure | None
    comparison: _Comparison | None
    set_losses: list[_Loss] | None = None
    laws: list[_Law] | None = None
    stages: _Stages
    time: _Time | None

    @field_validator("verdict")
    @classmethod
    def _is_known(cls, verdict: str) -> str:
        return str(Verdict(verdict))


class _Load(_Checked):
    load_1min: float


class _Bench(_Checked):
    rounds: int
    before: _Load


class _Sample(_Checked):
    name: str
    group: str
    stratum: str
    reference: float
    scores: dict[str, float]


class _Table(_Checked):
    engine: str
    device: str
    metric: str
    higher_is_better: bool
    tolerance: str
    kept_fraction: float
    bench: _Bench | None
    candidates: Annotated[list[_Candidate], Field(min_length=1)]
    not_made: list[str] = []
    samples: list[_Sample]

    @field_validator("metric")
    @classmethod
    def _is_known(cls, metric: str) -> str:
        if metric not in METRICS:
            raise ValueError("no such metric")
        return metric


def candidates_of(bundle: Bundle) -> Mapping[str, Any] | None:
    """The table of candidates that a bundle carries; None where nothing was judged.

    Raises:
        IntegrityError: It does not have the form that export writes (`PE-PACK-003`).
    """
    raw = bundle.contents.get(ENTRY)
    if raw is None:
        return None
    try:
        table: Mapping[str, Any] = json.loads(raw)
        _Table.model_validate(table)
    except (ValidationError, ValueError, RecursionError) as error:
        raise IntegrityError(
            "PE-PACK-003",
            found=f"{ENTRY} of {bundle.path.name} does not have the form that export writes ({_first(error)})",
            expected="a table of candidates with the scores of every sample",
            next_step="export the bundle again",
        ) from error
    return table


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return type(error).__name__
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['type']}"
