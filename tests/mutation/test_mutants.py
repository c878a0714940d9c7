"""Lines on which safety or security hangs: each is listed with a wrong form, and tests notice the wrong form."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mutants import ROOT, Laboratory, Mutant, read_mutants, sample

MUTANTS = read_mutants()
SAMPLE = sample(MUTANTS, 20, int(os.environ.get("PHYSEDGE_MUTATION_SEED", "0")))
FEWEST = 120


def name_of(mutant: Mutant) -> str:
    return f"{mutant.area}: {mutant.name}"


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Laboratory]:
    with Laboratory() as opened:
        yield opened


def test_the_list_is_long_enough_and_has_no_name_twice() -> None:
    assert len(MUTANTS) >= FEWEST
    assert len({name_of(mutant) for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
def test_every_mutant_still_fits_its_file_and_names_tests_that_exist(mutant: Mutant) -> None:
    mutant.text(ROOT)
    files = [Path(test.partition("::")[0]) for test in mutant.tests if test.startswith("tests/")]
    assert files, "no test is named"
    for file in files:
        assert (ROOT / file).exists(), file


@pytest.mark.parametrize("mutant", SAMPLE, ids=name_of)
def test_a_sample_is_noticed(mutant: Mutant, laboratory: Laboratory) -> None:
    """Twenty, drawn by a seed that a run may change (PHYSEDGE_MUTATION_SEED); the slow test tries all."""
    outcome = laboratory.try_out(mutant)
    assert outcome.is_noticed, outcome.said


def test_a_harmless_change_counts_as_a_survivor(laboratory: Laboratory) -> None:
    file = "runtime/physedge_runtime/verdict.py"
    first = (ROOT / file).read_text("utf-8").splitlines()[0]
    tests = ("tests/runtime/test_stream_health.py::test_the_period_is_measured",)
    harmless = Mutant(area="none", name="a remark", file=file, find=first, replace=f"{first}\n# nothing", tests=tests)
    assert not laboratory.try_out(harmless).is_noticed


def test_a_change_that_python_cannot_read_counts_for_nothing() -> None:
    broken = Mutant(
        area="none",
        name="a bracket",
        file="runtime/physedge_runtime/verdict.py",
        find="class ",
        replace="class (",
        tests=(),
    )
    with pytest.raises(SyntaxError):
        broken.text(ROOT)
    twice = Mutant(
        area="none", name="twice", file="runtime/physedge_runtime/verdict.py", find="=", replace="+", tests=()
    )
    with pytest.raises(ValueError, match="not once"):
        twice.text(ROOT)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
def test_every_mutant_is_noticed(mutant: Mutant, laboratory: Laboratory) -> None:
    outcome = laboratory.try_out(mutant)
    assert outcome.is_noticed, outcome.said
