"""Data sets of synthetic scenes: layout, same bytes, splits by scene, and every refusal."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from physedge.cli.synth import synth
from physedge.data.splits import find_splits
from physedge.data.synthesis import SynthesisRequest, SynthesisSummary
from physedge.data.synthesize import synthesize
from physedge_runtime.errors import EnvironmentFault, UsageError

SMALL = {"height_px": 64, "width_px": 80, "sequence_length": 3}


def hashes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def request(**changes: object) -> SynthesisRequest:
    fields: dict[str, object] = {
        "kind": "ultrasound",
        "frames": 100,
        "seed": 0,
        "val_fraction": 0.2,
        "sequence_length": 10,
        "height_px": 64,
        "width_px": 64,
        "video": True,
    }
    return SynthesisRequest(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SynthesisSummary:
    return synthesize("ultrasound", tmp_path_factory.mktemp("made") / "set", 10, 7, **SMALL)


def test_layout_is_that_of_a_labelled_data_set(made: SynthesisSummary) -> None:
    names = {split: sorted(path.name for path in (made.out / split / "images").iterdir()) for split in ("train", "val")}
    assert len(names["train"]) == made.train_frames == 7
    assert len(names["val"]) == made.val_frames == 3
    assert names["train"][:3] == [f"us_s0000_f{index:04d}.png" for index in (0, 6, 12)]
    for split, images in names.items():
        assert images == sorted(path.name for path in (made.out / split / "masks").iterdir())
    image = cv2.imread(str(made.out / "train/images" / names["train"][0]), cv2.IMREAD_COLOR)
    mask = cv2.imread(str(made.out / "train/masks" / names["train"][0]), cv2.IMREAD_UNCHANGED)
    assert image.shape == (64, 80, 3)
    assert mask.shape == (64, 80)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 255}


def test_scenes_are_kept_whole_and_the_reader_of_data_sets_sees_it(made: SynthesisSummary) -> None:
    splits = find_splits(made.out)
    groups = [{sample.group for sample in subset} for subset in (splits.train, splits.val)]
    assert not groups[0] & groups[1]
    assert len(groups[0] | groups[1]) == made.scenes == 4


def test_video_has_its_frames_and_their_masks(made: SynthesisSummary) -> None:
    assert made.video is not None
    capture = cv2.VideoCapture(str(made.video))
    count = 0
    while capture.read()[0]:
        count += 1
    assert count == made.video_frames == 10
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(30.0)
    capture.release()
    masks = sorted((made.out / "video_masks").iterdir())
    assert [path.name for path in masks] == [f"f{index:04d}.png" for index in range(10)]
    assert cv2.imread(str(masks[0]), cv2.IMREAD_UNCHANGED).any()


@pytest.mark.parametrize("kind", ["ultrasound", "endoscopy"])
def test_same_arguments_give_the_same_bytes_whatever_the_processes(kind: str, tmp_path: Path) -> None:
    ticks: list[int] = []
    first = synthesize(kind, tmp_path / "a", 4, 3, height_px=64, width_px=64, sequence_length=2, progress=ticks.append)
    assert sum(ticks) == 8
    synthesize(kind, tmp_path / "b", 4, 3, height_px=64, width_px=64, sequence_length=2, processes=2)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    assert not first.reused
    again = synthesize(kind, tmp_path / "a", 4, 3, height_px=64, width_px=64, sequence_length=2, progress=ticks.append)
    assert again.reused
    assert sum(ticks) == 16
    assert (again.train_frames, again.val_frames) == (first.train_frames, first.val_frames)


def test_a_set_that_was_not_finished_is_made_again(tmp_path: Path) -> None:
    arguments = ("ultrasound", tmp_path / "set", 2, 0)
    synthesize(*arguments, height_px=64, width_px=64, video=False)
    expected = hashes(tmp_path / "set")
    next((tmp_path / "set/train/images").iterdir()).unlink()
    assert not synthesize(*arguments, height_px=64, width_px=64, video=False).reused
    assert hashes(tmp_path / "set") == expected
    assert "video.mp4" not in expected


def test_two_seeds_share_no_scene_and_the_video_none_with_the_splits() -> None:
    largest = request(frames=500000, sequence_length=1)
    last = max(job.scene_seed for job in request(frames=2000, sequence_length=1).jobs(Path("out")))
    assert last < largest.scene_seed(500000) < largest.scene_seed(2**20 - 16)
    assert largest.scene_seed(2**20 - 1) < request(seed=1).scene_seed(0)


@pytest.mark.parametrize(
    ("frames", "length", "fraction", "train", "val"),
    [(100, 10, 0.2, 80, 20), (95, 10, 0.2, 75, 20), (2, 10, 0.2, 1, 1), (1, 10, 0.2, 1, 0), (30, 10, 0.0, 30, 0)],
)
def test_shares_of_the_splits(frames: int, length: int, fraction: float, train: int, val: int) -> None:
    jobs = list(request(frames=frames, sequence_length=length, val_fraction=fraction).jobs(Path("out")))
    counts = {name: sum(len(job.indices) for job in jobs if job.folder.name == name) for name in ("train", "val")}
    assert counts == {"train": train, "val": val}
    assert len({job.scene_seed for job in jobs}) == len(jobs)


def test_about_says_what_was_asked_for(made: SynthesisSummary) -> None:
    about = json.loads((made.out / "about.json").read_text())
    assert about["request"]["kind"] == "ultrasound"
    assert about["request"]["seed"] == 7
    assert (about["request"]["height_px"], about["request"]["width_px"]) == (64, 80)
    assert about["result"]["train_frames"] == 7


@pytest.mark.parametrize(
    ("changes", "identifier", "words"),
    [
        ({"kind": "xray"}, "PE-SYNTH-001", "ultrasound, endoscopy"),
        ({"frames": 0}, "PE-SYNTH-002", "frames is 0"),
        ({"seed": -1}, "PE-SYNTH-002", "seed is -1"),
        ({"val_fraction": 0.95}, "PE-SYNTH-002", "val_fraction is 0.95"),
        ({"sequence_length": 0}, "PE-SYNTH-002", "sequence_length is 0"),
        ({"height_px": 32}, "PE-SYNTH-002", "height is 32"),
        ({"width_px": 101}, "PE-SYNTH-002", "even"),
    ],
)
def test_bad_numbers_are_refused_in_one_sentence(changes: dict[str, object], identifier: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        request(**changes)
    assert caught.value.identifier == identifier


def test_a_folder_with_something_else_is_left_alone(made: SynthesisSummary, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(UsageError, match=r"not empty.*--out") as caught:
        synthesize("ultrasound", tmp_path, 2, 0, height_px=64, width_px=64)
    assert caught.value.identifier == "PE-SYNTH-003"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(UsageError, match="PE-SYNTH-003"):
        synthesize("ultrasound", made.out, 10, 8, **SMALL)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written") as caught:
        synthesize("endoscopy", tmp_path / "file" / "set", 2, 0, height_px=64, width_px=64)
    assert caught.value.identifier == "PE-SYNTH-004"


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "cv2" else object())
    with pytest.raises(EnvironmentFault, match=r"\.whl\[train\]"):
        synthesize("ultrasound", tmp_path / "set", 2, 0)


def test_a_video_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class NoWriter:
        fourcc = staticmethod(cv2.VideoWriter.fourcc)

        def __init__(self, *_: object) -> None: ...

        def isOpened(self) -> bool:  # noqa: N802
            return False

    monkeypatch.setattr(cv2, "VideoWriter", NoWriter)
    with pytest.raises(EnvironmentFault, match="PE-SYNTH-005"):
        synthesize("ultrasound", tmp_path / "set", 2, 0, height_px=64, width_px=64)


def test_the_verb_prints_people_text_or_one_object(tmp_path: Path) -> None:
    size = ["--frames", "2", "--height", "64", "--width", "64", "--no-video"]
    plain = CliRunner().invoke(synth, ["ultrasound", "--out", str(tmp_path / "a"), *size])
    assert plain.exit_code == 0
    assert "1 training and 1 validation frames of 2 scenes written" in plain.stdout
    machine = CliRunner().invoke(synth, ["ultrasound", "--out", str(tmp_path / "a"), *size, "--json"])
    assert machine.exit_code == 0
    record = json.loads(machine.stdout)
    assert record["reused"] is True
    assert record["video"] is None
    assert record["train_frames"] == 1


def test_every_identifier_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/errors/SYNTH.md").read_text()
    for number in range(1, 6):
        assert f"| PE-SYNTH-{number:03d} |" in page
