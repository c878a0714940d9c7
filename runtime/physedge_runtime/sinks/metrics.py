"""Counters and times for Prometheus, on a port of this machine unless another address is named.

The label `stream` is the stream's name.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from physedge_runtime.errors import missing_extra
from physedge_runtime.results import Signal, TrustState
from physedge_runtime.sinks.address import listen, parse_listen_address
from physedge_runtime.sinks.record import stream_name
from physedge_runtime.sources.base import DAMAGE_KINDS
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo
from physedge_runtime.text import one_line

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.033, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)
_JOIN_S = 5.0


class MetricsSink:
    """Serves `http://HOST:PORT/metrics`.

    Args:
        host: Address to listen on.
        port: 0 for a free one.

    Attributes:
        port: The one it listens on, once open.
    """

    def __init__(self, host: str, port: int) -> None:
        self.name = f"metrics on port {port}"
        self.port = port
        self._host = host
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None
        self._metrics: _Metrics | None = None

    def open(self, info: StreamInfo) -> None:
        """Start to serve.

        Raises:
            UsageError: The port is taken (`PE-SINK-005`).
            EnvironmentFault: prometheus-client is not installed (`PE-ENV-001`).
        """
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError as error:
            raise missing_extra("prometheus-client", "metrics") from error
        with listen(self._host, self.port, scheme="metrics") as probe:
            self.port = probe.getsockname()[1]
        registry = CollectorRegistry()
        self._metrics = _Metrics(registry, info)
        self._server, self._thread = start_http_server(self.port, addr=self._host, registry=registry)

    def write(self, item: StreamedFrame) -> None:
        """Count one thing."""
        assert self._metrics is not None
        self._metrics.count(item)

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(_JOIN_S)
            self._server = None


class _Metrics:
    def __init__(self, registry: Any, info: StreamInfo) -> None:
        from prometheus_client import Counter, Gauge, Histogram, Info

        self._stream = stream_name(info)

        def labels(*more: str) -> list[str]:
            return ["stream", *more]

        self._pictures = Counter("physedge_pictures", "Pictures passed on", labels(), registry=registry)
        self._answers = Counter("physedge_answers", "Answers shown", labels("trust"), registry=registry)
        withheld = "Answers withheld or taken back"
        self._withdrawn = Counter("physedge_withdrawn", withheld, labels("cause"), registry=registry)
        self._drops = Gauge("physedge_drops", "Frames not passed on so far", labels("cause"), registry=registry)
        packets = "Damaged packets and pictures so far"
        self._damage = Gauge("physedge_damage", packets, labels("kind"), registry=registry)
        for kind in DAMAGE_KINDS:
            self._damage.labels(self._stream, kind).set(0)
        self._signal = Gauge("physedge_signal", "1 for the present state", labels("state"), registry=registry)
        shown = "Age of answers shown"
        self._age = Histogram("physedge_age_seconds", shown, labels(), buckets=_SECONDS, registry=registry)
        where = "Where the time goes"
        self._stage = Histogram("physedge_stage_seconds", where, labels("stage"), buckets=_SECONDS, registry=registry)
        self._pictures.labels(self._stream)
        self._age.labels(self._stream)
        for trust in TrustState:
            self._answers.labels(self._stream, str(trust))
        self._show_signal(Signal.RECOVERING)
        live = str(info.live).lower()
        about = Info("physedge_stream", "What streams", labels(), registry=registry)
        told = {"source": one_line(info.source), "engine": info.engine, "bundle": info.bundle, "live": live}
        about.labels(self._stream).info(told)

    def count(self, item: StreamedFrame) -> None:
        if item.frame is not None:
            self._pictures.labels(self._stream).inc()
        if item.result is not None:
            self._answers.labels(self._stream, str(item.result.trust.state)).inc()
            self._age.labels(self._stream).observe(item.age_ms / 1000)
        if item.withdrawn is not None:
            self._withdrawn.labels(self._stream, str(item.withdrawn)).inc()
        if item.stages is not None:
            stages = item.stages
            for name, time_ms in (
                ("queue", stages.queue_ms),
                ("preprocess", stages.preprocess_ms),
                ("inference", stages.inference_ms),
                ("postprocess", stages.postprocess_ms),
            ):
                self._stage.labels(self._stream, name).observe(time_ms / 1000)
        for cause, count in item.drops.items():
            self._drops.labels(self._stream, cause).set(count)
        for kind, count in item.damage.items():
            self._damage.labels(self._stream, kind).set(count)
        self._show_signal(item.signal)

    def _show_signal(self, present: Signal) -> None:
        for signal in Signal:
            self._signal.labels(self._stream, str(signal)).set(signal is present)


def parse_metrics(text: str) -> MetricsSink:
    """The sink for `metrics:PORT` or `metrics:HOST:PORT`."""
    host, port = parse_listen_address(text, scheme="metrics")
    return MetricsSink(host, port)
