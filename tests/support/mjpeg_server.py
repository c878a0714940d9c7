"""A network camera on the loopback: motion JPEG over HTTP, from the standard library."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import numpy as np

BOUNDARY = b"physedge"


class MjpegCamera:
    """Serves pictures at a steady rate to whoever connects; the moment of sending stands in the pixels.

    Attributes:
        mode: `run`, `freeze` (the same bytes again and again), `black`, `stall` (connected, but silent), `corrupt`
            (half of each picture is missing).
    """

    def __init__(self, *, rate_hz: float = 30.0, size: tuple[int, int] = (480, 640)) -> None:
        self.mode = "run"
        self.size = size
        self._period_s = 1 / rate_hz
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self._alive = threading.Event()
        generator = np.random.default_rng(0)
        self._noise = [generator.integers(60, 180, (*size, 3), np.uint8) for _ in range(4)]
        self._count = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/cam"

    def start(self) -> None:
        """Switch it on; again at the same address after `stop`."""
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera._serve(self)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a reader that goes away is no error

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        self._alive.set()
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        """Pull the plug: connections are closed, the port answers no more."""
        self._alive.clear()
        if self._server is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY.decode()}")
        handler.end_headers()
        due_s = time.monotonic()
        last = b""
        while self._alive.is_set():
            due_s += self._period_s
            threading.Event().wait(max(0.0, due_s - time.monotonic()))
            if self.mode == "stall" or not self._alive.is_set():
                continue
            if self.mode != "freeze" or not last:
                last = self._encode()
            body = last[: len(last) // 2] if self.mode == "corrupt" else last
            head = b"--" + BOUNDARY + b"\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body)
            handler.wfile.write(head + body + b"\r\n")
            handler.wfile.flush()

    def _encode(self) -> bytes:
        import cv2

        if self.mode == "black":
            pixels = np.zeros((*self.size, 3), np.uint8)
        else:
            pixels = self._noise[self._count % len(self._noise)].copy()
            pixels = cv2.blur(pixels, (9, 9))
            write_time(pixels, time.monotonic_ns())
        self._count += 1
        encoded, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])
        assert encoded
        return data.tobytes()


_BITS = 40
_CELL_PX = 16


def write_time(pixels: np.ndarray, now_ns: int) -> None:
    """Put a time into the pixels, in tens of microseconds, as 40 cells of black and white that survive JPEG."""
    ticks = now_ns // 10_000
    for bit in range(_BITS):
        pixels[:_CELL_PX, bit * _CELL_PX : (bit + 1) * _CELL_PX] = 255 if ticks >> bit & 1 else 0


def read_time(pixels: np.ndarray) -> int:
    """The time in the pixels, nanoseconds."""
    ticks = 0
    for bit in range(_BITS):
        cell = pixels[4 : _CELL_PX - 4, bit * _CELL_PX + 4 : (bit + 1) * _CELL_PX - 4]
        ticks |= int(cell.mean() > 127) << bit
    return ticks * 10_000
