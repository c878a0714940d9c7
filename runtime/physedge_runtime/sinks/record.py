"""One thing that left a stream as plain values: the line of `jsonl`, the message of `mqtt`. `docs/results_jsonl.md`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.results import Classification, Reconstruction, Result, Segmentation, Signal, Trust
from physedge_runtime.sinks.measure import Region, regions
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo, Withdrawal
from physedge_runtime.text import one_line

SCHEMA_VERSION = 1
_NS_PER_US = 1000


def describe_stream(info: StreamInfo, utc: str) -> dict[str, Any]:
    """The first line: what streams."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "stream",
        "utc": utc,
        "stream": stream_name(info),
        "source": one_line(info.source),
        "notes": [one_line(note) for note in info.notes],
        "live": info.live,
        "period_ms": None if info.period_ns is None else _short(info.period_ns / 1e6),
        "bundle": info.bundle,
        "bundle_trust": info.bundle_trust,
        "engine": info.engine,
        "classes": list(info.classes),
        "max_age_ms": info.max_age_ms,
    }


def describe(item: StreamedFrame, info: StreamInfo, utc: str) -> dict[str, Any]:
    """One picture with its answer or the reason why there is none (`frame`), or a change of state (`state`)."""
    frame = item.frame
    return {
        "kind": "state" if frame is None else "frame",
        "stream": stream_name(info),
        "frame_id": None if frame is None else frame.frame_id,
        "name": None if frame is None else one_line(frame.name) or None,
        "part": None if frame is None else one_line(frame.part) or None,
        "captured_us": item.captured_ns // _NS_PER_US,
        "source_us": _microseconds(None if frame is None else frame.source_stamp_ns),
        "position_us": _microseconds(None if frame is None else frame.position_ns),
        "at_us": item.at_ns // _NS_PER_US,
        "utc": utc,
        "age_ms": _short(item.age_ms),
        "signal": str(item.signal),
        "reason": one_line(item.reason),
        "answer": None if item.result is None else describe_answer(item.result, info),
        "withdrawn": None if item.withdrawn is None else str(item.withdrawn),
        "withdrawn_text": one_line(item.withdrawn_text),
        "trust": None if item.trust is None else _trust(item.trust),
        "stages": None
        if item.stages is None
        else {
            "queue_ms": _short(item.stages.queue_ms),
            "preprocess_ms": _short(item.stages.preprocess_ms),
            "inference_ms": _short(item.stages.inference_ms),
            "postprocess_ms": _short(item.stages.postprocess_ms),
        },
        "drops": dict(item.drops),
        "damage": dict(item.damage),
        "engine": item.engine,
    }


def describe_end(info: StreamInfo, reason: str) -> dict[str, Any]:
    """The last state of a stream, in the form of a line; it holds whenever it is read, so it has no times."""
    gone = StreamedFrame(
        frame=None,
        signal=Signal.LOST,
        reason=reason,
        withdrawn=Withdrawal.SIGNAL,
        withdrawn_text=f"LOST: {reason}",
        captured_ns=0,
        at_ns=0,
        age_ms=math.nan,
    )
    return {**describe(gone, info, ""), "captured_us": None, "at_us": None, "utc": None}


def stream_name(info: StreamInfo) -> str:
    """What the stream is called in every line, topic, label and page."""
    return one_line(info.name or info.source)


def describe_answer(result: Result, info: StreamInfo) -> dict[str, Any]:
    """The answer without its pixels."""
    match result:
        case Segmentation():
            found = regions(result, info.frame_spec)
            height, width = result.frame_shape
            return {
                "task": "segmentation",
                "frame_size_px": [width, height],
                "regions": {name: _region(region) for name, region in found.items()},
            }
        case Classification():
            probability = zip(result.classes, result.probability, strict=False)
            return {
                "task": "classification",
                "label": result.label,
                "probability": {name: _short(float(value)) for name, value in probability},
                "parameters": {name: _short(value) for name, value in result.parameters.items()},
                "note": result.note,
                "maps": {name: _planes(values) for name, values in result.maps.items()},
                "times_days": [_short(days) for days in result.times_days],
            }
        case Reconstruction():
            return {
                "task": "reconstruction",
                "unit": result.unit,
                "smallest": _short(float(result.image.min())),
                "largest": _short(float(result.image.max())),
                "mean": _short(float(result.image.mean())),
            }
        case _:
            return {"task": "other"}


def _planes(values: NDArray[np.float32]) -> dict[str, Any]:
    """Mean and largest value of each plane of a map (..., row, column)."""
    planes = values.reshape(-1, *values.shape[-2:])
    return {
        "mean": [_short(float(plane.mean())) for plane in planes],
        "largest": [_short(float(plane.max())) for plane in planes],
    }


def _region(region: Region) -> dict[str, Any]:
    return {
        "area_fraction": _short(region.area_fraction),
        "centroid_px": None if region.centroid_px is None else [round(value, 2) for value in region.centroid_px],
        "box_px": None if region.box_px is None else list(region.box_px),
        "largest_probability": _short(region.largest_probability),
    }


def _trust(trust: Trust) -> dict[str, Any]:
    return {
        "state": str(trust.state),
        "reason": trust.reason,
        "signals": {name: _short(value) for name, value in trust.signals.items()},
        "places": trust.places,
    }


def _microseconds(time_ns: int | None) -> int | None:
    return None if time_ns is None else time_ns // _NS_PER_US


def _short(value: float) -> float | None:
    """Six significant digits; JSON has no word for what is no number."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
