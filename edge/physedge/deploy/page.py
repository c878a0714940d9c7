"""The few pieces of HTML that every page of ours is made of; a page needs nothing beside itself.

What comes out of a bundle or a folder is text: it is escaped here (`safe`), and a page may load nothing and run nothing
(`Content-Security-Policy`), so that a bundle cannot write its own verdict over ours.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from physedge_runtime.text import lines

_SHOWN_CHARACTERS = 240
_MARK = re.compile(r"^<!-- (measured|end): [^\n]* -->\n", re.MULTILINE)
_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#1a1a1a}"
    "table{border-collapse:collapse;margin:.6em 0 1.4em}td,th{border-bottom:1px solid #ddd;padding:.25em .7em;"
    "text-align:left;vertical-align:top;overflow-wrap:break-word}th{font-weight:600;white-space:nowrap}"
    "td:last-child{overflow-wrap:anywhere}pre{white-space:pre-wrap}"
    "figure{margin:1em 0}figcaption{color:#555}img{max-width:100%}nav a,nav span{margin-right:1.2em}"
    ".good,.bad,.open{white-space:nowrap}.good{color:#0a6b2d}.bad{color:#a8071a;font-weight:600}"
    ".open{color:#8a5a00}summary{cursor:pointer}"
    "article{border-left:3px solid #ddd;padding-left:1.2em}article h1{font-size:1.3em}article h2{font-size:1.1em}"
    "article h3{font-size:1em}article li,code{overflow-wrap:anywhere}"
)


# Nothing is fetched, nothing runs; pictures and style stand in the page itself.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


class Html(str):
    """Text that is HTML already; everything else is escaped."""

    __slots__ = ()


def safe(value: object) -> Html:
    """Any value as text of a page: markup is shown, what is not seen is written out."""
    return Html(html.escape(lines(str(value))))


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page from pieces of HTML."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f'<meta http-equiv=Content-Security-Policy content="{_POLICY}">'
        f"<title>{safe(title)}</title><style>{_STYLE}</style><h1>{safe(title)}</h1>{''.join(parts)}</html>\n"
    )


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table; a word where there are no rows."""
    body = "".join("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    if not body:
        return "<p>None.</p>"
    head = "".join(f"<th>{safe(title)}</th>" for title in titles)
    return f"<table><tr>{head}</tr>{body}</table>"


def marked(word: str) -> Html:
    """A verdict or a status in its colour."""
    kinds = {"good": ("ACCEPT", "met", "passed"), "bad": ("REJECT", "FAILED", "failed")}
    kind = next((kind for kind, words in kinds.items() if word in words), "open")
    return Html(f'<span class="{kind}">{safe(word)}</span>')


def folded(title: str, lines: Iterable[str]) -> Html:
    """Lines that open when somebody clicks on their title; the title alone where there are none."""
    items = "".join(f"<li>{safe(line)}</li>" for line in lines)
    shown = safe(title)
    return Html(f"<details><summary>{shown}</summary><ul>{items}</ul></details>" if items else shown)


def markdown(text: str) -> Html:
    """Markdown as HTML, tables included; the marks of a card are left out.

    Links, pictures and HTML inside it are shown as text.
    """
    from markdown_it import MarkdownIt

    obeyed = ("image", "link", "autolink", "reference", "html_block", "html_inline")
    renderer = MarkdownIt("js-default", {"linkify": False}).disable(obeyed)
    return Html(renderer.render(_MARK.sub("", lines(text))))


def _cell(value: object) -> str:
    return str(value) if isinstance(value, Html) else safe(_short(value))


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]} ..."
