"""What a verb shows: people's text, progress, and one JSON object where a machine asked."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Advance = Callable[..., None]


def console(*, stderr: bool) -> Console:
    """A console that honours NO_COLOR and the width of the terminal; 110 columns where there is none.

    Text is text: brackets are no markup, and what a terminal would obey is written out. Colour is asked for by a
    `rich.text.Text`.
    """
    from rich.console import Console
    from rich.text import Text

    from physedge_runtime.text import lines

    class PlainConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(lines(text), **options)

    stream = sys.stderr if stderr else sys.stdout
    return PlainConsole(
        stderr=stderr,
        width=None if stream.isatty() else 110,
        highlight=False,
        soft_wrap=not stream.isatty(),
        markup=False,
        emoji=False,
    )


def say(*texts: RenderableType, json_output: bool = False) -> None:
    """Print people's text: on stdout, or on stderr where stdout belongs to the JSON object."""
    printer = console(stderr=json_output)
    for text in texts:
        printer.print(text)


def note(text: str) -> None:
    """Print a remark on stderr, whatever stdout carries."""
    console(stderr=True).print(text)


def emit(result: Mapping[str, Any], json_output: bool) -> None:
    """Print the verb's result as one JSON object on stdout, if it was asked for."""
    if json_output:
        sys.stdout.write(json.dumps(result, indent=2, sort_keys=True, default=str, allow_nan=False) + "\n")
        sys.stdout.flush()


@contextlib.contextmanager
def progress(description: str, total: float | None) -> Iterator[Advance]:
    """A progress bar on stderr; gives a function `advance(n=1)`.

    Args:
        description: What is being done, in a few words.
        total: Steps in all; None where nobody knows.
    """
    from rich import progress as bars

    printer = console(stderr=True)
    if not printer.is_terminal:
        printer.print(f"{description} ...")
        yield _ignore
        return
    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=printer, transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda n=1: bar.advance(task, n)


def _ignore(_steps: float = 1) -> None:
    """No bar to move where nobody looks."""
