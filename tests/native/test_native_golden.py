"""Both bounds of a golden frame count, in Python and C++, and what is no number is beyond each."""

from __future__ import annotations

from pathlib import Path

import exhibits
import numpy as np
import pytest
from native_library import Native
from tiny_network import tiny_contents

from physedge_runtime.bundle import read_bundle
from physedge_runtime.errors import IntegrityError

ANSWER = "golden/0.probability"


def opened(path: Path, native: Native, engine: str) -> list[str]:
    """What either runtime says: the identifier, or `taken`."""
    told = []
    for call in (lambda: read_bundle(path).open(engine=engine), lambda: native.open(path, engine=engine.encode())):
        try:
            call().close()
            told.append("taken")
        except IntegrityError as error:
            told.append(error.identifier)
    return told


def with_answer(path: Path, answer: np.ndarray, *, mean: float, largest: float) -> Path:
    manifest, _ = tiny_contents()
    artefact = manifest.artefacts[0].model_copy(update={"golden_mean_bound": mean, "golden_max_bound": largest})
    return exhibits.rebuilt(path, {ANSWER: answer.astype("<f4").tobytes()}, artefacts=(artefact,))


@pytest.mark.requirement("REQ-NATIVE-SAME-ANSWERS")
@pytest.mark.parametrize("place", [0, 500, -1])
def test_one_value_beyond_the_largest_bound_is_enough(
    place: int, tmp_path: Path, native: Native, real_engine: str
) -> None:
    answer = np.frombuffer(tiny_contents()[1][ANSWER], "<f4").copy()
    answer[place] += 0.05
    path = with_answer(tmp_path / "x.physedge", answer, mean=1e-3, largest=1e-3)
    assert opened(path, native, real_engine) == ["PE-BUNDLE-020", "PE-BUNDLE-020"]
    with_answer(path, answer, mean=1e-3, largest=0.06)
    assert opened(path, native, real_engine) == ["taken", "taken"]


def test_a_mean_beyond_its_bound_is_enough(tmp_path: Path, native: Native, real_engine: str) -> None:
    answer = np.frombuffer(tiny_contents()[1][ANSWER], "<f4") + np.float32(0.002)
    path = with_answer(tmp_path / "x.physedge", answer, mean=1e-3, largest=0.5)
    assert opened(path, native, real_engine) == ["PE-BUNDLE-020", "PE-BUNDLE-020"]


@pytest.mark.parametrize("place", [0, 500, -1])
def test_what_is_no_number_is_beyond_every_bound(place: int, tmp_path: Path, native: Native, real_engine: str) -> None:
    answer = np.frombuffer(tiny_contents()[1][ANSWER], "<f4").copy()
    answer[place] = np.nan
    path = with_answer(tmp_path / "x.physedge", answer, mean=1.0, largest=1.0)
    assert opened(path, native, real_engine) == ["PE-BUNDLE-020", "PE-BUNDLE-020"]
