"""Names from outside as plain text: one line, UTF-8, no control characters."""

from __future__ import annotations

import os
import unicodedata

_CONTROL = {"Cc", "Cs", "Zl", "Zp"}
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def plain_text(text: str) -> str:
    r"""The text with everything escaped that is no character of one line.

    Bytes of a file name that are not UTF-8, control characters, ends of lines and marks that turn the direction of
    writing become backslash escapes, as Python writes them.

    Example:
        >>> plain_text("caf\udce9\\n.png")
        'caf\\xe9\\n.png'
    """
    decoded = os.fsencode(text).decode("utf-8", "backslashreplace") if _has_bytes(text) else text
    return "".join(_escaped(character) if _is_odd(character) else character for character in decoded)


def _has_bytes(text: str) -> bool:
    """Whether the text holds bytes that `os.fsdecode` could not read, and nothing else that has no bytes."""
    surrogates = [character for character in text if "\ud800" <= character <= "\udfff"]
    return bool(surrogates) and all("\udc80" <= character <= "\udcff" for character in surrogates)


def _is_odd(character: str) -> bool:
    return unicodedata.category(character) in _CONTROL or character in _DIRECTIONS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
