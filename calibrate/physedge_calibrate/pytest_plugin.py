"""A pytest fixture that holds a bundle to its accuracy in a device maker's own tests.

    def test_polyps(physedge_regression):
        physedge_regression("net.physedge", "data/val", min_dice=0.85, golden="golden/polyps.npz")

The bounds are on mean scores. The golden file keeps every answer (mask, label or image); it is written only by
`pytest --update-golden`, which also shows the difference. The plugin comes with the package; `examples/device_ci` is a
project that uses it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from physedge_calibrate.regression import Answers

# Pixels that may flip between machines: a share of the frame.
DEFAULT_FLIPPED_FRACTION = 0.001

_RENEWED = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-golden`, and where bundle and data lie where a test does not say."""
    parser.addini("physedge_bundle", "The bundle of physedge_regression, relative to the root folder.")
    parser.addini("physedge_data", "The labelled data of physedge_regression, relative to the root folder.")
    group = parser.getgroup("physedge")
    group.addoption(
        "--update-golden",
        action="store_true",
        help="Write the golden files of physedge_regression anew, and show what changed.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make room for what the summary will show."""
    config.stash[_RENEWED] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show which golden files were written, and how they differ from before."""
    renewed = config.stash[_RENEWED]
    if renewed:
        terminalreporter.section("golden files of physedge")
        for text in renewed:
            terminalreporter.write_line(text)


@pytest.fixture
def physedge_regression(request: pytest.FixtureRequest) -> Callable[..., Answers]:
    """A function that runs a bundle over labelled frames and fails the test where it got worse.

    Its arguments: the bundle and the folder of labelled data (its `val` where it has one), those of `physedge_bundle`
    and `physedge_data` in the configuration where left out; bounds on mean scores as `min_dice=0.85`, `max_hd95=20` or
    `min_macro_f1=0.8`; `golden`, a file below the test's folder; `flipped_fraction`, the share of a frame's pixels
    that may differ from the golden answer (0.001; a label always counts whole); `engine` and `threads` as for
    `Bundle.open`.
    Paths are relative to pytest's root folder, but for `golden`, which is relative to the test's file. It gives the
    answers, for further asserts.
    """
    config = request.config
    test_folder = request.path.parent

    def check(
        bundle: str | Path | None = None,
        data: str | Path | None = None,
        *,
        golden: str | Path | None = None,
        flipped_fraction: float = DEFAULT_FLIPPED_FRACTION,
        engine: str = "auto",
        threads: int | None = 1,
        **bounds: float,
    ) -> Answers:
        __tracebackhide__ = True
        from physedge_calibrate.regression import answer_frames, broken_bounds

        places = (_named(config, "physedge_bundle", bundle), _named(config, "physedge_data", data))
        answers = answer_frames(*places, engine=engine, threads=threads)
        failures = list(broken_bounds(answers, bounds))
        if golden is not None:
            failures += _against_golden(config, test_folder / golden, answers, flipped_fraction)
        if failures:
            pytest.fail("\n".join([f"{places[0].name} on {answers.engine}:", *failures]), pytrace=False)
        return answers

    return check


def _named(config: pytest.Config, key: str, said: str | Path | None) -> Path:
    value = said or config.getini(key)
    if not value:
        pytest.fail(f"physedge_regression was not told a place: pass it, or set {key} in pytest's configuration")
    return config.rootpath / value


def _against_golden(config: pytest.Config, path: Path, answers: Answers, flipped_fraction: float) -> list[str]:
    from physedge_calibrate.regression import changes_from, describe_changes, read_golden, write_golden
    from physedge_runtime.errors import IntegrityError

    if config.getoption("--update-golden"):
        try:
            difference = describe_changes(read_golden(path), answers)
        except IntegrityError as error:
            difference = f"replaced: {error}"
        write_golden(path, answers)
        config.stash[_RENEWED].append(f"{path.name}: {difference}")
        return []
    golden = read_golden(path)
    if golden is None:
        return [f"there is no golden file {path.name}; write it with --update-golden"]
    worst = [change for change in changes_from(golden, answers) if change.fraction > flipped_fraction]
    if not worst:
        return []
    allowed = (
        f"{path.name}: {len(worst)} {answers.kind.noun} differ in more than {flipped_fraction:.4%} of their pixels"
    )
    if not answers.answers.shape[1:]:
        allowed = f"{path.name}: {len(worst)} {answers.kind.noun} differ"
    if answers.answers.shape[1:]:
        allowed += f" in more than {flipped_fraction:.4%} of their pixels"
    return [allowed, describe_changes(golden, answers)]
