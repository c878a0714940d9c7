"""Text that is not ours (names of files, classes, sources; reasons out of a bundle), made fit for a line of a log.

A terminal obeys control characters, a log takes a line break for the next line, and a mark of direction turns the rest
of a line around. Whoever prints or logs such text lets it through here first. Pages escape markup besides
(`physedge.deploy.page`); JSON has its own escapes.
"""

from __future__ import annotations

import unicodedata

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Control characters, marks of direction and the like, halves of characters, line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def one_line(text: str) -> str:
    r"""The text with everything that is not seen written out as an escape; plain text as it is.

    Example:
        >>> one_line("lesion \x1b[2J")
        'lesion \\x1b[2J'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escaped(character) if unicodedata.category(character) in _UNSEEN else character for character in text
    )


def lines(text: str) -> str:
    """The same, line breaks kept: for text of ours that has several lines."""
    return "\n".join(one_line(line) for line in text.split("\n"))


def cell(text: str) -> str:
    """A cell of a table file that no spreadsheet takes for a formula; a number stays one."""
    plain = one_line(text)
    if not plain.startswith(_FORMULA) or _is_number(plain):
        return plain
    return f"'{plain}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
