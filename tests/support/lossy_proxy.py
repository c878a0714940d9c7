"""A relay between an RTSP client and its server that loses some of the RTP packets, as a bad network does.

RTP runs interleaved in the RTSP connection: `$`, a channel, a length, the packet; between them stand RTSP's own texts.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def lossy_proxy(port: int, is_lost: Callable[[int], bool]) -> Iterator[int]:
    """A relay to a port of this machine; gives its own port.

    Args:
        port: Of the server.
        is_lost: Whether the n-th RTP packet of channel 0 is lost, counted from 0 in each connection.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            connections.extend((client, server))
            for run in (lambda: _relay(client, server), lambda: _relay_losing(server, client, is_lost)):  # noqa: B023
                threads.append(threading.Thread(target=run))
                threads[-1].start()

    accepting = threading.Thread(target=serve)
    accepting.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in threads:
            thread.join()


def _relay(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _relay_losing(source: socket.socket, target: socket.socket, is_lost: Callable[[int], bool]) -> None:
    waiting, count = b"", 0
    with suppress(OSError):
        while data := source.recv(65536):
            waiting += data
            while size := _size_of_next(waiting):
                part, waiting = waiting[:size], waiting[size:]
                is_picture = part[:2] == b"$\x00"
                count += is_picture
                if not (is_picture and is_lost(count - 1)):
                    target.sendall(part)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _size_of_next(waiting: bytes) -> int:
    """Bytes of the packet or text that stands in front; 0 where it is not there yet."""
    if waiting[:1] == b"$":
        size = 4 + int.from_bytes(waiting[2:4], "big")
        return size if len(waiting) >= max(4, size) else 0
    head, end, _ = waiting.partition(b"\r\n\r\n")
    if not end:
        return 0
    length = re.search(rb"(?im)^content-length: *(\d+)", head)
    size = len(head) + 4 + (int(length[1]) if length else 0)
    return size if len(waiting) >= size else 0
