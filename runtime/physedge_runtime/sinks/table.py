"""Every sink in one table; a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from physedge_runtime.errors import UsageError
from physedge_runtime.sinks.base import Sink
from physedge_runtime.sinks.dicom import DicomSegmentationSink
from physedge_runtime.sinks.igtl import parse_igtl
from physedge_runtime.sinks.jsonl import JsonLinesSink
from physedge_runtime.sinks.metrics import parse_metrics
from physedge_runtime.sinks.mqtt import parse_mqtt
from physedge_runtime.sinks.serve import parse_serve
from physedge_runtime.sinks.video import VideoSink


@dataclass(frozen=True, slots=True)
class SinkKind:
    """One line of the table.

    Attributes:
        written: How people write it: `NAME:` and what it needs to know.
        make: The sink of what stands after the colon, not yet open.
    """

    written: str
    make: Callable[[str], Sink]


SINKS: dict[str, SinkKind] = {
    "jsonl": SinkKind("jsonl:FILE", lambda rest: JsonLinesSink(Path(rest))),
    "dicom": SinkKind("dicom:FILE.dcm", lambda rest: DicomSegmentationSink(Path(rest))),
    "igtl": SinkKind("igtl:PORT", parse_igtl),
    "metrics": SinkKind("metrics:PORT", parse_metrics),
    "mqtt": SinkKind("mqtt://HOST/TOPIC", parse_mqtt),
    "mqtts": SinkKind("mqtts://HOST/TOPIC", lambda rest: parse_mqtt(f"mqtts:{rest}")),
    "serve": SinkKind("serve:PORT", parse_serve),
    "video": SinkKind("video:FILE.mp4", lambda rest: VideoSink(Path(rest))),
}


def open_sink(text: str) -> Sink:
    """The sink that a text names, as after `--sink`; it is opened by the stream that writes to it.

    Raises:
        UsageError: No sink is written so (`PE-SINK-002`).
    """
    name, separator, rest = text.partition(":")
    kind = SINKS.get(name)
    if kind is None or not separator or not rest:
        raise UsageError(
            "PE-SINK-002",
            found=f"a sink written as '{name}'",
            expected=" | ".join(kind.written for kind in SINKS.values()),
            next_step="correct --sink",
        )
    return kind.make(rest)
