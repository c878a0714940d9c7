"""A picture file to pixels: every page, turned as its camera was held, eight bits a channel.

One rule for all kinds, which training, evaluation and device share:

- every page of a TIFF and every picture of an animated PNG, WebP or GIF is one frame; a thumbnail in a TIFF is none;
- an orientation mark (EXIF, TIFF) is obeyed, as viewers do;
- 8-bit channels come as they were stored, deeper ones by the rule of `depth`; transparency is dropped;
- pixels are not stretched: a resolution that differs from side to side is told in the frame's metadata.

OpenCV decodes where it is installed, else Pillow. Pillow reads the header in any case: OpenCV does not tell orientation
and number of pages of all kinds.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import EnvironmentFault, SourceError, missing_extra
from physedge_runtime.frame import Colour
from physedge_runtime.sources.depth import Scale, Undecidable, scale_of
from physedge_runtime.sources.picture_header import PictureHeader, Unreadable, quiet, read_header, turned

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturePage:
    """One page of a picture file.

    Attributes:
        pixels: uint8 (height, width, 3).
        colour: Channel order.
        number: Of the page among those that are answered, from 0.
        count: Pages that are answered.
        stamp_ns: From the beginning of an animation, nanoseconds; None of anything else.
        pixel_aspect: Width of a pixel divided by its height, where the file states one that is not 1.
    """

    pixels: NDArray[np.uint8]
    colour: Colour
    number: int
    count: int
    stamp_ns: int | None
    pixel_aspect: float | None


def is_picture_file(path: Path) -> bool:
    """Whether the name is that of a picture; hidden files are none."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def read_picture(path: Path) -> tuple[NDArray[np.uint8], Colour]:
    """Decode a file that holds one picture.

    Returns:
        uint8 (height, width, 3) and its channel order.

    Raises:
        SourceError: The file is no picture, or is damaged (`PE-SRC-005`), or holds several pages (`PE-SRC-050`).
        EnvironmentFault: Neither OpenCV nor Pillow is installed (`PE-ENV-001`).
    """
    pages = count_pages(path)
    if pages > 1:
        raise SourceError(
            "PE-SRC-050",
            found=f"{path} holds {pages} pages",
            expected="one picture a file in a set of pictures",
            next_step="write its pages to files of their own, or stream it with: physedge run --source FILE",
        )
    page = next(read_pages(path))
    return page.pixels, page.colour


def count_pages(path: Path) -> int:
    """The number of pictures that `read_pages` gives; the header alone is read.

    Raises:
        SourceError: The file is no picture (`PE-SRC-005`).
        EnvironmentFault: Pillow is not installed (`PE-ENV-001`).
    """
    try:
        with path.open("rb") as file:
            header = read_header(file, oriented=False)
    except (OSError, Unreadable) as error:
        raise _unreadable(path, _reason(error)) from error
    return 1 if header is None else len(header.pages)


def read_pages(path: Path) -> Iterator[PicturePage]:
    """Decode every page, one after the other.

    Raises:
        SourceError: The file is no picture, or this page is damaged (`PE-SRC-005`).
        EnvironmentFault: Neither OpenCV nor Pillow is installed (`PE-ENV-001`).
    """
    try:
        encoded = path.read_bytes()
        header = read_header(io.BytesIO(encoded))
        for number, (pixels, colour, stamp_ns) in enumerate(_pictures(encoded, header)):
            yield PicturePage(
                pixels=_turned(pixels, header),
                colour=colour,
                number=number,
                count=1 if header is None else len(header.pages),
                stamp_ns=stamp_ns,
                pixel_aspect=None if header is None else header.pixel_aspect,
            )
    except (OSError, Unreadable) as error:
        raise _unreadable(path, _reason(error)) from error


def decode_picture(encoded: bytes) -> tuple[NDArray[np.uint8] | None, Colour]:
    """The pixels of an encoded 8-bit picture as they are stored, uint8 (height, width, 3), and their channel order.

    None where it is no picture.

    Raises:
        EnvironmentFault: Neither OpenCV nor Pillow is installed (`PE-ENV-001`).
    """
    try:
        return _decode_by_opencv(encoded), Colour.BGR
    except EnvironmentFault:
        return _decode_by_pillow(encoded), Colour.RGB


def _pictures(encoded: bytes, header: PictureHeader | None) -> Iterator[tuple[NDArray[np.uint8], Colour, int | None]]:
    if header is not None and header.animated:
        yield from _animation(encoded, header)
    elif header is not None and header.deep:
        yield from _deep_pages(encoded, header)
    elif header is None or len(header.pages) == 1:
        pixels, colour = decode_picture(encoded)
        if pixels is None:
            raise Unreadable("its content is no whole picture")
        yield pixels, colour, None
    else:
        for page in header.pages:
            yield *_tiff_page(encoded, page), None


def _turned(pixels: NDArray[np.uint8], header: PictureHeader | None) -> NDArray[np.uint8]:
    # Both decoders turn a TIFF by themselves.
    if header is None or header.kind == "TIFF":
        return pixels
    return turned(pixels, header.orientation)


