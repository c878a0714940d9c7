"""A table as the text of a CSV file; names in it are text to a spreadsheet, never formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from physedge_runtime.text import cell


def csv_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The table with its titles; one line a row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (titles, *rows):
        writer.writerow([cell(value) for value in row])
    return text.getvalue()
