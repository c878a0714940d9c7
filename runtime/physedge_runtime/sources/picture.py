"""A picture file to pixels, with whichever decoder is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import EnvironmentFault, SourceError, missing_extra
from physedge_runtime.frame import Colour

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def is_picture_file(path: Path) -> bool:
    """Whether the name is that of a picture; hidden files are none."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def read_picture(path: Path) -> tuple[NDArray[np.uint8], Colour]:
    """Decode one picture.

    Orientation marks of cameras are not applied, so that the pixels are those that were stored.

    Returns:
        uint8 (height, width, 3) and its channel order.

    Raises:
        SourceError: The file is no picture, or is damaged (`PE-SRC-005`).
        EnvironmentFault: Neither OpenCV nor Pillow is installed (`PE-ENV-001`).
    """
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error.strerror or "it cannot be opened") from error
    pixels, colour = decode_picture(encoded)
    if pixels is None:
        raise _unreadable(path, "its content is no picture" if encoded else "it is empty")
    return pixels, colour


def decode_picture(encoded: bytes) -> tuple[NDArray[np.uint8] | None, Colour]:
    """The pixels of an encoded picture, uint8 (height, width, 3), None where it is none; and their channel order.

    Raises:
        EnvironmentFault: Neither OpenCV nor Pillow is installed (`PE-ENV-001`).
    """
    try:
        return _decode_by_opencv(encoded), Colour.BGR
    except EnvironmentFault:
        return _decode_by_pillow(encoded), Colour.RGB


def _decode_by_opencv(encoded: bytes) -> NDArray[np.uint8] | None:
    from physedge_runtime.sources.opencv import import_opencv

    cv2 = import_opencv()
    if not encoded:
        return None
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if pixels is None else np.asarray(pixels, np.uint8)


def _decode_by_pillow(encoded: bytes) -> NDArray[np.uint8] | None:
    import io

    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise missing_extra("opencv-python-headless", "camera") from error
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            return np.asarray(picture.convert("RGB"), np.uint8)
    except (UnidentifiedImageError, OSError, ValueError):
        return None


def _unreadable(path: Path, why: str) -> SourceError:
    return SourceError(
        "PE-SRC-005",
        found=f"{path} cannot be read as a picture ({why})",
        expected=f"a picture ({', '.join(sorted(suffix[1:] for suffix in PICTURE_SUFFIXES))})",
        next_step="remove the file or replace it by an intact copy",
    )
