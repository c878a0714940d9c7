"""Listing, pairing and decoding of labelled folders, and everything that can be wrong with them."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_segmenter import write_scenes

from physedge_calibrate.dataset import (
    check_classes,
    group_from_name,
    labels_from_mask,
    list_pictures,
    read_labelled,
    read_mask,
    read_picture,
    subset_folder,
)
from physedge_runtime.errors import SourceError, UsageError
from physedge_runtime.sources import picture as decoder


def _error(kind: type[Exception], identifier: str, *words: str) -> AbstractContextManager[object]:
    return pytest.raises(kind, match=f"^{identifier}: " + "".join(f"(?=.*{re.escape(word)})" for word in words))


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    write_scenes(tmp_path, 4, seed=0)
    return tmp_path


def test_pairs_come_in_the_order_in_which_people_count(tmp_path: Path) -> None:
    for name in ("10", "9", "1"):
        _write(tmp_path / f"images/{name}.jpg", np.zeros((8, 8, 3), np.uint8))
        _write(tmp_path / f"masks/{name}.png", np.zeros((8, 8), np.uint8))
    assert [sample.name for sample in read_labelled(tmp_path)] == ["1", "9", "10"]


def test_pairs_are_found_at_any_depth(scenes: Path) -> None:
    write_scenes(scenes / "clinic/week1", 2, seed=3)
    (scenes / "images/patient7").mkdir()
    (scenes / "masks/patient7").mkdir()
    for kind in ("images", "masks"):
        source = next((scenes / kind).glob("*.png"))
        (scenes / kind / "patient7/0001.png").write_bytes(source.read_bytes())
    samples = read_labelled(scenes)
    assert {"clinic/week1/s000_f0000", "patient7/0001", "s000_f0000"} <= {sample.name for sample in samples}
    assert {sample.group for sample in samples} == {"clinic/week1/s000", "patient7", "s000", "s001"}


def test_the_images_folder_itself_may_be_named(scenes: Path) -> None:
    assert read_labelled(scenes / "images") == read_labelled(scenes)


def test_masks_are_no_pictures(scenes: Path) -> None:
    assert {path.parent.name for path in list_pictures(scenes)} == {"images"}
    assert len(list_pictures(scenes / "masks")) == 4  # unless they are asked for


def test_a_subset_is_a_folder_of_its_own_where_there_is_one(scenes: Path) -> None:
    assert subset_folder(scenes, "val") == scenes
    (scenes / "val").mkdir()
    assert subset_folder(scenes, "val") == scenes / "val"


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("cvc_s21_f0429", "cvc_s21"),
        ("endo_s0003_f0006", "endo_s0003"),
        ("patient-07-slice-3", "patient-07"),
        ("site/case12/0003", "site/case12"),
        ("busi_benign_001", "busi_benign_001"),
        ("kvasir_cju0qkwl35piu", "kvasir_cju0qkwl35piu"),
        ("0007", "0007"),
    ],
)
def test_groups_come_from_names(name: str, group: str) -> None:
    assert group_from_name(name) == group


def test_groups_come_from_a_table_before_the_names(scenes: Path) -> None:
    (scenes / "groups.csv").write_text("name,group,stratum,age\ns000_f0000.png,anna,flat,61\ns001_f0002,bert,,\n")
    found = {sample.name: (sample.group, sample.stratum) for sample in read_labelled(scenes)}
    assert found["s000_f0000"] == ("anna", "flat")
    assert found["s001_f0002"] == ("bert", "")
    assert found["s001_f0003"] == ("s001", "")


def test_a_table_without_its_columns_is_refused(scenes: Path) -> None:
    (scenes / "groups.csv").write_text("file,patient\na,b\n")
    with _error(UsageError, "PE-DATA-010", "groups.csv", "name and group"):
        read_labelled(scenes)


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 200), (3, 252)])
def test_masks_of_one_class_in_every_usual_form(values: tuple[int, int]) -> None:
    mask = np.array([[values[0], values[1]]], np.uint8)
    assert labels_from_mask(mask, 1).tolist() == [[0, 1]]


def test_masks_of_several_classes_hold_indices() -> None:
    mask = np.array([[0, 1, 2, 3]], np.uint8)
    assert labels_from_mask(mask, 3).tolist() == [[0, 1, 2, 3]]
    assert labels_from_mask(mask).tolist() == [[0, 1, 2, 3]]
    assert labels_from_mask(np.array([[0, 255]], np.uint8), 3).tolist() == [[0, 1]]
    assert labels_from_mask(np.array([[0, 255]], np.uint8)).tolist() == [[0, 1]]
    with _error(UsageError, "PE-DATA-006", "value 4", "0 to 3"):
        labels_from_mask(np.array([[0, 4]], np.uint8), 3)


def test_a_grey_picture_has_three_equal_channels(tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    _write(tmp_path / "grey.png", pixels)
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.png"), np.repeat(pixels[..., None], 3, axis=2))


@pytest.mark.parametrize(("suffix", "bound"), [("png", 0), ("bmp", 0), ("tif", 0), ("jpg", 2)])
def test_both_decoders_see_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, bound: int) -> None:
    from physedge_runtime.errors import missing_extra

    path = tmp_path / f"noise.{suffix}"
    _write(path, np.random.default_rng(0).integers(0, 256, (37, 53, 3)).astype(np.uint8))
    by_opencv = read_picture(path).astype(int)

    def absent(_encoded: bytes) -> None:
        raise missing_extra("opencv-python-headless", "camera")

    monkeypatch.setattr(decoder, "_decode_by_opencv", absent)
    assert np.abs(read_picture(path).astype(int) - by_opencv).max() <= bound


def test_a_missing_folder(tmp_path: Path) -> None:
    for read in (read_labelled, list_pictures):
        with _error(UsageError, "PE-DATA-001", "nowhere", "not there"):
            read(tmp_path / "nowhere")


def test_an_empty_folder(tmp_path: Path) -> None:
    with _error(UsageError, "PE-DATA-002", "no pictures"):
        list_pictures(tmp_path)
    (tmp_path / "images").mkdir()
    with _error(UsageError, "PE-DATA-002", "masks/"):
        read_labelled(tmp_path)


def test_a_picture_without_a_mask(scenes: Path) -> None:
    (scenes / "masks/s001_f0003.png").unlink()
    with _error(UsageError, "PE-DATA-003", "images/s001_f0003.png", "masks/s001_f0003.png"):
        read_labelled(scenes)


def test_a_mask_of_another_size(scenes: Path) -> None:
    _write(scenes / "masks/s000_f0001.png", np.zeros((10, 20), np.uint8))
    with _error(UsageError, "PE-DATA-004", "20x10", "32x32"):
        read_labelled(scenes)[1].pair()


def test_a_mask_with_colours(scenes: Path) -> None:
    _write(scenes / "masks/s000_f0000.png", np.full((32, 32, 3), (255, 0, 0), np.uint8))
    with _error(UsageError, "PE-DATA-005", "colours"):
        read_mask(scenes / "masks/s000_f0000.png")


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n truncated"])
def test_an_unreadable_picture_is_named(scenes: Path, content: bytes) -> None:
    (scenes / "images/s000_f0000.png").write_bytes(content)
    with _error(SourceError, "PE-SRC-005", "s000_f0000.png"):
        read_labelled(scenes)[0].picture()


@pytest.mark.parametrize(("value", "word"), [(0, "empty"), (1, "full")])
def test_masks_of_one_class_only(value: int, word: str) -> None:
    masks = [np.full((4, 4), value, np.uint8)] * 3
    with _error(UsageError, "PE-DATA-007", f"all 3 masks of the set are {word}"):
        check_classes(masks, "the set")
    check_classes([*masks, np.eye(4, dtype=np.uint8)], "the set")
    check_classes([np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)], "the set")


def test_real_polyps_are_listed_by_sequence(development_data: Path) -> None:
    samples = read_labelled(subset_folder(development_data / "polyp", "val"), 1)
    assert len(samples) == 75
    assert {sample.group for sample in samples} == {"cvc_s21", "cvc_s22", "cvc_s23", "cvc_s24"}
    picture, labels = samples[0].pair()
    assert picture.shape == (288, 384, 3)
    assert set(np.unique(labels)) == {0, 1}
