"""Connections to the page that are slow, or too many: they end, and the page stays there for everybody else."""

from __future__ import annotations

import http.client
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from certificates import write_certificate
from page_browser import INFO, shown, until

from physedge_runtime.sinks.gate import ConnectionLimits, Gate, _peer
from physedge_runtime.sinks.page_access import page_access
from physedge_runtime.sinks.serve import ServeSink

for _module in ("starlette", "uvicorn", "cv2"):
    pytest.importorskip(_module, reason="the extras serve and camera are not installed")


def opened(limits: ConnectionLimits) -> ServeSink:
    sink = ServeSink("127.0.0.1", 0, limits=limits)
    sink.open(INFO)
    sink.write(shown(1))
    return sink


@pytest.fixture
def few() -> Iterator[ServeSink]:
    sink = opened(ConnectionLimits(connections=8, per_peer=4, request_s=60.0))
    yield sink
    sink.close()


@pytest.fixture
def brief() -> Iterator[ServeSink]:
    sink = opened(ConnectionLimits(request_s=0.5))
    yield sink
    sink.close()


def connect(sink: ServeSink) -> socket.socket:
    port = int(sink.url.rstrip("/").rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def is_ended(connection: socket.socket) -> bool:
    """Read until the other side hangs up."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def is_served(sink: ServeSink) -> bool:
    try:
        with urllib.request.urlopen(sink.url, timeout=10) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def test_one_address_may_not_take_every_connection(few: ServeSink) -> None:
    holding = [connect(few) for _ in range(4)]
    try:
        with connect(few) as one_more:
            answer = one_more.recv(4096)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert is_ended(one_more)
        for connection in holding:
            connection.close()
        until(lambda: is_served(few))
    finally:
        for connection in holding:
            connection.close()


def test_connections_are_counted_in_all(few: ServeSink) -> None:
    port = int(few.url.rstrip("/").rpartition(":")[2])
    with ExitStack() as stack:
        for peer in ("127.0.0.1", "127.0.0.2"):
            for _ in range(4):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), 20, source_address=(peer, 0)))
        with socket.create_connection(("127.0.0.1", port), 20, source_address=("127.0.0.3", 0)) as one_more:
            assert one_more.recv(4096).startswith(b"HTTP/1.1 503 ")
    until(lambda: is_served(few))


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n",
    ],
)
def test_a_request_that_does_not_come_to_its_end_is_ended(brief: ServeSink, start: bytes) -> None:
    with connect(brief) as slow:
        slow.sendall(start)
        assert is_ended(slow)
    until(lambda: is_served(brief))


def test_a_request_that_comes_byte_by_byte_is_ended(brief: ServeSink) -> None:
    with connect(brief) as slow:
        ended = threading.Event()

        def drip() -> None:
            for letter in b"GET / HTTP/1.1\r\n" + b"X-Slow: 1\r\n" * 10_000:
                try:
                    slow.sendall(bytes([letter]))
                except OSError:
                    return
                if ended.wait(0.02):
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        assert is_ended(slow)
        ended.set()
        dripping.join()


def test_a_peer_that_does_not_read_its_answers_is_ended(brief: ServeSink) -> None:
    with connect(brief) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(0.2)

        def can_send() -> bool:
            try:
                slow.sendall(b"GET /page.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 64)
            except TimeoutError:
                return True
            except OSError:
                return False
            return True

        until(lambda: not can_send())


def test_who_looks_on_is_not_ended() -> None:
    """One connection, used for longer than a request may take."""
    sink = opened(ConnectionLimits(request_s=2.0))
    port = int(sink.url.rstrip("/").rpartition(":")[2])
    page = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        page.connect()
        first, started = page.sock, time.monotonic()
        while time.monotonic() - started < 3.0:
            page.request("GET", "/next?after=0")
            with page.getresponse() as answer:
                assert answer.status == 200 and answer.read()
            assert page.sock is first, "it was hung up on"
    finally:
        page.close()
        sink.close()


def test_a_head_that_is_too_long_is_refused(few: ServeSink) -> None:
    with connect(few) as long:
        long.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"x" * 40_000)
        assert long.recv(64).startswith(b"HTTP/1.1 4")


def test_a_forwarded_address_is_not_believed(few: ServeSink) -> None:
    """Else whoever says to be somebody else's proxy would not be counted."""
    with connect(few) as page:
        page.sendall(b"GET /next?after=0 HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
        assert page.recv(64).startswith(b"HTTP/1.1 200")
    assert few._server is not None and not few._server.config.proxy_headers


def test_the_gate_counts_and_forgets() -> None:
    now_s = [0.0]
    listening = socket.create_server(("127.0.0.1", 0))
    with Gate(listening, ConnectionLimits(connections=2, per_peer=2, request_s=5.0), clock=lambda: now_s[0]) as gate:
        peers = [socket.create_connection(gate.getsockname(), timeout=10) for _ in range(3)]
        first, _ = gate.accept()
        second, address = gate.accept()
        with pytest.raises(ConnectionAbortedError):
            gate.accept()
        assert peers[2].recv(64).startswith(b"HTTP/1.1 503 ")
        now_s[0] = 4.0
        gate.answered(address)
        now_s[0] = 6.0
        gate.end_slow()
        assert peers[0].recv(1) == b"", "the first is overdue"
        peers[1].setblocking(False)
        with pytest.raises(BlockingIOError):
            peers[1].recv(1)  # the second was answered in time
        first.close()
        first.close()
        peers.append(socket.create_connection(gate.getsockname(), timeout=10))
        third, _ = gate.accept()
        for connection in (second, third, *peers):
            connection.close()
        assert not gate._open and not gate._per_peer


def test_of_ipv6_a_network_counts_as_one() -> None:
    assert _peer("2001:db8::1") == _peer("2001:db8::ffff:1") != _peer("2001:db8:0:1::1")
    assert _peer("::ffff:192.0.2.1") == _peer("192.0.2.1")
    assert _peer("fe80::1%eth0") == _peer("fe80::2")


def test_who_stops_in_the_middle_of_the_handshake_is_ended(tmp_path: Path) -> None:
    access = page_access(tls=write_certificate(tmp_path))
    sink = ServeSink("127.0.0.1", 0, access=access, limits=ConnectionLimits(request_s=0.5))
    sink.open(INFO)
    try:
        with connect(sink) as silent:
            assert is_ended(silent)
    finally:
        sink.close()
