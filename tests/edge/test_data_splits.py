"""How a data set is divided, and that no patient or sequence is ever on two sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_segmenter import write_scenes, write_task

from physedge.data.splits import Splits, find_splits, split_by_group
from physedge.train.segmentation import prepared_pairs
from physedge_calibrate.dataset import LabelledFile, read_labelled
from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Frame, FrameSpec
from physedge_runtime.resize import labels_to_grid, prepare


def _sample(name: str, group: str) -> LabelledFile:
    return LabelledFile(image_path=Path(f"{name}.png"), mask_path=Path(f"{name}.png"), name=name, group=group)


def _names(samples: tuple[LabelledFile, ...]) -> list[str]:
    return [sample.name for sample in samples]


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 30), min_size=3, max_size=40), seed=st.integers(0, 5))
def test_groups_stay_whole_and_nothing_is_lost(sizes: list[int], seed: int) -> None:
    samples = [_sample(f"{group}-{i}", f"g{group}") for group, size in enumerate(sizes) for i in range(size)]
    splits = split_by_group(samples, seed=seed)
    parts = [splits.train, splits.val, splits.test]
    groups = [{sample.group for sample in part} for part in parts]
    assert all(groups)
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert sorted(name for part in parts for name in _names(part)) == sorted(sample.name for sample in samples)
    assert split_by_group(samples, seed=seed) == splits


def test_shares_of_many_small_groups() -> None:
    samples = [_sample(f"{group}-{i}", f"g{group}") for group in range(200) for i in range(3)]
    splits = split_by_group(samples, seed=0)
    assert [len(part) / 600 for part in (splits.train, splits.val, splits.test)] == pytest.approx(
        [0.7, 0.1, 0.2], abs=0.01
    )
    assert split_by_group(samples, seed=1).train != splits.train


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(UsageError, match=r"PE-DATA-009: 2 group\(s\).*groups\.csv"):
        split_by_group([_sample("a", "x"), _sample("b", "y"), _sample("c", "y")], seed=0)


def test_folders_decide_first(tmp_path: Path) -> None:
    splits = find_splits(write_task(tmp_path, train=4, val=2))
    assert (len(splits.train), len(splits.val), splits.test, splits.how) == (4, 2, (), "by folder")


def test_a_list_of_groups_and_samples(tmp_path: Path) -> None:
    write_scenes(tmp_path, 6, seed=0)
    (tmp_path / "splits.toml").write_text('train = ["s000", "s001_f0002"]\nval = ["s001_f0003.png"]\ntest = ["s002"]\n')
    splits = find_splits(tmp_path)
    assert _names(splits.train) == ["s000_f0000", "s000_f0001", "s001_f0002"]
    assert _names(splits.val) == ["s001_f0003"]
    assert _names(splits.test) == ["s002_f0004", "s002_f0005"]


def test_list_files_with_comments(tmp_path: Path) -> None:
    write_scenes(tmp_path, 4, seed=0)
    (tmp_path / "train.txt").write_text("# first sequence\nimages/s000_f0000.png\ns000_f0001  # blurred\n\n")
    (tmp_path / "val.txt").write_text("s001\n")
    splits = find_splits(tmp_path)
    assert (len(splits.train), len(splits.val), splits.how) == (2, 2, "by train.txt and val.txt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('train = ["s000"]\nval = ["s009"]', "names 's009'"),
        ('train = ["s000"]\nval = ["s000_f0001"]', "in both train and val"),
        ('train = ["s000"]', "names nothing for val"),
        ('train = "s000"', "'train'"),
        ('learn = ["s000"]', "'learn'"),
        ("train = [", "cannot be read"),
    ],
)
def test_a_list_that_is_wrong(tmp_path: Path, content: str, words: str) -> None:
    write_scenes(tmp_path, 4, seed=0)
    (tmp_path / "splits.toml").write_text(content)
    with pytest.raises(UsageError, match=rf"PE-DATA-008: .*splits\.toml.*{words}"):
        find_splits(tmp_path)


def test_without_folders_and_lists_groups_are_drawn(tmp_path: Path) -> None:
    write_scenes(tmp_path, 12, seed=0)
    splits = find_splits(tmp_path, seed=3)
    assert "6 groups drawn with seed 3" in splits.how
    assert len(splits.train) + len(splits.val) + len(splits.test) == 12


def test_two_sets_add_up() -> None:
    first, second = (
        Splits(train=(_sample(f"{name}1", name),), val=(_sample(f"{name}2", name),), how=how)
        for name, how in (("a", "by folder"), ("b", "by splits.toml"))
    )
    both = first + second
    assert (_names(both.train), _names(both.val)) == (["a1", "b1"], ["a2", "b2"])
    assert both.how == "by folder; by splits.toml"


@pytest.mark.parametrize("most_kept_bytes", [0, 2**20])
def test_pairs_reach_the_grid_as_on_the_device(tmp_path: Path, most_kept_bytes: int) -> None:
    write_scenes(tmp_path, 2, seed=0)
    samples, frame = read_labelled(tmp_path, 1), FrameSpec(height=24, width=16)
    seen: list[None] = []
    pairs = prepared_pairs(
        samples, frame, where="a set", advance=lambda: seen.append(None), most_kept_bytes=most_kept_bytes
    )
    assert (len(pairs), len(seen), pairs.is_kept) == (2, 2, most_kept_bytes > 0)
    np.testing.assert_array_equal(pairs[1].frame, prepare(Frame(pixels=samples[1].picture()), frame))
    np.testing.assert_array_equal(pairs[1].truth, labels_to_grid(samples[1].labels(), frame))


def test_masks_of_one_class_are_refused_before_training(tmp_path: Path) -> None:
    write_scenes(tmp_path, 2, seed=0, mask_factor=0)
    with pytest.raises(UsageError, match="PE-DATA-007: all 2 masks of the training set are empty"):
        prepared_pairs(read_labelled(tmp_path, 1), FrameSpec(height=16, width=16), where="the training set")
