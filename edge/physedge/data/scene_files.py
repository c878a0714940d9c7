"""Scenes as files: the frames of a film as PNG pairs, and a film as a video with its masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes import FRAME_RATE_HZ, SCENES, Scene, SceneFrame
from physedge_runtime.errors import EnvironmentFault

# zlib level: noise does not pack better at higher ones, only slower.
_PNG_LEVEL = 2
# A video shows its lesion: at least this share of its first picture.
_LEAST_VIDEO_SHARE = 0.01
# Below this many frames a second process costs more to start than it saves.
_FRAMES_WORTH_A_PROCESS = 120
# Frames of a film that a process draws at a time.
_REEL_FRAMES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceJob:
    """One film's frames to be written; small, since it travels to another process.

    Attributes:
        kind: A key of the table of scenes.
        scene_seed: Seed of the scene.
        name: Start of the file names.
        folder: Holds `images/` and `masks/`.
        indices: Frames of the film that are kept.
        height_px: Picture height.
        width_px: Picture width.
    """

    kind: str
    scene_seed: int
    name: str
    folder: Path
    indices: tuple[int, ...]
    height_px: int
    width_px: int


def write_sequence(job: SequenceJob) -> int:
    """Write a film's frames as PNG pairs; gives the number of frames whose mask is empty."""
    scene = SCENES[job.kind](job.scene_seed, job.height_px, job.width_px)
    empty = 0
    for index in job.indices:
        frame = scene.frame(index)
        name = f"{job.name}_f{index:04d}.png"
        _write_png(job.folder / "images" / name, frame.image)
        _write_png(job.folder / "masks" / name, frame.mask)
        empty += not frame.mask.any()
    return empty


def write_video(
    kind: str,
    scene_seeds: Sequence[int],
    out: Path,
    frames: int,
    height_px: int,
    width_px: int,
    advance: Callable[[int], object],
    processes: int | None = None,
) -> None:
    """Write `video.mp4` (MPEG-4 part 2, lossy) and its exact masks, `video_masks/f0000.png` and on.

    Args:
        kind: A key of the table of scenes.
        scene_seeds: Scenes to choose from: the first that opens on a lesion is filmed.
        out: Folder of both.
        frames: Frames of the video.
        height_px: Picture height, even.
        width_px: Picture width, even.
        advance: Called with 1 after each frame.
        processes: That draw; None takes what is worth it. The bytes are the same.

    Raises:
        EnvironmentFault: The installed OpenCV cannot write this format (`PE-SYNTH-005`).
    """
    import cv2

    scene_seed = _seed_with_lesion(kind, scene_seeds, height_px, width_px)
    masks = out / "video_masks"
    masks.mkdir(exist_ok=True)
    path = out / "video.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), float(FRAME_RATE_HZ), (width_px, height_px))
    if not writer.isOpened():
        raise EnvironmentFault(
            "PE-SYNTH-005",
            found="the installed OpenCV cannot write mp4v video",
            expected="an OpenCV built with FFmpeg, as the wheels from PyPI are",
            next_step="install opencv-python-headless, or leave the video out with --no-video",
        )
    try:
        drawn = _draw((kind, scene_seed, height_px, width_px), frames, processes or worthwhile_processes(frames))
        for index, frame in enumerate(drawn):
            writer.write(np.ascontiguousarray(frame.image[..., ::-1]))
            _write_png(masks / f"f{index:04d}.png", frame.mask)
            advance(1)
    finally:
        writer.release()


def count_files(out: Path) -> int:
    """Pictures, masks and videos of a data set under its root."""
    folders = [out / split / part for split in ("train", "val") for part in ("images", "masks")]
    pictures = sum(len(list(folder.glob("*.png"))) for folder in [*folders, out / "video_masks"])
    return pictures + (out / "video.mp4").is_file()


def worthwhile_processes(frames: int) -> int:
    """Processes that draw so many frames soonest: two at most, and one where few are asked for."""
    import os

    return min(2, os.cpu_count() or 1) if frames >= _FRAMES_WORTH_A_PROCESS else 1


def drawing_pool(processes: int) -> ProcessPoolExecutor:
    """Spawned, not forked: a forked child inherits the locks of every thread that happens to run."""
    from multiprocessing import get_context

    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))


_SceneKey = tuple[str, int, int, int]
"""Kind, scene seed, picture height, picture width."""


def _draw(key: _SceneKey, frames: int, processes: int) -> Iterator[SceneFrame]:
    """The frames of a film in their order, drawn by one process or several."""
    if processes == 1:
        yield from map(_scene(key).frame, range(frames))
        return
    starts = range(0, frames, _REEL_FRAMES)
    with drawing_pool(processes) as pool:
        for reel in pool.map(_reel, [(key, start, min(start + _REEL_FRAMES, frames)) for start in starts]):
            yield from reel


def _reel(job: tuple[_SceneKey, int, int]) -> list[SceneFrame]:
    key, start, stop = job
    return [_scene(key).frame(index) for index in range(start, stop)]


@lru_cache(maxsize=1)
def _scene(key: _SceneKey) -> Scene:
    kind, scene_seed, height_px, width_px = key
    return SCENES[kind](scene_seed, height_px, width_px)


def _seed_with_lesion(kind: str, scene_seeds: Sequence[int], height_px: int, width_px: int) -> int:
    for scene_seed in scene_seeds:
        if np.mean(_scene((kind, scene_seed, height_px, width_px)).frame(0).mask > 0) >= _LEAST_VIDEO_SHARE:
            return scene_seed
    return scene_seeds[0]


def _write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write RGB or grey pixels; a picture whose channels agree is stored as grey."""
    import cv2

    if picture.ndim == 3:
        grey = bool((picture[..., 0] == picture[..., 1]).all() and (picture[..., 1] == picture[..., 2]).all())
        picture = picture[..., 0] if grey else picture[..., ::-1]
    done, data = cv2.imencode(".png", np.ascontiguousarray(picture), [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
    assert done, "PNG takes any uint8 picture"
    path.write_bytes(data.tobytes())
