"""The few pieces of HTML that every page of ours is made of; a page needs nothing beside itself."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_SHOWN_CHARACTERS = 240
_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#1a1a1a}"
    "table{border-collapse:collapse;margin:.6em 0 1.4em}td,th{border-bottom:1px solid #ddd;padding:.25em .7em;"
    "text-align:left;vertical-align:top;overflow-wrap:anywhere}th{font-weight:600}pre{white-space:pre-wrap}"
    "figure{margin:1em 0}figcaption{color:#555}img{max-width:100%}"
)


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page from pieces of HTML."""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1>{''.join(parts)}</html>\n"
    )


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table; a word where there are no rows."""
    body = "".join("<tr>" + "".join(f"<td>{html.escape(_short(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    if not body:
        return "<p>None.</p>"
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    return f"<table><tr>{head}</tr>{body}</table>"


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]} ..."
