"""The four ways in which a judgement can end."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What was found about one (precision, engine, device); only `ACCEPT` lets a bundle run unasked."""

    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_RUN = "NOT RUN"
