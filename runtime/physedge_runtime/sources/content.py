"""What kind of frames a file holds, by what stands in it; its name decides only where the content says nothing.

Archives and scanners name files by UIDs (`MR.1.2.840...`) or numbers (`IM0001`), recorders by the time of day.
"""

from __future__ import annotations

import enum
from pathlib import Path

from physedge_runtime.sources.picture import PICTURE_SUFFIXES

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
_CLIP_NAMES = """264 265 3gp asf avi dv flv h264 h265 hevc ivf m1v m2ts m2v m4v mjpeg mjpg mkv mov mp4 mpeg mpg mts
    mxf nut ogg ogv ts vob webm wmv y4m"""
CLIP_SUFFIXES = frozenset("." + name for name in _CLIP_NAMES.split())
_JPEG = b"\xff\xd8\xff"
_JPEG_ONE_AFTER_THE_OTHER = frozenset({".mjpeg", ".mjpg"})
_PICTURES = (b"\x89PNG\r\n\x1a\n", _JPEG, b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF8")
_CLIPS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"OggS",
    b"FLV\x01",
    b"\x30\x26\xb2\x75",  # Windows Media
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"\x06\x0e\x2b\x34",  # MXF
    b"YUV4MPEG2",
    b"DKIF",
)
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # of QuickTime and MP4
_PREAMBLE_BYTES = 128
_READ_BYTES = 400
_TS_PACKET_BYTES = 188
_LARGEST_FIRST_VALUE = 1024


class Content(enum.StrEnum):
    """Which source reads a file."""

    DICOM = "DICOM"
    PICTURE = "picture"
    CLIP = "clip"
    OTHER = "other"


def content_of(path: Path) -> Content:
    """The kind of a file; of one that cannot be opened, by its name."""
    head, suffix = _head(path), path.suffix.lower()
    if head[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] == b"DICM":
        return Content.DICOM
    if head.startswith(_JPEG) and suffix in _JPEG_ONE_AFTER_THE_OTHER:
        return Content.CLIP
    if head.startswith(_PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return Content.PICTURE
    if head.startswith(_CLIPS) or head[4:8] in _BOXES or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return Content.CLIP
    if head[:1] == b"G" and head[_TS_PACKET_BYTES : _TS_PACKET_BYTES + 1] == b"G":
        return Content.CLIP
    return _by_name(suffix, begins_like_dicom=_is_first_element(head))


def contents_of(folder: Path) -> dict[Path, Content]:
    """Every file below a folder, hidden ones left out, and its kind."""
    return {path: content_of(path) for path in folder.rglob("*") if not path.name.startswith(".") and path.is_file()}


def _head(path: Path) -> bytes:
    if not path.is_file():  # a pipe would wait for its writer
        return b""
    try:
        with path.open("rb") as file:
            return file.read(_READ_BYTES)
    except OSError:
        return b""


def _by_name(suffix: str, *, begins_like_dicom: bool) -> Content:
    if suffix in DICOM_SUFFIXES or begins_like_dicom:
        return Content.DICOM
    if suffix in PICTURE_SUFFIXES:
        return Content.PICTURE
    return Content.CLIP if suffix in CLIP_SUFFIXES else Content.OTHER


def _is_first_element(head: bytes) -> bool:
    """Whether these are the group 0008 (or 0002) of a data set without preamble, as older systems write it."""
    if len(head) < 12 or head[:2] not in (b"\x08\x00", b"\x02\x00") or head[3] != 0:
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return explicit or int.from_bytes(head[4:8], "little") <= _LARGEST_FIRST_VALUE
