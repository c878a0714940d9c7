"""Pictures of more than eight bits a channel, brought to eight by one rule.

Files of 16 bits seldom say how many of them are used: frame grabbers and exports of scanners fill 10, 12 or 14. Taken
by their upper byte, such pictures are black. So the values of the file decide, all of its pages together:

    no value below 0        the used bits are the smallest of 8, 10, 12, ... that hold the largest value;
                            the upper eight of them are taken
    fractions from 0 to 1   times 255
    a value below 0         there is no natural black: from the smallest value (0) to the largest (255), in a line

Files that use all of their 16 bits give the upper byte.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EIGHT = 8
_MOST_BITS = 32


class Undecidable(Exception):
    """Why values cannot be brought to eight bits, in words."""


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to uint8.

    Attributes:
        shift: Bits taken off below; None: by `low` and `high`.
        low: What becomes 0.
        high: What becomes 255.
    """

    shift: int | None
    low: float = 0.0
    high: float = 255.0

    def apply(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Values of any shape and dtype to uint8 of the same shape."""
        if self.shift is not None:
            whole = values if np.issubdtype(values.dtype, np.integer) else np.rint(values).astype(np.int64)
            return (whole >> self.shift).astype(np.uint8)
        if self.high == self.low:
            return np.zeros(values.shape, np.uint8)
        unit = 255 / (self.high - self.low)
        return np.rint((np.asarray(values, np.float64) - self.low) * unit).astype(np.uint8)


def scale_of(low: float, high: float, *, integers: bool) -> Scale:
    """The scale of a file whose values go from `low` to `high`.

    Raises:
        Undecidable: There are values that are no numbers, or larger than 32 bits hold.

    Example:
        >>> scale_of(0, 4000, integers=True)
        Scale(shift=4, low=0.0, high=255.0)
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        raise Undecidable("it holds values that are no numbers")
    if low < 0:
        return Scale(None, low, high)
    if not integers and high <= 1:
        return Scale(None, 0.0, 1.0)
    used = max(_EIGHT, round(high).bit_length())
    used += used % 2
    if used > _MOST_BITS:
        raise Undecidable("it holds values of more than 32 bits")
    return Scale(used - _EIGHT)
