"""A DICOM file whose every text is a marker, and a run over it with every kind of output. For the test of privacy."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np

MARKER = "QZMARKER"
UIDS = "1.2.840.99999."


def write_marked(path: Path, *, broken: str = "") -> Path:
    """An ultrasound clip of four frames; `broken` names an element that is made unusable."""
    from pydicom import Dataset, dcmread, dcmwrite
    from pydicom.datadict import DicomDictionary, keyword_for_tag
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag
    from stream_dicom import tissue_region, write_dicom

    frames = np.random.default_rng(0).integers(30, 220, (4, 48, 64), np.uint8)
    write_dicom(path, frames, SequenceOfUltrasoundRegions=[tissue_region(2, 2, 60, 44)], FrameTime="40")
    dataset: Dataset = dcmread(path)
    kept = {element.tag for element in dataset}

    def put(tag: int, kind: str, content: str) -> None:
        content += " " * (len(content) % 2)
        dataset[Tag(tag)] = RawDataElement(Tag(tag), kind, len(content), content.encode(), 0, False, True)

    for number, (tag, (kind, *_)) in enumerate(sorted(DicomDictionary.items())):
        text = _text(kind, number)
        is_needed = tag >> 16 == 0x0028 or tag in kept
        if text is not None and 0x0008 <= tag >> 16 <= 0x0040 and not is_needed and keyword_for_tag(tag):
            put(tag, kind, text)
    for element in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyID"):
        put(Tag(element), dataset[element].VR, f"{MARKER} {element} 1980-02-30")
    for number, element in enumerate(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")):
        put(Tag(element), "UI", f"{UIDS}{number}")
    if broken:
        put(Tag(broken), "DS", f"{MARKER} {broken}")
    with warnings.catch_warnings(action="ignore"):  # of pydicom, about what is written here on purpose
        dcmwrite(path, dataset)
    return path


def _text(kind: str, number: int) -> str | None:
    if kind in {"AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT", "IS", "DS"}:
        return f"{MARKER}{number}"
    return f"{UIDS}{number}.{MARKER}" if kind == "UI" else None


def run_over(source: str, folder: str) -> None:
    """Stream a file or folder into every sink that writes, and print what a terminal would show."""
    import logging

    from stream_fakes import FakeNet

    from physedge_runtime.errors import PhysedgeError
    from physedge_runtime.sinks.table import open_sink
    from physedge_runtime.stream.loop import stream

    logging.basicConfig(level=logging.DEBUG)
    sinks = [open_sink(f"{kind}:{folder}/{name}") for kind, name in (("jsonl", "o.jsonl"), ("video", "o.mp4"))]
    sinks += [open_sink(text) for text in (f"dicom:{folder}/seg.dcm", "igtl:0", "metrics:0", "serve:0")]
    try:
        with stream(FakeNet(), source, sinks=sinks, on_event=lambda event: print(event.text)) as running:
            for item in running.frames():
                print(item.signal, item.result, item.withdrawn_text, item.frame and item.frame.name)
        print(*running.summary().lines(), running.info, running.written)
    except PhysedgeError as error:
        print(error)


if __name__ == "__main__":
    for number, one in enumerate(sys.argv[2:]):
        out = Path(sys.argv[1]) / str(number)
        out.mkdir()
        run_over(one, str(out))
