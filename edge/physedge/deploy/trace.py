"""Requirements, hazards and anomalies from a readable file, and what the last run of the tests says of each."""

from __future__ import annotations

import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from physedge_runtime.errors import UsageError

_BAD = ("failure", "error")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Requirement(_Record):
    """What is promised; `tests` are `file::test` beside those that name it by a marker."""

    id: str = Field(pattern=r"^REQ-[A-Z0-9-]+$")
    text: str
    tests: tuple[str, ...] = ()


class Hazard(_Record):
    """What can go wrong, and the requirements that keep it from happening."""

    id: str = Field(pattern=r"^HAZ-[A-Z0-9-]+$")
    text: str
    measures: tuple[str, ...] = Field(min_length=1)


class Anomaly(_Record):
    """A known fault or limit of a part, and how it is dealt with."""

    id: str = Field(pattern=r"^ANO-[A-Z0-9-]+$")
    package: str
    text: str
    handled: str


class Requirements(_Record):
    """The whole file: requirements, hazards, anomalies, and what each package is for."""

    requirement: tuple[Requirement, ...] = ()
    hazard: tuple[Hazard, ...] = ()
    anomaly: tuple[Anomaly, ...] = ()
    purpose: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """One test of the last run: `passed`, `failed` or `skipped`, and the requirements that it names."""

    __test__ = False  # no test itself, whatever its name says

    name: str
    outcome: str
    requirements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A requirement, the tests that show it, and what follows.

    Attributes:
        requirement: What is promised.
        tests: Those of the last run that belong to it.
        missing: Tests that the file names and the run did not have.
    """

    requirement: Requirement
    tests: tuple[TestResult, ...]
    missing: tuple[str, ...] = field(default=())

    @property
    def status(self) -> str:
        """`met`, `FAILED`, `not run`, or `in part`: some tests were skipped or missing."""
        outcomes = {test.outcome for test in self.tests}
        if "failed" in outcomes:
            return "FAILED"
        if "passed" not in outcomes:
            return "not run"
        return "in part" if self.missing or "skipped" in outcomes else "met"


def read_requirements(path: Path) -> Requirements:
    """Read the file; every identifier stands once, and every measure is a requirement.

    Raises:
        UsageError: It cannot be read, or does not agree with itself (`PE-PACK-001`).
    """
    try:
        content = Requirements.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        known = [requirement.id for requirement in content.requirement]
        twice = sorted({name for name in known if known.count(name) > 1})
        unknown = sorted({name for hazard in content.hazard for name in hazard.measures} - set(known))
        if twice or unknown:
            raise ValueError(f"{twice[0]} stands twice" if twice else f"a hazard names {unknown[0]}")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError, ValueError) as error:
        raise UsageError(
            "PE-PACK-001",
            found=f"{path} cannot be used ({str(error).splitlines()[0]})",
            expected="requirements, hazards, anomalies and purposes as in docs/requirements.toml",
            next_step="correct it, or name another one with --requirements",
        ) from error
    return content


def read_results(path: Path) -> tuple[TestResult, ...]:
    """The tests of a JUnit file as `pytest --junitxml=FILE` writes it, by name.

    Raises:
        UsageError: It cannot be read (`PE-PACK-002`).
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise UsageError(
            "PE-PACK-002",
            found=f"{path} cannot be read as a JUnit file ({error})",
            expected="what pytest --junitxml=FILE writes",
            next_step="run the tests with it, or leave --results out",
        ) from error
    found = []
    for case in root.iter("testcase"):
        parts = case.get("classname", "").split(".")
        module = next((part for part in parts if part.startswith("test_")), "")
        outcome = "passed"
        if any(case.find(kind) is not None for kind in _BAD):
            outcome = "failed"
        elif case.find("skipped") is not None:
            outcome = "skipped"
        named = [entry.get("value", "") for entry in case.iter("property") if entry.get("name") == "requirement"]
        found.append(
            TestResult(name=f"{module}::{case.get('name', '')}", outcome=outcome, requirements=tuple(sorted(named)))
        )
    return tuple(sorted(found, key=lambda test: test.name))


def trace_requirements(requirements: Requirements, results: tuple[TestResult, ...]) -> tuple[Trace, ...]:
    """Every requirement with its tests, in the order of the file."""
    return tuple(_trace(requirement, results) for requirement in requirements.requirement)


def hazard_status(hazard: Hazard, traces: Mapping[str, Trace]) -> str:
    """The worst status of its measures."""
    order = ("FAILED", "not run", "in part", "met")
    return min((traces[name].status for name in hazard.measures), key=order.index)


def _trace(requirement: Requirement, results: tuple[TestResult, ...]) -> Trace:
    def belongs(test: TestResult, named: str) -> bool:
        return test.name == named or test.name.startswith(f"{named}[")

    tests = tuple(
        test
        for test in results
        if requirement.id in test.requirements or any(belongs(test, named) for named in requirement.tests)
    )
    missing = tuple(named for named in requirement.tests if not any(belongs(test, named) for test in tests))
    return Trace(requirement=requirement, tests=tests, missing=missing)
