"""The choice of calibration images, their strata, and the report on what they cover."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from physedge_calibrate.coverage import coverage, draw_coverage
from physedge_calibrate.image_statistics import (
    STATISTIC_NAMES,
    image_statistics,
    standardised,
    statistics_table,
)
from physedge_calibrate.sampling import allotted, choose_calibration_set, choose_indices, farthest_points
from physedge_calibrate.strata import strata_from_csv, strata_from_folders, strata_from_pattern
from physedge_runtime.errors import UsageError


def table(count: int, *, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(size=(count, len(STATISTIC_NAMES)))


def chosen_by(count: int, strata: list[str], *, seed: int = 0) -> NDArray[np.intp]:
    return choose_indices(table(len(strata)), strata, count=count, generator=np.random.default_rng(seed))


def test_statistics_of_a_grey_ramp_are_those_of_the_ramp() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (40, 1))
    found = image_statistics(ramp)
    assert found.brightness == pytest.approx(0.5, abs=1e-6)
    assert found.contrast == pytest.approx(np.sqrt((256**2 - 1) / 12) / 255, abs=1e-4)
    assert found.dark_fraction == pytest.approx(16 / 256)
    assert found.saturated_fraction == pytest.approx(6 / 256)
    assert (found.red_share, found.blue_share) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert found.sharpness == pytest.approx((1 / 255) / 2 / found.contrast, rel=1e-3)
    assert image_statistics(ramp[..., None]) == found


def test_statistics_tell_red_from_blue_and_black_has_no_colour() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    assert image_statistics(red).red_share == 1.0
    assert image_statistics(red[..., ::-1].copy()).blue_share == 1.0
    assert image_statistics(np.zeros((8, 8, 3), np.uint8)).red_share == pytest.approx(1 / 3)


def test_statistics_of_floats_are_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        image_statistics(np.zeros((8, 8, 3)))  # type: ignore[arg-type]


def test_standardised_columns_have_one_spread_and_constants_vanish() -> None:
    values = np.column_stack([np.arange(101.0), np.full(101, 7.0)])
    found = standardised(values)
    assert np.percentile(found[:, 0], 90) - np.percentile(found[:, 0], 10) == pytest.approx(1.0)
    assert not found[:, 1].any()


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ({"a": 100, "b": 100}, 20, {"a": 10, "b": 10}),
        ({"a": 100, "b": 3, "c": 100}, 21, {"a": 9, "b": 3, "c": 9}),
        ({"a": 2, "b": 3}, 128, {"a": 2, "b": 3}),
        ({"a": 5}, 0, {"a": 0}),
    ],
)
def test_every_stratum_gives_alike_as_far_as_it_can(
    sizes: dict[str, int], count: int, expected: dict[str, int]
) -> None:
    assert allotted(sizes, count) == expected


def test_the_chosen_set_is_stratified_seeded_and_ascending() -> None:
    strata = ["rare"] * 6 + ["common"] * 200
    found = chosen_by(40, strata)
    assert Counter(strata[index] for index in found) == {"rare": 6, "common": 34}
    assert found.tolist() == sorted(set(found.tolist()))
    assert found.tolist() == chosen_by(40, strata).tolist()
    assert found.tolist() != chosen_by(40, strata, seed=1).tolist()


def test_farthest_points_take_the_corners_first() -> None:
    square = np.array([[0.5, 0.5], [0, 0], [0, 1], [1, 0], [1, 1], [0.5, 0.4]])
    generator = np.random.default_rng(0)
    found = {frozenset(farthest_points(square, count=5, generator=generator).tolist()) for _ in range(20)}
    for indices in found:
        assert indices >= {1, 2, 3, 4} or len(indices & {0, 5}) == 1


def test_farthest_points_cover_within_twice_the_best_radius() -> None:
    # Twenty tight clusters: the best radius of twenty centres is that of a cluster.
    random = np.random.default_rng(3)
    centres = random.uniform(-100, 100, size=(20, 2))
    points = np.repeat(centres, 30, axis=0) + random.uniform(-0.5, 0.5, size=(600, 2))
    found = farthest_points(points, count=20, generator=random)
    distances = np.linalg.norm(points[:, None] - points[found][None], axis=2).min(axis=1)
    assert distances.max() <= 2 * np.hypot(0.5, 0.5)


def test_identical_images_are_chosen_once_each() -> None:
    found = farthest_points(np.zeros((5, 2)), count=4, generator=np.random.default_rng(0))
    assert len(set(found.tolist())) == 4


def test_the_chosen_extremes_reach_as_far_as_the_pool() -> None:
    strata = ["all"] * 400
    found = coverage(table(400), strata, chosen_by(60, strata))
    random = np.random.default_rng(4).choice(400, 60, replace=False)
    by_chance = coverage(table(400), strata, random)
    assert found.nearest_largest < by_chance.nearest_largest
    assert min(row.covered_fraction for row in found.statistics) > 0.95


def test_a_calibration_set_is_its_own_evidence() -> None:
    names = [f"frame_{index:03d}.png" for index in range(50)]
    hashes = [f"{index:064x}" for index in range(50)]
    strata = ["a", "b"] * 25
    found = choose_calibration_set(names, hashes, table(50), strata, count=20, seed=3)
    assert len(found) == 20
    assert found.pool_size == 50
    assert [names[index] for index in found.indices] == list(found.names)
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["count"] == 20
    assert plain["images"][0] == {
        "name": found.names[0],
        "sha256": found.sha256s[0],
        "stratum": found.strata[0],
    }
    other = choose_calibration_set(names, hashes, table(50), strata, count=20, seed=4)
    assert other.sha256 != found.sha256
    assert len(choose_calibration_set(names, hashes, table(50), strata)) == 50


def test_no_or_too_few_images_are_refused() -> None:
    with pytest.raises(UsageError, match="PE-CALIB-001: no calibration images"):
        choose_calibration_set([], [], table(0), [])
    with pytest.raises(UsageError, match="PE-CALIB-006: 4 calibration images; expected at least 8"):
        choose_calibration_set(["a"] * 4, ["0"] * 4, table(4), ["all"] * 4)


def test_folders_that_say_something_are_strata() -> None:
    root = Path("data")
    paths = [root / "train/glioma/1.jpg", root / "train/images/2.jpg", root / "3.jpg", root / "siteA/images/4.png"]
    assert strata_from_folders(paths, root=root) == ("glioma", "all", "all", "siteA")


def test_a_pattern_finds_strata_in_names() -> None:
    paths = [Path("x/busi_benign_012.jpg"), Path("busi_malignant_045.jpg")]
    assert strata_from_pattern(paths, "_(benign|malignant)_") == ("benign", "malignant")
    with pytest.raises(UsageError, match=r"PE-CALIB-008: 1 of 2 images have no stratum.*busi_malignant_045"):
        strata_from_pattern(paths, "_(benign)_")


@pytest.mark.parametrize("pattern", ["(", "benign", "(a)(b)"])
def test_a_bad_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"PE-CALIB-007.*no pattern of strata"):
        strata_from_pattern([Path("a.png")], pattern)


def test_a_csv_file_names_strata(tmp_path: Path) -> None:
    listed = tmp_path / "strata.csv"
    listed.write_text("file,site,stratum\nimages/a.png,1,old\nb.png,2,new\n", encoding="utf-8")
    paths = [tmp_path / "images/a.png", tmp_path / "images/b.png"]
    assert strata_from_csv(paths, listed, root=tmp_path) == ("old", "new")
    with pytest.raises(UsageError, match=r"PE-CALIB-008: 1 of 1 images.*strata.csv: c.png"):
        strata_from_csv([tmp_path / "c.png"], listed, root=tmp_path)


@pytest.mark.parametrize("content", [b"name,kind\na.png,x\n", b"", b"\xff\xfe\x00file,stratum"])
def test_a_file_that_is_no_table_of_strata_is_refused(tmp_path: Path, content: bytes) -> None:
    listed = tmp_path / "strata.csv"
    listed.write_bytes(content)
    with pytest.raises(UsageError, match=r"PE-CALIB-007: strata.csv is no table"):
        strata_from_csv([tmp_path / "a.png"], listed, root=tmp_path)
    with pytest.raises(UsageError, match="PE-CALIB-007"):
        strata_from_csv([tmp_path / "a.png"], tmp_path / "missing.csv", root=tmp_path)


def test_the_coverage_report_says_what_is_covered(tmp_path: Path) -> None:
    strata = ["a"] * 30 + ["b"] * 30
    values = table(60)
    found = coverage(values, strata, [0, 1, 2, 40])
    assert [(row.name, row.pool_count, row.chosen_count) for row in found.strata] == [("a", 30, 3), ("b", 30, 1)]
    first = found.statistics[0]
    inside = (values[:, 0] >= first.chosen_low) & (values[:, 0] <= first.chosen_high)
    assert first.covered_fraction == inside.mean()
    text = found.to_text()
    assert "4 of 60 images" in text
    assert all(name in text for name in STATISTIC_NAMES)
    assert json.loads(json.dumps(found.to_dict()))["chosen_count"] == 4
    assert coverage(values, strata, range(60)).nearest_largest == 0.0
    with pytest.raises(ValueError, match="at least one chosen"):
        coverage(values, strata, [])


def test_the_coverage_picture_is_written_and_reproducible(tmp_path: Path) -> None:
    strata = ["a"] * 30 + ["b"] * 30
    for name in ("one.png", "two.png"):
        draw_coverage(tmp_path / name, table(60), strata, chosen_by(12, strata))
    assert (tmp_path / "one.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_a_table_has_one_row_an_image() -> None:
    pictures = [np.full((4, 4, 3), level, np.uint8) for level in (0, 100)]
    assert statistics_table(image_statistics(picture) for picture in pictures).shape == (2, 7)
    assert statistics_table([]).shape == (0, 7)
