"""A page in the browser: the picture with its answer, state and trust; behind a key age, stages, drops and signals.

Bound to this machine unless another address is named; then a token is needed, which stands in the address that is
printed. Picture and state travel in one message, so that what is written beside a picture belongs to it. The page says
so itself where messages stop coming: a frozen browser must not look like a quiet patient.

The page is files of its own (`page/`), the same for every stream. Whatever comes from a stream, a bundle or a file
travels as JSON and becomes text in one place there; the browser is told to run nothing that is not one of these files.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import secrets
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from physedge_runtime.errors import missing_extra
from physedge_runtime.sinks.address import is_loopback, listen, opened_by, parse_listen_address
from physedge_runtime.sinks.gate import ConnectionLimits, Gate, TimedAnswers
from physedge_runtime.sinks.jsonl import utc_now
from physedge_runtime.sinks.overlay import Overlay, class_colours
from physedge_runtime.sinks.page_access import PageAccess
from physedge_runtime.sinks.page_state import PageState
from physedge_runtime.sinks.record import describe, describe_stream
from physedge_runtime.sources.opencv import import_opencv
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_FOLDER = Path(__file__).with_name("page")
_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_LONGEST_WAIT_S = 0.5
_LONGEST_HEAD_BYTES = 16_384
_JPEG_QUALITY = 88
_JOIN_S = 5.0
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class ServeSink:
    """Serves the stream to browsers.

    Args:
        host: Address to listen on; beyond the loopback a token is needed.
        port: 0 for a free one.
        access: Token and certificate; may be set until the sink is opened.
        limits: How many connections, and for how long.

    Attributes:
        url: What to open in a browser, once open; with the token where one is needed.
        urls: The same for every address of this machine, `url` first.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        access: PageAccess | None = None,
        limits: ConnectionLimits | None = None,
    ) -> None:
        self._host, self._port = host, port
        self.access = access or PageAccess()
        self.name = "page in the browser"
        self.url = ""
        self.urls: tuple[str, ...] = ()
        self._limits = limits or ConnectionLimits()
        self._token = ""
        self._state = PageState()
        self._overlay: Overlay | None = None
        self._info: StreamInfo | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pulse: asyncio.Event | None = None

    @property
    def is_only_here(self) -> bool:
        """Whether no other machine reaches the page."""
        return is_loopback(self._host)

    @property
    def is_certified(self) -> bool:
        """Whether the certificate is for the address that `url` names; also where there is none to be shown."""
        host = self.url.partition("://")[2].rpartition(":")[0].strip("[]")
        return self.access.tls is None or host in self.access.names

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
        self._token = self.access.token or ("" if self.is_only_here else secrets.token_urlsafe(16))
        gate = Gate(listen(self._host, self._port, scheme="serve"), self._limits)
        self._port = gate.getsockname()[1]
        self.urls = tuple(self._address(host) for host in opened_by(self._host))
        self.url, self.name = self.urls[0], f"page on port {self._port}"
        config = uvicorn.Config(
            TimedAnswers(self._application(), gate),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # a header must not say who is counted
            h11_max_incomplete_event_size=_LONGEST_HEAD_BYTES,
            timeout_graceful_shutdown=1,
            server_header=False,
        )
        config.load()
        config.ssl = self.access.tls
        self._server = uvicorn.Server(config)
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(gate, started), name="physedge-serve", daemon=True)
        self._thread.start()
        started.wait(_JOIN_S)

    def write(self, item: StreamedFrame) -> None:
        """Make this what browsers see; drawing and compressing wait until one asks."""
        assert self._info is not None
        self._state.put(item, describe(item, self._info, utc_now()))
        self._wake_pages()

    def close(self) -> None:
        """Tell the pages that it is over, and stop serving."""
        if self._server is not None and self._thread is not None:
            self._state.end()
            self._wake_pages()
            self._server.should_exit = True
            self._thread.join(_JOIN_S)
            self._server = None

    def _address(self, host: str) -> str:
        scheme = "http" if self.access.tls is None else "https"
        shown = f"[{host}]" if ":" in host else host
        return f"{scheme}://{shown}:{self._port}/" + (f"?token={self._token}" if self._token else "")

    def _serve(self, gate: Gate, started: threading.Event) -> None:
        assert self._server is not None
        server = self._server

        async def run() -> None:
            self._loop, self._pulse = asyncio.get_running_loop(), asyncio.Event()
            watch = asyncio.create_task(gate.watch())
            started.set()
            try:
                await server.serve(sockets=[gate])
            finally:
                watch.cancel()

        try:
            asyncio.run(run())
        finally:
            gate.close()

    def _wake_pages(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._pulse_once)

    def _pulse_once(self) -> None:
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
        files = [Route(f"/{name}", self._file) for name in page_files() if name != "page.html"]
        return Starlette(
            routes=[
                Route("/", self._page),
                Route("/about", self._about),
                Route("/next", self._next),
                *files,
            ],
            middleware=middleware if self.is_only_here else [],
        )

    @property
    def _cookie(self) -> str:
        """Named after the port: browsers keep the cookies of all ports of a host together."""
        return f"physedge_token_{self._port}"

    def _refusal(self, request: Request) -> Response | None:
        from starlette.responses import PlainTextResponse

        given = (request.query_params.get("token", ""), request.cookies.get(self._cookie, ""))
        if not self._token or any(self.access.lets_in(one, self._token) for one in given):
            return None
        text = "This address needs its token: open the whole address that physedge printed, with ?token=...\n"
        return PlainTextResponse(text, status_code=401, headers=_HEADERS)

    async def _file(self, request: Request) -> Response:
        """A file of the page; the same for everybody, so that it needs no token."""
        return _file_response(request.url.path.removeprefix("/"))

    async def _page(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        response = _file_response("page.html")
        if self._token:
            is_secure = self.access.tls is not None
            response.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", secure=is_secure)
        return response

    async def _about(self, request: Request) -> Response:
        """What streams, and in which colours."""
        from starlette.responses import JSONResponse

        if refusal := self._refusal(request):
            return refusal
        assert self._info is not None
        about = {
            **describe_stream(self._info, utc_now()),
            "run": self._state.run,
            "page": page_version(),
            "class_colours": class_colours(len(self._info.classes)),
            "voltages": self._info.voltage_spec is not None,
        }
        return JSONResponse(about, headers=_HEADERS)

    async def _next(self, request: Request) -> Response:
        """The next picture after number `after` with its state in a header; without a picture where none is new."""
        from starlette.responses import Response

        if refusal := self._refusal(request):
            return refusal
        after_text = request.query_params.get("after", "0")
        after = int(after_text) if after_text.isascii() and after_text.isdecimal() and len(after_text) < 16 else 0
        if self._state.number <= after and not self._state.has_ended and self._pulse is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._pulse.wait(), _LONGEST_WAIT_S)
        is_new = self._state.number > after
        plain = request.query_params.get("plain") == "1"
        state, jpeg = await asyncio.to_thread(self._state.view, self._draw, plain)
        headers = {**_HEADERS, "X-Physedge": json.dumps(state)}
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


def page_files() -> list[str]:
    """The names of the files that make up the page."""
    return sorted(path.name for path in _FOLDER.iterdir() if path.suffix in _MEDIA_TYPES)


def page_version() -> str:
    """Changes with every change of the files; an open page that meets another one loads itself anew."""
    contents = b"".join((_FOLDER / name).read_bytes() for name in page_files())
    return hashlib.sha256(contents).hexdigest()[:12]


def _file_response(name: str) -> Response:
    from starlette.responses import Response

    path = _FOLDER / name
    return Response(path.read_bytes(), media_type=_MEDIA_TYPES[path.suffix], headers=_HEADERS)


def parse_serve(text: str) -> ServeSink:
    """The sink for `serve:PORT` or `serve:HOST:PORT`."""
    host, port = parse_listen_address(text, scheme="serve")
    return ServeSink(host, port)
