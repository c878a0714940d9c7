"""`physedge synth KIND`: a synthetic data set with exact truth, every kind with options of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physedge.cli.console import emit, progress, say
from physedge.cli.options import JsonOption, SeedOption
from physedge.cli.synth_eit import eit
from physedge.cli.synth_tumour import tumour

if TYPE_CHECKING:
    from physedge.data.synthesis import SynthesisSummary


synth = typer.Typer(
    help="Draw or simulate a data set by its physics, with exact truth; the same seed gives the same bytes.",
    no_args_is_help=True,
)


def _scenes(kind: str) -> Callable[..., None]:
    """The command that draws one kind of scene."""

    def draw(
        out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the data set; new or empty.")],
        frames: Annotated[int, typer.Option("--frames", help="Frames of train and val together.")] = 1000,
        seed: SeedOption = 0,
        height: Annotated[int, typer.Option("--height", help="Picture height in pixels, even.")] = 480,
        width: Annotated[int, typer.Option("--width", help="Picture width in pixels, even.")] = 640,
        val_fraction: Annotated[
            float, typer.Option("--val-fraction", help="Share of the scenes that validate, 0 to 0.9.")
        ] = 0.2,
        video: Annotated[bool, typer.Option("--video/--no-video", help="A film of at most 300 frames besides.")] = True,
        json_output: JsonOption = False,
    ) -> None:
        from physedge.data.synthesis import LONGEST_VIDEO_FRAMES
        from physedge.data.synthesize import synthesize

        total = frames + video * min(frames, LONGEST_VIDEO_FRAMES)
        with progress(f"Drawing {kind} scenes", total) as advance:
            summary = synthesize(
                kind,
                out,
                frames,
                seed,
                val_fraction=val_fraction,
                height_px=height,
                width_px=width,
                video=video,
                progress=advance,
            )
        say(*_sentences(summary), json_output=json_output)
        emit(as_json(summary), json_output)

    return draw


for _kind in ("ultrasound", "endoscopy"):
    synth.command(_kind, help=f"Draw {_kind} scenes: pictures, exact masks, and a video.")(_scenes(_kind))
synth.command("eit")(eit)
synth.command("tumour")(tumour)


def _sentences(summary: SynthesisSummary) -> list[str]:
    verb = "already there" if summary.reused else "written"
    lines = [
        f"{summary.train_frames} training and {summary.val_frames} validation frames of {summary.scenes} scenes "
        f"{verb}: {summary.out}"
    ]
    if summary.video:
        lines.append(f"video of {summary.video_frames} frames: {summary.video}")
    return lines


def as_json(summary: SynthesisSummary) -> dict[str, object]:
    """The summary as a machine reads it."""
    return {
        "schema_version": 1,
        "out": str(summary.out),
        "kind": summary.request.kind,
        "seed": summary.request.seed,
        "height_px": summary.request.height_px,
        "width_px": summary.request.width_px,
        "train_frames": summary.train_frames,
        "val_frames": summary.val_frames,
        "scenes": summary.scenes,
        "frames_without_lesion": summary.frames_without_lesion,
        "video": str(summary.video) if summary.video else None,
        "video_frames": summary.video_frames,
        "reused": summary.reused,
    }
