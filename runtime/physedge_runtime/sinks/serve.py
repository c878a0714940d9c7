"""A page in the browser: the picture with its answer, age, stages, health, trust and drops.

Bound to this machine unless another address is named; then a token is needed, which stands in the address that is
printed. Picture and state travel in one message, so that what is written beside a picture belongs to it. The page says
so itself where messages stop coming: a frozen browser must not look like a quiet patient.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physedge_runtime.errors import missing_extra
from physedge_runtime.sinks.address import is_loopback, listen, parse_listen_address
from physedge_runtime.sinks.jsonl import utc_now
from physedge_runtime.sinks.overlay import Overlay
from physedge_runtime.sinks.record import describe, describe_stream
from physedge_runtime.sources.opencv import import_opencv
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_PAGE = Path(__file__).with_name("page.html")
_LONGEST_WAIT_S = 0.5
_JPEG_QUALITY = 88
_RATE_WINDOW_NS = 2_000_000_000
_JOIN_S = 5.0
_COOKIE = "physedge_token"


class ServeSink:
    """Serves the stream to browsers.

    Args:
        host: Address to listen on; beyond the loopback a token is needed.
        port: 0 for a free one.
        token: The token; made up where None and one is needed.

    Attributes:
        url: What to open in a browser, once open; with the token where one is needed.
    """

    def __init__(self, host: str, port: int, *, token: str | None = None) -> None:
        self._host, self._port = host, port
        self._token = token or ("" if is_loopback(host) else secrets.token_urlsafe(16))
        self.name = "page in the browser"
        self.url = ""
        self._latest = _Latest()
        self._overlay: Overlay | None = None
        self._info: StreamInfo | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pulse: asyncio.Event | None = None

    def open(self, info: StreamInfo) -> None:
        """Start to serve.

        Raises:
            UsageError: The port is taken (`PE-SINK-005`).
            EnvironmentFault: Starlette, uvicorn or OpenCV is not installed (`PE-ENV-001`).
        """
        try:
            import starlette  # noqa: F401
            import uvicorn
        except ImportError as error:
            raise missing_extra("starlette and uvicorn", "serve") from error
        self._info, self._overlay = info, Overlay(info)
        listening = listen(self._host, self._port, scheme="serve")
        port = listening.getsockname()[1]
        shown_host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{shown_host}:{port}/" + (f"?token={self._token}" if self._token else "")
        self.name = f"page on port {port}"
        config = uvicorn.Config(
            self._application(),
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._serve, args=(listening, started), name="physedge-serve", daemon=True
        )
        self._thread.start()
        started.wait(_JOIN_S)

    def write(self, item: StreamedFrame) -> None:
        """Make this what browsers see; drawing and compressing wait until one asks."""
        assert self._info is not None
        self._latest.put(item, describe(item, self._info, utc_now()))
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_JOIN_S)
            self._server = None

    def _serve(self, listening: socket.socket, started: threading.Event) -> None:
        assert self._server is not None
        server = self._server

        async def run() -> None:
            self._loop, self._pulse = asyncio.get_running_loop(), asyncio.Event()
            started.set()
            await server.serve(sockets=[listening])

        try:
            asyncio.run(run())
        finally:
            listening.close()

    def _wake(self) -> None:
        if self._pulse is not None:
            self._pulse.set()
            self._pulse = asyncio.Event()

    def _application(self) -> Starlette:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.routing import Route

        # A page of another site must not read this one under a name of its own (DNS rebinding).
        middleware = [
            Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]"], www_redirect=False)
        ]
        return Starlette(
            routes=[Route("/", self._page), Route("/next", self._next)],
            middleware=middleware if is_loopback(self._host) else [],
        )

    def _refusal(self, request: Request) -> Response | None:
        from starlette.responses import PlainTextResponse

        given = request.query_params.get("token") or request.cookies.get(_COOKIE, "")
        if self._token and not secrets.compare_digest(given.encode(), self._token.encode()):
            return PlainTextResponse("The address needs its token: ?token=...", status_code=401)
        return None

    async def _page(self, request: Request) -> Response:
        from starlette.responses import HTMLResponse

        if refusal := self._refusal(request):
            return refusal
        assert self._info is not None
        nonce = secrets.token_urlsafe(12)
        about = json.dumps(describe_stream(self._info, utc_now())).replace("<", "\\u003c")
        html = _PAGE.read_text(encoding="utf-8").replace("{{nonce}}", nonce).replace('"{{stream}}"', about)
        rules = f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'"
        response = HTMLResponse(html, headers={"Content-Security-Policy": rules, "Cache-Control": "no-store"})
        if self._token:
            response.set_cookie(_COOKIE, self._token, httponly=True, samesite="strict")
        return response

    async def _next(self, request: Request) -> Response:
        """The next picture after number `after` with its state in a header; without a picture where none is new."""
        from starlette.responses import Response

        if refusal := self._refusal(request):
            return refusal
        after = int(after_text) if (after_text := request.query_params.get("after", "0")).isdecimal() else 0
        if self._latest.number <= after and self._pulse is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._pulse.wait(), _LONGEST_WAIT_S)
        is_new = self._latest.number > after
        plain = request.query_params.get("plain") == "1"
        state, jpeg = await asyncio.to_thread(self._latest.view, self._draw, plain)
        headers = {"X-Physedge": json.dumps(state), "Cache-Control": "no-store"}
        if not is_new or not jpeg:
            return Response(status_code=204, headers=headers)
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    def _draw(self, item: StreamedFrame) -> bytes:
        assert self._overlay is not None
        drawn = self._overlay.draw(item, with_bar=False)
        if drawn is None:
            return b""
        cv2 = import_opencv()
        encoded, data = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        return bytes(data) if encoded else b""


class _Latest:
    """The newest thing that left the stream, its number, and its picture once somebody has asked for it."""

    def __init__(self) -> None:
        self.number = 0
        self._lock = threading.Lock()
        self._drawing = threading.Lock()
        self._item: StreamedFrame | None = None
        self._picture: StreamedFrame | None = None
        self._state: dict[str, Any] = {}
        self._answered_ns: deque[int] = deque(maxlen=512)
        self._pictures = self._answers = 0
        self._jpegs: dict[bool, tuple[int, bytes]] = {}

    def put(self, item: StreamedFrame, described: dict[str, Any]) -> None:
        with self._lock:
            self.number += 1
            self._item = item
            self._pictures += item.frame is not None
            if item.frame is not None:
                self._picture = item
            if item.result is not None:
                self._answers += 1
                self._answered_ns.append(item.at_ns)
            while self._answered_ns and self._answered_ns[0] < item.at_ns - _RATE_WINDOW_NS:
                self._answered_ns.popleft()
            rate = len(self._answered_ns) / (_RATE_WINDOW_NS / 1e9)
            counts = {"number": self.number, "pictures": self._pictures, "answers": self._answers}
            self._state = {**described, **counts, "answers_per_s": rate}

    def view(self, draw: Callable[[StreamedFrame], bytes], plain: bool) -> tuple[dict[str, Any], bytes]:
        """The state and the picture it belongs to, as JPEG; drawn once, however many browsers look on.

        `plain` leaves the answer off. Before anything came the state is empty.
        """
        with self._drawing:
            with self._lock:
                number, item, picture, state = self.number, self._item, self._picture, self._state
            if item is None:
                return {"number": 0}, b""
            cached_number, jpeg = self._jpegs.get(plain, (0, b""))
            if cached_number != number:
                if item.frame is None and picture is not None:  # the overlay need not have seen the last picture
                    item = replace(item, frame=picture.frame)
                jpeg = draw(replace(item, result=None) if plain else item)
                self._jpegs[plain] = (number, jpeg)
            return state, jpeg


def parse_serve(text: str) -> ServeSink:
    """The sink for `serve:PORT` or `serve:HOST:PORT`."""
    host, port = parse_listen_address(text, scheme="serve")
    return ServeSink(host, port)
