"""Answers over OpenIGTLink: 3D Slicer and others connect to us and receive for each picture two messages.

    IMAGE   `physedge_mask`    labels at the frame's size, uint8; all 0 where there is no answer
    STRING  `physedge_state`   the JSON object of `docs/results_jsonl.md`

The messages are pyigtl's, the server is ours: pyigtl's takes over the process's signal handlers.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import missing_extra
from physedge_runtime.frame_mask import labels_on_frame
from physedge_runtime.results import Segmentation
from physedge_runtime.sinks.address import listen, parse_listen_address
from physedge_runtime.sinks.jsonl import utc_now
from physedge_runtime.sinks.record import describe
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo

_ACCEPT_WAIT_S = 0.2
_SEND_TIMEOUT_S = 0.5
_JOIN_S = 5.0
_MOST_CLIENTS = 8
_NS_PER_S = 1e9


class IgtlSink:
    """Listens for OpenIGTLink clients and sends each of them every answer.

    Args:
        host: Address to listen on.
        port: 0 for a free one.

    Attributes:
        port: The one it listens on, once open.
    """

    def __init__(self, host: str, port: int) -> None:
        self.name = f"igtl on port {port}"
        self.port = port
        self._host = host
        self._listening: socket.socket | None = None
        self._clients: list[socket.socket] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._info: StreamInfo | None = None
        self._shape = (1, 1)

    def open(self, info: StreamInfo) -> None:
        """Start to listen.

        Raises:
            UsageError: The port is taken (`PE-SINK-005`).
            EnvironmentFault: pyigtl is not installed (`PE-ENV-001`).
        """
        try:
            import pyigtl  # noqa: F401
        except ImportError as error:
            raise missing_extra("pyigtl", "igtl") from error
        self._info = info
        self._listening = listen(self._host, self.port, scheme="igtl")
        self._listening.settimeout(_ACCEPT_WAIT_S)
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="physedge-igtl", daemon=True)
        self._thread.start()

    def write(self, item: StreamedFrame) -> None:
        """Send one thing to every client; one that is gone or does not take it in time is dropped."""
        with self._lock:
            clients = list(self._clients)
        if item.frame is not None and item.frame.pixels.ndim >= 2:
            self._shape = (item.frame.pixels.shape[0], item.frame.pixels.shape[1])
        if not clients:
            return
        message = self._messages(item)
        for client in clients:
            try:
                client.sendall(message)
            except OSError:
                with self._lock, contextlib.suppress(ValueError):
                    self._clients.remove(client)
                client.close()

    def close(self) -> None:
        """Disconnect everybody and stop listening."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
            self._thread = None
        with self._lock:
            for client in self._clients:
                client.close()
            self._clients.clear()
        if self._listening is not None:
            self._listening.close()

    def _messages(self, item: StreamedFrame) -> bytes:
        from pyigtl import ImageMessage, StringMessage

        assert self._info is not None
        stamp = item.frame.source_stamp_ns if item.frame is not None else None
        stamp_s = (item.captured_ns if stamp is None else stamp) / _NS_PER_S
        labels = self._labels(item)[np.newaxis]
        state = json.dumps(describe(item, self._info, utc_now()), allow_nan=False)
        messages: list[Any] = [
            ImageMessage(labels, device_name="physedge_mask", timestamp=stamp_s),
            StringMessage(state, device_name="physedge_state", timestamp=stamp_s),
        ]
        return b"".join(message.pack() for message in messages)

    def _labels(self, item: StreamedFrame) -> NDArray[np.uint8]:
        result = item.result
        if not isinstance(result, Segmentation):
            return np.zeros(self._shape, np.uint8)
        assert self._info is not None
        return labels_on_frame(result, self._info.frame_spec)

    def _accept(self) -> None:
        assert self._listening is not None
        while not self._closing.is_set():
            try:
                client, _ = self._listening.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            client.settimeout(_SEND_TIMEOUT_S)
            with self._lock:
                if len(self._clients) < _MOST_CLIENTS:
                    self._clients.append(client)
                else:
                    client.close()


def parse_igtl(text: str) -> IgtlSink:
    """The sink for `igtl:PORT` or `igtl:HOST:PORT`."""
    host, port = parse_listen_address(text, scheme="igtl")
    return IgtlSink(host, port)
