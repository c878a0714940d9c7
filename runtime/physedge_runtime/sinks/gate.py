"""How many connections a page holds, and for how long: counted at the socket, before TLS or a request is read.

A peer that opens many connections, sends its request byte by byte, stops in the middle of the TLS handshake or does not
read what it asked for would otherwise keep everybody else from the page, and take file descriptors from the cameras.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

_LOOKS_PER_LIMIT = 10
_LONGEST_SLEEP_S = 1.0
_IPV6_NETWORK_BITS = 64
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"
    b"Too many connections look at this page.\n"
)
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_Application = Callable[[_Message, _Receive, _Send], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What a page allows.

    Attributes:
        connections: At a time, in all.
        per_peer: At a time from one address; of IPv6 from one network of 64 bits, which one machine may fill.
        request_s: From the opening of a connection, or from its last answer, until the next answer has been sent.
    """

    connections: int = 128
    per_peer: int = 32
    request_s: float = 15.0


class Gate(socket.socket):
    """A listening socket that hands out no more connections than the limits allow, and ends those that are slow.

    Args:
        listening: Taken over; do not use it any more.
        limits: What is allowed.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        listening: socket.socket,
        limits: ConnectionLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        family, kind, protocol = listening.family, listening.type, listening.proto
        super().__init__(family, kind, protocol, fileno=listening.detach())
        self._limits = limits or ConnectionLimits()
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[tuple[str, int], _Connection] = {}
        self._per_peer: Counter[str] = Counter()

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection.

        Raises:
            ConnectionAbortedError: It was one too many and is closed again; a server goes on to the next.
        """
        plain, address = super().accept()
        peer = _peer(address[0])
        with self._lock:
            if len(self._open) < self._limits.connections and self._per_peer[peer] < self._limits.per_peer:
                connection = _Connection(plain, self, (str(address[0]), int(address[1])), self._clock())
                self._open[connection.client] = connection
                self._per_peer[peer] += 1
                return connection, address
        with contextlib.suppress(OSError), plain:
            plain.setblocking(False)
            plain.send(_BUSY)
        raise ConnectionAbortedError("too many connections")

    def answered(self, client: tuple[str, int]) -> None:
        """An answer has gone out to this address and port: its time starts anew."""
        with self._lock:
            if (connection := self._open.get(client)) is not None:
                connection.since_s = self._clock()

    def end_slow(self) -> None:
        """End every connection that has not got through a request in time."""
        now_s = self._clock()
        with self._lock:
            slow = [one for one in self._open.values() if now_s - one.since_s > self._limits.request_s]
        for connection in slow:
            with contextlib.suppress(OSError):  # it has gone by itself
                connection.shutdown(socket.SHUT_RDWR)

    async def watch(self) -> None:
        """Look for slow connections until cancelled."""
        while True:
            await asyncio.sleep(min(_LONGEST_SLEEP_S, self._limits.request_s / _LOOKS_PER_LIMIT))
            self.end_slow()

    def forget(self, connection: _Connection) -> None:
        """A connection of this gate is closed."""
        with self._lock:
            if self._open.pop(connection.client, None) is not None:
                peer = _peer(connection.client[0])
                self._per_peer[peer] -= 1
                self._per_peer += Counter()  # forgets those without any, or the table grows for ever


class _Connection(socket.socket):
    """A connection that tells its gate when it is closed."""

    def __init__(self, plain: socket.socket, gate: Gate, client: tuple[str, int], since_s: float) -> None:
        family, kind, protocol = plain.family, plain.type, plain.proto
        super().__init__(family, kind, protocol, fileno=plain.detach())
        self.client = client
        self.since_s = since_s
        self._gate = gate

    def close(self) -> None:
        super().close()
        self._gate.forget(self)


class TimedAnswers:
    """Middleware that tells the gate of every answer that has gone out.

    Args:
        application: What answers.
        gate: What counts the time.
    """

    def __init__(self, application: _Application, gate: Gate) -> None:
        self._application, self._gate = application, gate

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        await self._application(scope, receive, send)
        if client := scope.get("client"):
            self._gate.answered((client[0], client[1]))


def _peer(host: str) -> str:
    """Who counts as one: an address, of IPv6 its network."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_NETWORK_BITS), strict=False))
