"""Every source in one table; a new one is a file and a line here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from physedge_runtime.errors import UsageError
from physedge_runtime.sources.base import Source
from physedge_runtime.sources.camera import GSTREAMER, CameraSource
from physedge_runtime.sources.content import Content, content_of, contents_of
from physedge_runtime.sources.dicom import DICOM, DicomSource
from physedge_runtime.sources.dicom_series import DicomSeriesSource
from physedge_runtime.sources.file import VideoFileSource
from physedge_runtime.sources.folder import FolderSource
from physedge_runtime.sources.igtl import IGTL, IgtlSource
from physedge_runtime.sources.synthetic import SYNTHETIC, parse_synthetic
from physedge_runtime.sources.url import URL_SCHEMES, UrlSource
from physedge_runtime.sources.voltages import VOLTAGES, is_voltage_file, parse_voltage_source

PICTURES = "pictures:"
_CAMERA = "/dev/video{0}"
_CONTENTS = "DICOMDIR"


@dataclass(frozen=True, slots=True)
class SourceKind:
    """One line of the table.

    Attributes:
        name: Of the kind.
        written: How people write it.
        fits: Whether a text names a source of this kind; the first kind that fits is taken.
        make: The source, not yet open.
    """

    name: str
    written: str
    fits: Callable[[str], bool]
    make: Callable[[str], Source]


def _scheme(text: str) -> str:
    scheme, separator, _ = text.partition("://")
    return scheme.lower() if separator else ""


def _starts(prefix: str) -> Callable[[str], bool]:
    return lambda text: text.startswith(prefix)


def _is_camera(text: str) -> bool:
    """A number is a camera, unless it names what is here and no camera of this number is."""
    return text.isdecimal() and (Path(_CAMERA.format(int(text))).exists() or not Path(text).exists())


def _is_dicom(text: str) -> bool:
    return text.startswith(DICOM) or _content(text) is Content.DICOM


def _is_picture(text: str) -> bool:
    path = Path(text)
    return text.startswith(PICTURES) or path.is_dir() or _content(text) is Content.PICTURE


def _content(text: str) -> Content:
    path = Path(text)
    if not path.is_dir():
        return content_of(path)
    counts = Counter(contents_of(path).values())
    dicom, others = counts[Content.DICOM], counts[Content.PICTURE] + counts[Content.CLIP]
    if dicom and others:
        raise UsageError(
            "PE-SRC-051",
            found=f"the folder holds {dicom} DICOM and {others} other pictures or clips",
            expected="pictures of one kind",
            next_step=f"write --source {DICOM}DIR or --source {PICTURES}DIR to say which are meant",
        )
    return Content.DICOM if dicom else Content.OTHER


def _open_dicom(text: str) -> Source:
    path = Path(text.removeprefix(DICOM))
    if path.name == _CONTENTS and path.is_file():  # of a disc: its pictures lie beside it
        path = path.parent
    return DicomSeriesSource(path) if path.is_dir() else DicomSource(path)


def _open_pictures(text: str) -> Source:
    return FolderSource(Path(text.removeprefix(PICTURES)))


SOURCES: tuple[SourceKind, ...] = (
    SourceKind("camera", "0 or /dev/video0", _is_camera, lambda text: CameraSource(int(text))),
    SourceKind("device", "/dev/video0", _starts("/dev/video"), CameraSource),
    SourceKind("gstreamer", "gstreamer:PIPELINE", _starts(GSTREAMER), CameraSource),
    SourceKind("synthetic", "synthetic:640x480@30", _starts(SYNTHETIC), parse_synthetic),
    SourceKind("url", "rtsp://... or http://...", lambda text: _scheme(text) in URL_SCHEMES, UrlSource),
    SourceKind("igtl", "igtl://HOST:18944/DEVICE", lambda text: _scheme(text) == IGTL, IgtlSource),
    SourceKind("voltages", "voltages:FILE or voltages:tcp://HOST:PORT", _starts(VOLTAGES), parse_voltage_source),
    SourceKind("measurement", "a.mat", is_voltage_file, parse_voltage_source),
    SourceKind("dicom", "a.dcm, dicom:FILE or dicom:DIR", _is_dicom, _open_dicom),
    SourceKind("pictures", "DIR/, a.png or pictures:DIR", _is_picture, _open_pictures),
    SourceKind("file", "clip.mp4", lambda text: not _scheme(text), lambda text: VideoFileSource(Path(text))),
)


def open_source(text: str) -> Source:
    """The source that a text names; it is opened by the stream that reads it.

    Args:
        text: A camera's number, a file, a folder, a URL, or a scheme of the table, as after `--source`.

    Raises:
        UsageError: No kind of source is written so (`PE-SRC-010`), or its options are wrong (`PE-SRC-007`).
    """
    for kind in SOURCES:
        if text and kind.fits(text):
            return kind.make(text)
    raise UsageError(
        "PE-SRC-010",
        found=f"a source written as {_scheme(text)}://" if _scheme(text) else "an empty source",
        expected=" | ".join(kind.written for kind in SOURCES),
        next_step="correct --source",
    )