def _animation(encoded: bytes, header: PictureHeader) -> Iterator[tuple[NDArray[np.uint8], Colour, int | None]]:
    """Pillow puts the parts of an animation together; one decoder for all, so that every machine sees the same."""
    stamp_ms = 0.0
    with _open_by_pillow(encoded) as picture:
        for page in header.pages:
            pixels = np.asarray(_at(picture, page).convert("RGB"), np.uint8)
            yield pixels, Colour.RGB, round(stamp_ms * _NS_PER_MS)
            stamp_ms += float(picture.info.get("duration", 0) or 0)


def _tiff_page(encoded: bytes, page: int) -> tuple[NDArray[np.uint8], Colour]:
    cv2 = _opencv_or_none()
    if cv2 is not None:
        return _page_by_opencv(cv2, encoded, page, cv2.IMREAD_COLOR), Colour.BGR
    with _open_by_pillow(encoded) as picture:
        return np.asarray(_at(picture, page).convert("RGB"), np.uint8), Colour.RGB


def _deep_pages(encoded: bytes, header: PictureHeader) -> Iterator[tuple[NDArray[np.uint8], Colour, int | None]]:
    """Two passes: the first finds the one scale of all pages, so that a dark page stays dark beside a bright one."""
    if not header.deep_is_plain:
        raise Unreadable("its deep pixels are neither grey nor red, green and blue")
    low, high, integers = np.inf, -np.inf, True
    for page in header.pages:
        values, _ = _deep_page(encoded, header, page)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        integers = integers and np.issubdtype(values.dtype, np.integer)
    try:
        scale: Scale = scale_of(low, high, integers=integers)
    except Undecidable as why:
        raise Unreadable(str(why)) from why
    for page in header.pages:
        values, colour = _deep_page(encoded, header, page)
        pixels = scale.apply(values)
        if header.white_is_zero:
            pixels = np.asarray(255 - pixels, np.uint8)
        yield np.repeat(pixels[:, :, np.newaxis], 3, axis=2) if pixels.ndim == 2 else pixels, colour, None


def _deep_page(encoded: bytes, header: PictureHeader, page: int) -> tuple[NDArray[Any], Colour]:
    """Grey (height, width) or colours (height, width, 3), as deep as they are stored."""
    cv2 = _opencv_or_none()
    if cv2 is None and header.coloured:
        raise missing_extra("opencv-python-headless", "camera")  # Pillow would keep the upper 8 bits alone
    if cv2 is None:
        with _open_by_pillow(encoded) as picture:
            return np.asarray(_at(picture, page)), Colour.RGB
    values = _page_by_opencv(cv2, encoded, page, cv2.IMREAD_UNCHANGED)
    if values.ndim == 3 and not header.coloured:
        values = values[:, :, 0]  # grey with transparency comes as four channels
    return (values[:, :, :3] if values.ndim == 3 else values), Colour.BGR


def _page_by_opencv(cv2: Any, encoded: bytes, page: int, flags: int) -> NDArray[Any]:
    flags |= cv2.IMREAD_IGNORE_ORIENTATION if flags != cv2.IMREAD_UNCHANGED else 0
    try:
        decoded, pages = cv2.imdecodemulti(np.frombuffer(encoded, np.uint8), flags, range=(page, page + 1))
    except cv2.error as error:
        raise Unreadable(f"page {page + 1} is damaged") from error
    if not decoded or len(pages) != 1:
        raise Unreadable(f"page {page + 1} is damaged")
    return np.asarray(pages[0])


def _opencv_or_none() -> Any:
    from physedge_runtime.sources.opencv import import_opencv

    try:
        return import_opencv()
    except EnvironmentFault:
        return None


def _decode_by_opencv(encoded: bytes) -> NDArray[np.uint8] | None:
    from physedge_runtime.sources.opencv import import_opencv

    cv2 = import_opencv()
    if not encoded:
        return None
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if pixels is None else np.asarray(pixels, np.uint8)


def _decode_by_pillow(encoded: bytes) -> NDArray[np.uint8] | None:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise missing_extra("opencv-python-headless", "camera") from error
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            return np.asarray(picture.convert("RGB"), np.uint8)
    except (UnidentifiedImageError, OSError, ValueError):
        return None


def _open_by_pillow(encoded: bytes) -> Image:
    from PIL import Image

    with quiet():
        return Image.open(io.BytesIO(encoded))


def _at(picture: Image, page: int) -> Image:
    try:
        with quiet():
            picture.seek(page)
            picture.load()
    except Exception as error:  # what a damaged page raises depends on where it is damaged
        raise Unreadable(f"page {page + 1} is damaged") from error
    return picture


def _reason(error: OSError | Unreadable) -> str:
    return str(error) if isinstance(error, Unreadable) else error.strerror or "it cannot be opened"


def _unreadable(path: Path, why: str) -> SourceError:
    return SourceError(
        "PE-SRC-005",
        found=f"{path} cannot be read as a picture ({why})",
        expected=f"a picture ({', '.join(sorted(suffix[1:] for suffix in PICTURE_SUFFIXES))})",
        next_step="remove the file or replace it by an intact copy",
    )
