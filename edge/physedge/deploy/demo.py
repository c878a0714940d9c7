"""The main job in one go on synthetic scenes: data, INT8 with a verdict, a stream, pictures to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physedge.deploy.export import ExportOptions, ExportReport, export
from physedge.deploy.network import demo_network
from physedge.deploy.progress import Progress, no_progress
from physedge_calibrate.sampling import DEFAULT_COUNT
from physedge_runtime.bundle import read_bundle
from physedge_runtime.engines import ENGINES
from physedge_runtime.errors import missing_extra
from physedge_runtime.stream.streamed import StreamedFrame
from physedge_runtime.stream.summary import StreamSummary

KIND = "endoscopy"
# Another seed than the demo model was trained, chosen or tested with: none of these scenes is known to it.
SCENE_SEED = 4
# Scenes without a lesion score 0 or 1, nothing between, so the drop scatters: the gate asks for about 200 frames.
VAL_FRAMES = 220
DATA_FRAMES, SEQUENCE_FRAMES = VAL_FRAMES + DEFAULT_COUNT, 4
DATA_HEIGHT_PX, DATA_WIDTH_PX = 256, 320
HEIGHT_PX, WIDTH_PX = 384, 480
_SHEET_ROWS, _SHEET_COLUMNS = 3, 4
_SHEET_GAP_PX = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What the demo made.

    Attributes:
        export: The bundle and its verdict.
        summary: Of the stream.
        overlay_video: The film with the overlay.
        contact_sheet: A PNG of frames from it.
        results: One JSON object a frame.
    """

    export: ExportReport
    summary: StreamSummary
    overlay_video: Path
    contact_sheet: Path
    results: Path


def run_demo(
    folder: Path,
    *,
    frames: int = 300,
    threads: int | None = None,
    progress: Progress = no_progress,
    on_item: Callable[[StreamedFrame], object] = lambda _item: None,
) -> DemoReport:
    """Draw scenes, export the built-in model with INT8 and a verdict, stream a film through the bundle.

    Args:
        folder: Takes everything; scenes that are there already are used again.
        frames: Of the film.
        threads: Of the engines.
        progress: As for `export`.
        on_item: Called with everything that leaves the stream.

    Raises:
        EnvironmentFault: OpenCV is not installed (`PE-ENV-001`).
        GateFailed: The bundle was not accepted (`PE-BUNDLE-012`).
    """
    data, film = _scenes(folder, frames, progress)
    report = export(
        ExportOptions(
            target="openvino" if ENGINES["openvino"].is_installed else "onnxruntime",
            precision="int8",
            calibration=data,
            data=data,
            output=folder / f"{demo_network().spec.name}.physedge",
            threads=threads,
        ),
        progress,
        network=demo_network(),
    )
    overlay_video, results = folder / "overlay.mp4", folder / "results.jsonl"
    summary = _stream(report.bundle, film, frames, threads, (overlay_video, results), progress, on_item)
    sheet = folder / "contact_sheet.png"
    write_contact_sheet(overlay_video, sheet)
    return DemoReport(export=report, summary=summary, overlay_video=overlay_video, contact_sheet=sheet, results=results)


def _scenes(folder: Path, frames: int, progress: Progress) -> tuple[Path, Path]:
    from physedge.data.scene_files import write_video
    from physedge.data.synthesis import SynthesisRequest
    from physedge.data.synthesize import synthesize

    data, film = folder / "data", folder / "film"
    with progress("drawing synthetic endoscopy for calibration and verdict", DATA_FRAMES) as advance:
        synthesize(
            KIND,
            data,
            DATA_FRAMES,
            SCENE_SEED,
            val_fraction=VAL_FRAMES / DATA_FRAMES,
            sequence_length=SEQUENCE_FRAMES,
            height_px=DATA_HEIGHT_PX,
            width_px=DATA_WIDTH_PX,
            video=False,
            progress=lambda count: [advance() for _ in range(count)],
        )
    video = film / "video.mp4"
    if not video.is_file():
        film.mkdir(parents=True, exist_ok=True)
        request = SynthesisRequest(
            kind=KIND,
            frames=frames,
            seed=SCENE_SEED + 1,
            val_fraction=0.0,
            sequence_length=1,
            height_px=HEIGHT_PX,
            width_px=WIDTH_PX,
            video=True,
        )
        with progress("filming a synthetic scene", frames) as advance:
            write_video(
                KIND,
                [request.scene_seed(number) for number in range(16)],
                film,
                frames,
                HEIGHT_PX,
                WIDTH_PX,
                lambda count: [advance() for _ in range(count)],
            )
    return data, video


def _stream(
    bundle: Path,
    film: Path,
    frames: int,
    threads: int | None,
    outputs: tuple[Path, Path],
    progress: Progress,
    on_item: Callable[[StreamedFrame], object],
) -> StreamSummary:
    from physedge_runtime.output_file import Existing
    from physedge_runtime.sinks.table import open_sink
    from physedge_runtime.stream.loop import stream

    overlay_video, results = outputs
    texts = (f"video:{overlay_video}", f"jsonl:{results}")  # the folder is the demo's own
    sinks = [open_sink(text, existing=Existing.OVERWRITE) for text in texts]
    with (
        read_bundle(bundle).open(threads=threads) as net,
        progress(f"streaming {frames} frames", frames) as advance,
        stream(net, film, frames=frames, sinks=sinks) as running,
    ):
        for item in running.frames():
            on_item(item)
            if item.frame is not None:
                advance()
    return running.summary()


def write_contact_sheet(video: Path, path: Path) -> None:
    """Write a PNG with frames of a video, evenly spaced, row by row.

    Raises:
        EnvironmentFault: OpenCV or PyAV is not installed (`PE-ENV-001`).
    """
    from physedge_runtime.sources.video import VideoDecoder, decoded_pictures

    try:
        import cv2
    except ImportError as error:
        raise missing_extra("opencv-python-headless", "camera") from error
    decoder = VideoDecoder(video)
    count = decoder.pictures or 1
    decoder.close()
    wanted = set(np.linspace(0, count - 1, _SHEET_ROWS * _SHEET_COLUMNS).round().astype(int).tolist())
    gap = ((0, _SHEET_GAP_PX), (0, _SHEET_GAP_PX), (0, 0))
    tiles = [
        np.pad(picture.pixels, gap, constant_values=255)
        for picture in decoded_pictures(video)
        if picture.number in wanted
    ]
    while len(tiles) % _SHEET_COLUMNS:
        tiles.append(np.full_like(tiles[0], 255))
    rows = [np.hstack(tiles[start : start + _SHEET_COLUMNS]) for start in range(0, len(tiles), _SHEET_COLUMNS)]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.vstack(rows)[:, :, ::-1])
