"""The model card as a file that people go on writing: measured blocks between marks, everybody's own words around them.

    <!-- measured: data 3f2a90c1d6e5 -->
    ...
    <!-- end: data -->

`export` writes the card into the bundle and beside it as `NAME.card.md`. The next export puts fresh blocks in the place
of the old ones and keeps every word around them. A block is a measurement: one that was changed by hand, which the
digest in its first mark shows, is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from physedge_runtime.errors import UsageError

_BLOCK = re.compile(
    r"<!-- measured: (?P<name>[a-z-]+) (?P<digest>[0-9a-f]{12}) -->\n(?P<text>.*?)<!-- end: (?P=name) -->\n", re.DOTALL
)
_MARK = re.compile(r"<!-- (measured|end): ")
_LARGEST_CARD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of the card: words of people, or where `name` is set a measured block."""

    text: str
    name: str = ""


def card_path(bundle: Path) -> Path:
    """Where the card of a bundle lies for people: `NAME.card.md` beside it."""
    return bundle.with_name(f"{bundle.name.removesuffix('.physedge')}.card.md")


def read_card(path: Path) -> str:
    """The card as people left it; empty where there is none.

    Raises:
        UsageError: It is no text (`PE-CARD-002`), or a measured block was changed (`PE-CARD-001`).
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ""
    try:
        if len(data) > _LARGEST_CARD_BYTES:
            raise ValueError(f"{len(data)} bytes")
        text = data.decode("utf-8").replace("\r\n", "\n")
    except (ValueError, UnicodeDecodeError) as error:
        raise UsageError(
            "PE-CARD-002",
            found=f"the card {path} cannot be read ({error})",
            expected="Markdown in UTF-8, at most 1 MiB",
            next_step="mend it, or remove it: the next export writes a new one",
        ) from error
    _pieces(text, origin=path.name)
    return text


def merge_card(blocks: Mapping[str, str], earlier: str, *, origin: str = "the card") -> str:
    """The card with fresh blocks, and with every word that people wrote into an earlier one.

    Args:
        blocks: Name to Markdown, in the order of a new card; each ends in a line end.
        earlier: The earlier card; empty where there is none.
        origin: Name of its file, for errors.

    Raises:
        UsageError: A measured block of the earlier card was changed by hand (`PE-CARD-001`).
    """
    pieces = _pieces(earlier, origin=origin)
    kept = [piece for piece in pieces if not piece.name or piece.name in blocks]
    names = [piece.name for piece in kept if piece.name]
    before = ""
    for name in blocks:
        if name not in names:
            # A block that is new, or was removed: after the one that it follows in a new card.
            place = next((index + 1 for index, piece in enumerate(kept) if before and piece.name == before), None)
            kept.insert(len(kept) if place is None else place, _Piece("", name))
        before = name
    parts = [_marked(piece.name, blocks[piece.name]) if piece.name else piece.text.strip("\n") for piece in kept]
    return "\n".join(part if part.endswith("\n") else part + "\n" for part in parts if part)


def _pieces(text: str, *, origin: str) -> list[_Piece]:
    pieces, end = [], 0
    for found in _BLOCK.finditer(text):
        pieces.append(_Piece(text[end : found.start()]))
        if _digest(found["text"]) != found["digest"]:
            raise _changed(origin, f"the block '{found['name']}' of {origin} was changed by hand")
        pieces.append(_Piece("", found["name"]))
        end = found.end()
    pieces.append(_Piece(text[end:]))
    names = [piece.name for piece in pieces if piece.name]
    if len(set(names)) != len(names) or any(_MARK.search(piece.text) for piece in pieces):
        raise _changed(origin, f"the marks of a measured block of {origin} are not in pairs")
    return [piece for piece in pieces if piece.name or piece.text.strip()]


def _marked(name: str, text: str) -> str:
    return f"<!-- measured: {name} {_digest(text)} -->\n{text}<!-- end: {name} -->\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


def _changed(origin: str, found: str) -> UsageError:
    return UsageError(
        "PE-CARD-001",
        found=found,
        expected="measured blocks as they were written; own words before or after them",
        next_step=f"move the words out of the block, and remove it with both marks from {origin}: it is written anew",
    )
