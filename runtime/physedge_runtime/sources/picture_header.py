"""What a picture file says of itself before a pixel is decoded: pages, orientation, depth, shape of its pixels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import missing_extra

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION = 274
_SUBFILE_TYPE, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 254, 258, 262, 339
_X_RESOLUTION, _Y_RESOLUTION = 282, 283
_REDUCED, _MASK = 1, 4
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_UNSIGNED = 1
_PNG_DEPTH, _PNG_COLOUR = 24, 25
_PNG_HAS_COLOUR = 2
_PNG, _PNG_EXIF = b"\x89PNG", b"eXIf"
_BITMAP = b"BM"
_ANIMATED = frozenset({"GIF", "PNG", "WEBP"})
_SAME_SIDES = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureHeader:
    """What a header says.

    Attributes:
        kind: As Pillow names it, for example `PNG`.
        pages: Numbers, in the file, of the pages that are pictures in their own right.
        animated: The pages are put together from parts, each with a time.
        orientation: 1 to 8, as EXIF numbers them.
        deep: More than 8 bits a channel, signed values, or fractions.
        coloured: Three channels or more.
        deep_is_plain: Deep values are grey, or red, green and blue.
        white_is_zero: Deep grey values that fall with brightness.
        pixel_aspect: Width of a pixel divided by its height, where it is stated and not 1.
    """

    kind: str
    pages: tuple[int, ...]
    animated: bool = False
    orientation: int = 1
    deep: bool = False
    coloured: bool = True
    deep_is_plain: bool = True
    white_is_zero: bool = False
    pixel_aspect: float | None = None


class Unreadable(Exception):
    """Why a file cannot be read as a picture, in words."""


def read_header(file: IO[bytes], *, oriented: bool = True) -> PictureHeader | None:
    """The header of a picture file that stands at its first byte; None of a bitmap that Pillow does not know.

    Args:
        file: Of the picture.
        oriented: Look for the orientation; of a PNG that may mean to read the whole file.

    Raises:
        Unreadable: It is no picture, or damaged.
        EnvironmentFault: Pillow is not installed (`PE-ENV-001`).
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise missing_extra("pillow", "gate") from error
    head = file.read(_PNG_COLOUR + 1)
    if not head:
        raise Unreadable("it is empty")
    marked = oriented and (not head.startswith(_PNG) or _PNG_EXIF in file.read())
    file.seek(0)
    try:
        with quiet(), Image.open(file) as picture:
            return _header_of(picture, head, _orientation(picture) if marked else 1)
    except Image.DecompressionBombError as error:
        raise Unreadable("it has more pixels than can be read safely") from error
    except Exception as error:  # what a damaged header raises depends on where it is damaged
        if head.startswith(_BITMAP):
            return None
        raise Unreadable("its content is no picture of a known kind, or its header is damaged") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without Pillow's warnings on large pictures and odd tags, which are no fault."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Pixels (height, width, 3) as they are meant to be seen.

    Args:
        pixels: As they are stored.
        orientation: 1 to 8, EXIF 2.32, tag 274: where the first row and the first column belong.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _orientation(picture: Image) -> int:
    stated = picture.getexif().get(_ORIENTATION, 1)
    return stated if isinstance(stated, int) and 1 <= stated <= 8 else 1


def _header_of(picture: Image, head: bytes, orientation: int) -> PictureHeader:
    kind = picture.format or ""
    if kind == "TIFF":
        return _tiff_header(picture, orientation)
    pages = range(getattr(picture, "n_frames", 1) if kind in _ANIMATED else 1)
    animated = len(pages) > 1 or kind == "GIF"
    if animated and getattr(picture, "default_image", False):
        pages = pages[1:]  # shown by programs that know no animation, and no part of it
    deep = kind == "PNG" and head[_PNG_DEPTH] > 8
    return PictureHeader(
        kind=kind,
        pages=tuple(pages),
        animated=animated,
        orientation=orientation,
        deep=deep and not animated,
        coloured=kind != "PNG" or bool(head[_PNG_COLOUR] & _PNG_HAS_COLOUR),
        pixel_aspect=_aspect(picture),
    )


def _tiff_header(picture: Image, orientation: int) -> PictureHeader:
    pages: list[int] = []
    bits, formats, colours = 1, {_UNSIGNED}, set[int]()
    for number in range(cast("Any", picture).n_frames):
        picture.seek(number)
        tags = cast("Any", picture).tag_v2
        if int(tags.get(_SUBFILE_TYPE, 0)) & (_REDUCED | _MASK):
            continue
        pages.append(number)
        bits = max(bits, *tags.get(_BITS, (1,)))
        formats |= set(tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)))
        colours.add(int(tags.get(_PHOTOMETRIC, _BLACK_IS_ZERO)))
    picture.seek(0)
    return PictureHeader(
        kind="TIFF",
        pages=tuple(pages) or (0,),
        orientation=orientation,
        deep=bits > 8 or formats != {_UNSIGNED},
        coloured=not colours <= {_WHITE_IS_ZERO, _BLACK_IS_ZERO},
        deep_is_plain=len(colours) == 1 and colours <= {_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB},
        white_is_zero=colours == {_WHITE_IS_ZERO},
        pixel_aspect=_aspect(picture),
    )


def _aspect(picture: Image) -> float | None:
    """From pixels a metre, or from the bare ratio that PNG and JPEG may state in its place."""
    if picture.format == "TIFF":
        tags = cast("Any", picture).tag_v2
        across, down = tags.get(_X_RESOLUTION), tags.get(_Y_RESOLUTION)
    else:
        density = picture.info.get("jfif_density")
        across, down = picture.info.get("aspect") or density or picture.info.get("dpi") or (None, None)
    if not across or not down:
        return None
    ratio = float(down) / float(across)
    return ratio if ratio > 0 and np.isfinite(ratio) and abs(ratio - 1) > _SAME_SIDES else None
