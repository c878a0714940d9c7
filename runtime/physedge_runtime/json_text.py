"""JSON from a stranger: read within bounds that the C++ reader has as well."""

from __future__ import annotations

import json
from typing import Any

MOST_LEVELS = 64
MOST_VALUES = 100_000
SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**64 - 1


def parse_json(data: bytes) -> Any:
    """One JSON value.

    The caller has bounded the bytes; of Python's objects each takes at most about 30 times its text.

    Raises:
        ValueError: It is not JSON in UTF-8, nests deeper than `MOST_LEVELS`, has more values than `MOST_VALUES`, or an
            integer that is no 64-bit number. It says which.
    """
    try:
        content = json.loads(data.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"more than {MOST_LEVELS} levels") from None
    _check_size(content)
    return content


def _check_size(content: Any) -> None:
    values, level, depth = 0, [content], 0
    while level:
        values += len(level)
        if values > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES} values")
        inner: list[Any] = []
        for value in level:
            if isinstance(value, int) and not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
                raise ValueError("an integer beyond 64 bits")
            if isinstance(value, dict | list):
                if depth == MOST_LEVELS:
                    raise ValueError(f"more than {MOST_LEVELS} levels")
                inner += value.values() if isinstance(value, dict) else value
        level, depth = inner, depth + 1
