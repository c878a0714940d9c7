"""Writes data sets of synthetic scenes: whole films on either side of the split, exact masks, and one long video.

    OUT/about.json                                     what was asked for, and what came out
    OUT/train/images/us_s0003_f0006.png                scene 3, frame 6 of its film; the mask has the same name
    OUT/train/masks/us_s0003_f0006.png
    OUT/val/images/... OUT/val/masks/...
    OUT/video.mp4  OUT/video_masks/f0000.png ...       a film of a scene that stands in neither split

The same arguments give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from physedge.data.scene_files import (
    SequenceJob,
    count_files,
    drawing_pool,
    worthwhile_processes,
    write_sequence,
    write_video,
)
from physedge.data.synthesis import SynthesisRequest, SynthesisSummary
from physedge_runtime.errors import UsageError, missing_extra

ABOUT = "about.json"

Advance = Callable[[int], object]


def synthesize(
    kind: str,
    out: Path,
    frames: int,
    seed: int,
    *,
    val_fraction: float = 0.2,
    sequence_length: int = 10,
    height_px: int = 480,
    width_px: int = 640,
    video: bool = True,
    processes: int | None = None,
    progress: Advance | None = None,
) -> SynthesisSummary:
    """Write a data set of synthetic scenes; a folder that already holds exactly this one is left as it is.

    Args:
        kind: "ultrasound" or "endoscopy": a key of the table of scenes.
        out: Root of the data set; new, empty, or made by the same call.
        frames: Frames in both splits together.
        seed: Chooses the scenes; two seeds share none.
        val_fraction: Share of the scenes that validate.
        sequence_length: Frames kept of each scene's film, 1/5 s apart; fewer where only so both splits get a scene.
        height_px: Picture height, even.
        width_px: Picture width, even.
        video: Write a video of at most 300 frames besides.
        processes: Worker processes; two for large sets on machines that have two cores, where None.
            They are spawned: a script that calls this needs the usual `if __name__ == "__main__":`.
        progress: Called with the number of frames that have been finished since the last call.

    Raises:
        UsageError: The kind or a number is out of range (`PE-SYNTH-001`, `PE-SYNTH-002`), the folder holds something
            else (`PE-SYNTH-003`) or cannot be written (`PE-SYNTH-004`).
        EnvironmentFault: OpenCV or SciPy is not installed.
    """
    request = SynthesisRequest(
        kind=kind,
        frames=frames,
        seed=seed,
        val_fraction=val_fraction,
        sequence_length=sequence_length,
        height_px=height_px,
        width_px=width_px,
        video=video,
    )
    _require_packages()
    advance = progress or _ignore
    try:
        earlier = _earlier_result(out, request)
        if earlier is not None:
            advance(frames + request.video_frames)
            return earlier
        return _write(request, out, processes, advance)
    except OSError as error:
        raise UsageError(
            "PE-SYNTH-004",
            found=f"{out} cannot be written ({error.strerror or error})",
            expected="a folder with room and permission to write",
            next_step="choose another folder with --out",
        ) from error


def _write(request: SynthesisRequest, out: Path, processes: int | None, advance: Advance) -> SynthesisSummary:
    out.mkdir(parents=True, exist_ok=True)
    _record(out, request, None)
    jobs = list(request.jobs(out))
    for folder in {job.folder for job in jobs} | {out / "train", out / "val"}:
        for part in ("images", "masks"):
            (folder / part).mkdir(parents=True, exist_ok=True)
    empty = 0
    for job, without_lesion in zip(jobs, _run(jobs, request, processes), strict=True):
        empty += without_lesion
        advance(len(job.indices))
    if request.video:
        write_video(
            request.kind,
            request.video_seeds(),
            out,
            request.video_frames,
            request.height_px,
            request.width_px,
            advance,
            processes,
        )
    val = sum(len(job.indices) for job in jobs if job.folder.name == "val")
    summary = SynthesisSummary(
        out=out,
        request=request,
        train_frames=request.frames - val,
        val_frames=val,
        scenes=len(jobs),
        frames_without_lesion=empty,
        video=out / "video.mp4" if request.video else None,
        video_frames=request.video_frames,
        reused=False,
    )
    _record(out, request, summary)
    return summary


def _run(jobs: list[SequenceJob], request: SynthesisRequest, processes: int | None) -> Iterator[int]:
    """Write every sequence; gives the number of frames without a lesion, in the jobs' order."""
    processes = processes or worthwhile_processes(request.frames)
    if processes == 1:
        yield from map(write_sequence, jobs)
        return
    with drawing_pool(processes) as pool:
        yield from pool.map(write_sequence, jobs)


def _earlier_result(out: Path, request: SynthesisRequest) -> SynthesisSummary | None:
    """The finished data set of the same request in `out`; None where it must be made.

    Raises:
        UsageError: The folder holds something else.
    """
    if not out.is_dir() or not any(out.iterdir()):
        return None
    about = _read_about(out)
    if about is None or about.get("request") != _as_record(request):
        raise UsageError(
            "PE-SYNTH-003",
            found=f"{out} is not empty and was not made by this command",
            expected="a new or empty folder, or one that the same command made",
            next_step="choose another folder with --out, or remove this one",
        )
    result = about.get("result")
    expected = request.frames * 2 + request.video_frames + request.video
    if not isinstance(result, dict) or count_files(out) != expected:
        return None
    return SynthesisSummary(
        out=out,
        request=request,
        video=out / "video.mp4" if request.video else None,
        reused=True,
        **{name: int(result[name]) for name in _COUNTS},
    )


_COUNTS = ("train_frames", "val_frames", "scenes", "frames_without_lesion", "video_frames")


def _as_record(request: SynthesisRequest) -> dict[str, object]:
    return {**asdict(request), "drawn_by_sha256": _drawing_code_sha256()}


def _drawing_code_sha256() -> str:
    """Hash of the code that draws: a folder drawn by other code is another data set."""
    import hashlib

    from physedge.physics import scenes

    digest = hashlib.sha256()
    for path in sorted(Path(str(scenes.__file__)).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _record(out: Path, request: SynthesisRequest, summary: SynthesisSummary | None) -> None:
    """Write `about.json`: first without a result, so that an interrupted set is known for what it is."""
    result = {name: getattr(summary, name) for name in _COUNTS} if summary else None
    text = json.dumps({"schema_version": 1, "request": _as_record(request), "result": result}, indent=2)
    (out / ABOUT).write_text(text + "\n", encoding="utf-8")


def _read_about(out: Path) -> dict[str, object] | None:
    try:
        about = json.loads((out / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) else None


def _require_packages() -> None:
    from importlib.util import find_spec

    for module, package in (("cv2", "opencv-python-headless"), ("scipy", "scipy")):
        if find_spec(module) is None:
            raise missing_extra(package, "train")


def _ignore(_frames: int) -> None:
    """Nobody watches."""
