"""Pages in the browser as `physedge run` offers them: who may open them, and the address with a code for phones."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from physedge.cli.console import console
from physedge_runtime.errors import UsageError
from physedge_runtime.sinks.page_access import page_access
from physedge_runtime.sinks.serve import ServeSink

if TYPE_CHECKING:
    from rich.text import Text

    from physedge_runtime.sinks.base import Sink

_QUIET_ZONE_MODULES = 2


def prepare_pages(sinks: Iterable[Sequence[Sink]], *, token: str | None, tls: tuple[Path, Path] | None) -> None:
    """Give every page its token and its certificate, before anything is opened.

    Raises:
        UsageError: There is no page (`PE-SINK-022`), or token, certificate or key will not do.
    """
    if token is None and tls is None:
        return
    pages = [sink for one in sinks for sink in one if isinstance(sink, ServeSink)]
    if not pages:
        raise UsageError(
            "PE-SINK-022",
            found="--token or --tls without a page",
            expected="a page that they protect",
            next_step="add --serve or --sink serve:HOST:PORT",
        )
    access = page_access(token=token, tls=tls)
    for page in pages:
        page.access = access


def tell_page(page: ServeSink) -> None:
    """Print where the page is; on a terminal also as a code for the camera of a phone, where a phone can reach it."""
    printer = console(stderr=True)
    printer.print(f"page: {page.url}", soft_wrap=True)  # a line that is broken is no address
    for url in page.urls[1:]:
        printer.print(f"      {url}", soft_wrap=True)
    if not page.is_certified:
        printer.print(f"the certificate is for {', '.join(page.access.names) or 'no address'}: browsers will warn")
    if printer.is_terminal and not page.is_only_here and (code := address_code(page.url)) is not None:
        printer.print(code, soft_wrap=True)


def address_code(url: str) -> Text | None:
    """A QR code in half blocks, black on white whatever the terminal's colours; None where segno is not installed."""
    try:
        import segno
    except ImportError:
        return None
    from rich.text import Text

    drawn = io.StringIO()
    segno.make_qr(url, error="l").terminal(drawn, border=_QUIET_ZONE_MODULES, compact=True)
    return Text(drawn.getvalue().rstrip("\n"), style="bright_white on black")
