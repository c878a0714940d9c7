"""Nothing of a data set reaches a log, an error or a result: a file whose every text is a marker, over all sinks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dicom_markers import MARKER, UIDS, write_marked

from physedge_runtime.errors import SourceError
from physedge_runtime.sources.dicom import DicomSource

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
pytest.importorskip("highdicom", reason="the extra dicom is not installed")
pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")
pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("pyigtl", reason="the extra igtl is not installed")

SUPPORT = Path(__file__).parents[1] / "support"


def spoken(folder: Path, *sources: str) -> tuple[str, bytes]:
    """What a run says on both streams with every warning on, and all that it writes but the segmentation."""
    folder.mkdir()
    ran = subprocess.run(
        [sys.executable, "-W", "always", str(SUPPORT / "dicom_markers.py"), str(folder), *sources],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")]),
            "PYDICOM_LOG": "1",
        },
    )
    assert ran.returncode == 0, ran.stderr
    files = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".dcm")
    return ran.stdout + ran.stderr, files


def assert_silent(said: str, files: bytes) -> None:
    for secret in (MARKER, UIDS, "1980-02-30"):
        assert secret not in said, [line for line in said.splitlines() if secret in line][:3]
        assert secret.encode() not in files


def test_a_run_over_a_file_tells_nothing_of_it_and_the_segmentation_keeps_who_it_is_of(tmp_path: Path) -> None:
    path = write_marked(tmp_path / f"{MARKER}.dcm")
    said, files = spoken(tmp_path / "out", str(path))
    assert "ended after 4 pictures" in said
    assert b'"kind":"frame"' in files.replace(b" ", b"")
    assert_silent(said.replace(str(path), ""), files)
    made = pydicom.dcmread(tmp_path / "out" / "0" / "seg.dcm")
    assert str(made.PatientName).startswith(f"{MARKER} PatientName")
    assert made.PatientID.startswith(f"{MARKER} PatientID")
    assert made.PatientSex == made.PatientBirthDate == ""


def test_a_run_over_a_folder_tells_nothing_of_it(tmp_path: Path) -> None:
    folder = tmp_path / MARKER
    folder.mkdir()
    write_marked(folder / f"{MARKER}1")
    said, files = spoken(tmp_path / "out", f"dicom:{folder}")
    assert "ended after 4 pictures" in said
    assert_silent(said, files)


def test_an_error_repeats_no_value(tmp_path: Path) -> None:
    broken = ("NumberOfFrames", "FrameTime", "Rows", "RegionLocationMinX0", "cut", "no image")
    paths = []
    for name in broken:
        path = write_marked(tmp_path / f"{MARKER}{len(paths)}.dcm", broken="" if " " in name or name == "cut" else name)
        content = path.read_bytes()
        if name in ("cut", "no image"):
            path.write_bytes(content[:-5000] if name == "cut" else content[: content.index(MARKER.encode()) + 40])
        paths.append(str(path))
    said, files = spoken(tmp_path / "out", *paths)
    refused = [line[:10] for line in said.splitlines() if line.startswith("PE-SRC-0")]
    assert [one for one in refused if one != "PE-SRC-031"] == ["PE-SRC-030", "PE-SRC-030", "PE-SRC-011", "PE-SRC-011"]
    assert "PE-SRC-031: FrameTime of the DICOM file holds something that is no number" in said
    assert_silent(said, files)


def test_a_header_that_breaks_the_reader_is_refused_without_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*args: object, **options: object) -> None:
        raise RuntimeError(f"{MARKER} is no date")

    path = write_marked(tmp_path / f"{MARKER}.dcm")
    monkeypatch.setattr(pydicom, "dcmread", breaks)
    with pytest.raises(SourceError, match=r"PE-SRC-011: .*RuntimeError") as caught:
        DicomSource(path).open()
    assert MARKER not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
