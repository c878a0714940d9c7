"""Every sink in one table; a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from physedge_runtime.errors import UsageError
from physedge_runtime.output_file import Existing, numbered
from physedge_runtime.sinks.base import FileSink, Sink
from physedge_runtime.sinks.dicom import DicomSegmentationSink
from physedge_runtime.sinks.igtl import parse_igtl
from physedge_runtime.sinks.jsonl import JsonLinesSink
from physedge_runtime.sinks.metrics import parse_metrics
from physedge_runtime.sinks.mqtt import parse_mqtt
from physedge_runtime.sinks.serve import parse_serve
from physedge_runtime.sinks.video import VideoSink
from physedge_runtime.stream.names import topic_part


@dataclass(frozen=True, slots=True)
class SinkKind:
    """One line of the table.

    Attributes:
        written: How people write it: `NAME:` and what it needs to know.
        make: The sink of what stands after the colon, not yet open.
        apart: What stands after the colon for the second stream of a process, the third ...
        is_named: Whether a name that the stream was given sets it apart instead of its number.
    """

    written: str
    make: Callable[[str], Sink]
    apart: Callable[[str, int], str]
    is_named: bool = False


def _other_file(rest: str, number: int) -> str:
    return str(numbered(Path(rest), number))


def _other_port(rest: str, number: int) -> str:
    host, separator, port = rest.rpartition(":")
    is_free_choice = not port.isdecimal() or int(port) == 0
    return rest if is_free_choice else f"{host}{separator}{int(port) + number - 1}"


def _other_topic(rest: str, number: int) -> str:
    return f"{rest}/{number}"


SINKS: dict[str, SinkKind] = {
    "jsonl": SinkKind("jsonl:FILE", lambda rest: JsonLinesSink(Path(rest)), _other_file),
    "dicom": SinkKind("dicom:FILE.dcm", lambda rest: DicomSegmentationSink(Path(rest)), _other_file),
    "igtl": SinkKind("igtl:PORT", parse_igtl, _other_port),
    "metrics": SinkKind("metrics:PORT", parse_metrics, _other_port),
    "mqtt": SinkKind("mqtt://HOST/TOPIC", parse_mqtt, _other_topic, is_named=True),
    "mqtts": SinkKind("mqtts://HOST/TOPIC", lambda rest: parse_mqtt(f"mqtts:{rest}"), _other_topic, is_named=True),
    "serve": SinkKind("serve:PORT", parse_serve, _other_port),
    "video": SinkKind("video:FILE.mp4", lambda rest: VideoSink(Path(rest)), _other_file),
}


def sink_text(text: str, number: int, *, stream_name: str = "") -> str:
    """How the same sink is written for the stream of this number, counted from 1, so that streams do not collide.

    A name that the stream was given is the last level of its topics.

    Example:
        >>> [sink_text(text, 2) for text in ("jsonl:out.jsonl", "serve:8080", "mqtt://host/topic")]
        ['jsonl:out-2.jsonl', 'serve:8081', 'mqtt://host/topic/2']
        >>> sink_text("mqtt://host/topic", 2, stream_name="left")
        'mqtt://host/topic/left'
    """
    name, separator, rest = text.partition(":")
    kind = SINKS.get(name)
    if kind is None or not rest:
        return text
    if kind.is_named and stream_name:
        return f"{text}/{topic_part(stream_name)}"
    return text if number == 1 else f"{name}{separator}{kind.apart(rest, number)}"


def open_sink(text: str, *, existing: Existing = Existing.NUMBER) -> Sink:
    """The sink that a text names, as after `--sink`; it is opened by the stream that writes to it.

    Args:
        text: `NAME:` and what the sink needs to know.
        existing: What becomes of a file that stands where a file is to be written.

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
    sink = kind.make(rest)
    if isinstance(sink, FileSink):
        sink.output.existing = existing
    return sink
