"""DICOM pixels as pictures: the standard's formulas, and DCMTK's and highdicom's rendering of the same files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dcmtk
import numpy as np
import pytest
from debian import program
from stream_dicom import write_dicom

from physedge_runtime.errors import SourceError
from physedge_runtime.frame import Damage, Frame
from physedge_runtime.sources.base import SourceEnded
from physedge_runtime.sources.dicom import DicomSource

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

PUBLIC = Path(pydicom.__file__).parent / "data" / "test_files"
RAMP = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)


def frames_of(path: Path, region: str = "whole") -> list[Frame]:
    source = DicomSource(path, region=region)
    source.open()
    found = []
    try:
        while (frame := source.read()) is not None:
            found.append(frame)
    except SourceEnded:
        source.close()
    return found


def difference(picture: np.ndarray, other: np.ndarray) -> int:
    if picture.ndim < other.ndim:
        picture = np.repeat(picture[..., None], 3, axis=2)
    assert picture.shape == other.shape
    return int(np.abs(picture.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize(
    "changes",
    [
        {"RescaleSlope": "2", "RescaleIntercept": "-100", "WindowCenter": "100", "WindowWidth": "200"},
        {"WindowCenter": "60", "WindowWidth": "7"},
        {"WindowCenter": "100.5", "WindowWidth": "1"},
        {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": "60", "WindowWidth": "70"},
        {"WindowCenter": ["60", "200"], "WindowWidth": ["70", "20"]},
        {"WindowCenter": "80", "WindowWidth": "50", "VOILUTFunction": "SIGMOID"},
        {"RescaleSlope": "2", "RescaleIntercept": "-100"},
    ],
)
def test_eight_bits_go_through_rescale_and_window(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = write_dicom(tmp_path / "a.dcm", RAMP, RescaleType="US", **changes)
    options = ("+Wi", "1") if "WindowWidth" in changes else ()
    if "VOILUTFunction" in changes:
        options = (*options, "+Wfs")
    drawn = dcmtk.rendered(path, options=options)
    assert drawn is not None
    assert difference(frames_of(path)[0].pixels, drawn) <= 1


def test_a_window_runs_from_black_to_white_as_the_standard_says(tmp_path: Path) -> None:
    """PS3.3, C.11.2.1.2.1: y = ((x - (c - 0.5)) / (w - 1) + 0.5) * 255."""
    values = np.arange(60, 70, dtype=np.uint16).reshape(1, 2, 5)
    path = write_dicom(tmp_path / "a.dcm", values, WindowCenter="65", WindowWidth="5")
    expected = np.clip(((values[0] - 64.5) / 4 + 0.5) * 255, 0, 255)
    np.testing.assert_array_equal(frames_of(path)[0].pixels, np.rint(expected))


def enhanced(path: Path, frames: np.ndarray, *, of_all: bool = False) -> Path:
    """An enhanced object whose window and rescale stand in functional groups, of each frame or of all."""
    write_dicom(path, frames)
    dataset = pydicom.dcmread(path)

    def group(number: int) -> Any:
        window, rescale, item = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        window.WindowCenter, window.WindowWidth = 1000 * (number + 1), 800
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 2, -50, "US"
        item.FrameVOILUTSequence, item.PixelValueTransformationSequence = [window], [rescale]
        return item

    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    if of_all:
        dataset.SharedFunctionalGroupsSequence = [group(0)]
        dataset.PerFrameFunctionalGroupsSequence = [pydicom.Dataset() for _ in frames]
    else:
        dataset.SharedFunctionalGroupsSequence = [pydicom.Dataset()]
        dataset.PerFrameFunctionalGroupsSequence = [group(number) for number in range(len(frames))]
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("of_all", [False, True])
def test_windows_of_functional_groups_are_those_of_their_frames(tmp_path: Path, of_all: bool) -> None:
    stored = np.linspace(0, 2000, 3 * 400).astype(np.uint16).reshape(3, 20, 20)
    found = frames_of(enhanced(tmp_path / "a.dcm", stored, of_all=of_all))
    for number, frame in enumerate(found):
        centre = 1000 if of_all else 1000 * (number + 1)
        values = stored[number] * 2.0 - 50
        expected = np.clip(((values - (centre - 0.5)) / 799 + 0.5) * 255, 0, 255)
        assert np.abs(frame.pixels - expected).max() <= 0.5


def test_a_window_of_functional_groups_is_drawn_as_highdicom_draws_it(tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    stored = np.linspace(0, 2000, 2 * 400).astype(np.uint16).reshape(2, 20, 20)
    path = enhanced(tmp_path / "a.dcm", stored)
    image = highdicom.imread(path)
    for number, frame in enumerate(frames_of(path), start=1):
        drawn = image.get_frame(number, apply_voi_transform=True, voi_output_range=(0, 255))
        assert np.abs(frame.pixels - np.asarray(drawn)).max() <= 1


@pytest.mark.parametrize("entry_bits", [8, 16])
def test_a_palette_means_the_same_in_big_endian(tmp_path: Path, entry_bits: int) -> None:
    indices = np.stack([RAMP[0], RAMP[0, ::-1]])
    table = np.random.default_rng(0).permutation(256).astype(np.uint16)
    words = (table << 8 if entry_bits == 16 else table).astype("<u2" if entry_bits == 16 else np.uint8)
    changes: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        changes[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, entry_bits]
        changes[f"{colour}PaletteColorLookupTableData"] = words.tobytes()
    path = write_dicom(tmp_path / "little.dcm", indices, **changes)
    dataset = pydicom.dcmread(path)
    for colour in ("Red", "Green", "Blue"):
        dataset[f"{colour}PaletteColorLookupTableData"].value = (
            np.frombuffer(words.tobytes(), "<u2").astype(">u2").tobytes()
        )
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    pydicom.dcmwrite(tmp_path / "big.dcm", dataset, implicit_vr=False, little_endian=False)
    drawn = dcmtk.rendered(tmp_path / "big.dcm", options=())
    assert drawn is not None
    for found in (frames_of(path), frames_of(tmp_path / "big.dcm")):
        for number in range(2):
            np.testing.assert_array_equal(found[number].pixels[..., 0], table[indices[number]])
        assert difference(found[0].pixels, drawn) <= 1


def test_every_public_file_is_drawn_as_dcmtk_draws_it_or_refused_in_a_sentence() -> None:
    drawn_alike = refused = 0
    for path in sorted(PUBLIC.rglob("*")):
        if not path.is_file() or path.suffix in {".txt", ".json"} or path.parent != PUBLIC:
            continue
        try:
            picture = frames_of(path)[0].pixels
        except SourceError as error:
            assert error.identifier in {"PE-SRC-011", "PE-SRC-030"}
            refused += 1
            continue
        dataset = pydicom.dcmread(path, force=True)
        is_grey = dataset.SamplesPerPixel == 1 and dataset.PhotometricInterpretation != "PALETTE COLOR"
        # Without a window a picture of more than 8 bits is spread from its darkest to its brightest half percent.
        if (
            is_grey
            and "WindowCenter" not in dataset
            and (dataset.BitsStored != 8 or dataset.SOPClassUID.endswith(".4"))
        ):
            continue
        drawn = dcmtk.rendered(path, options=("+Wi", "1") if is_grey and "WindowCenter" in dataset else ())
        if drawn is not None:
            assert difference(picture, drawn) <= 1, path.name
            drawn_alike += 1
    assert drawn_alike >= 35
    assert refused <= 30


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"])
def test_lossless_jpeg_is_decoded_to_what_was_stored(tmp_path: Path, syntax: str) -> None:
    import subprocess

    stored = np.random.default_rng(0).integers(0, 4096, (2, 16, 24)).astype(np.uint16)
    plain = write_dicom(tmp_path / "a.dcm", stored, BitsStored=12, HighBit=11, WindowCenter="2048", WindowWidth="4096")
    packed = tmp_path / "b.dcm"
    how = "+e1" if syntax.endswith(".70") else "+el"
    subprocess.run([program("dcmcjpeg", "dcmtk"), how, plain, packed], check=True)
    assert pydicom.dcmread(packed).file_meta.TransferSyntaxUID == syntax
    for one, other in zip(frames_of(plain), frames_of(packed), strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_a_deflated_file_is_read(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", RAMP)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.save_as(path)
    np.testing.assert_array_equal(frames_of(path)[0].pixels, RAMP[0])


def test_a_deflated_file_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from physedge_runtime.sources import dicom_file

    path = write_dicom(tmp_path / "a.dcm", np.zeros((1, 512, 512), np.uint8))
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.save_as(path)
    monkeypatch.setattr(dicom_file, "_DEFLATED_AT_MOST", 100_000)
    with pytest.raises(SourceError, match="unpacks to more"):
        DicomSource(path).open()


LEVELS = (40, 90, 140, 190, 220)


def write_video(path: Path, codec: str, form: str, syntax: str, *, damaged: bool = False) -> Path:
    """A DICOM file with a video of five grey pictures of `LEVELS`."""
    import io

    av = pytest.importorskip("av", reason="the extra dicom is not installed")
    from pydicom.encaps import encapsulate

    made = io.BytesIO()
    with av.open(made, "w", format=form) as container:
        track = container.add_stream(codec, rate=25)
        track.width, track.height, track.pix_fmt = 96, 64, "yuv420p"
        if codec == "libx265":
            track.options = {"x265-params": "log-level=none"}
        noise = np.random.default_rng(0).integers(-20, 20, (64, 96, 3))
        for level in LEVELS:
            pixels = (level + noise).astype(np.uint8)
            container.mux(track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(track.encode(None))
    encoded = bytearray(made.getvalue())
    if damaged:
        middle = len(encoded) // 3
        encoded[middle : middle + 400] = bytes(400)
    write_dicom(path, np.zeros((5, 64, 96, 3), np.uint8), PhotometricInterpretation="YBR_PARTIAL_420", CineRate=25)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([bytes(encoded) + b"\0" * (len(encoded) % 2)])
    dataset.file_meta.TransferSyntaxUID = f"1.2.840.10008.1.2.4.{syntax}"
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(
    ("codec", "form", "syntax"),
    [("libx264", "h264", "102"), ("libx265", "hevc", "107"), ("mpeg2video", "mpeg2video", "100")],
)
def test_a_video_inside_is_decoded_frame_by_frame(tmp_path: Path, codec: str, form: str, syntax: str) -> None:
    found = frames_of(write_video(tmp_path / "a.dcm", codec, form, syntax))
    assert [round(float(frame.pixels.mean())) for frame in found] == pytest.approx(list(LEVELS), abs=3)
    assert [frame.source_stamp_ns for frame in found] == [number * 40_000_000 for number in range(5)]
    assert {frame.damage for frame in found} == {Damage.NONE}


def test_a_damaged_video_inside_is_told_and_ends_with_an_error(tmp_path: Path) -> None:
    source = DicomSource(write_video(tmp_path / "a.dcm", "mpeg2video", "mpeg2video", "100", damaged=True))
    source.open()
    found = []
    with pytest.raises(SourceError, match=r"PE-SRC-0(40|11)"):
        while (frame := source.read()) is not None:
            found.append(frame.damage)
    assert set(found) - {Damage.NONE}
    assert sum(source.info.damage.values()) == sum(damage is not Damage.NONE for damage in found)


@pytest.mark.parametrize(
    ("changes", "shape", "spacing_mm"),
    [
        ({"PixelAspectRatio": ["3", "2"]}, (24, 16), None),
        ({"PixelAspectRatio": ["1", "2"]}, (16, 32), None),
        ({"PixelSpacing": [0.4, 0.2]}, (32, 16), (0.2, 0.2)),
        ({"ImagerPixelSpacing": [0.2, 0.4]}, (16, 32), None),
        ({"PixelSpacing": [0.2, 0.2]}, (16, 16), (0.2, 0.2)),
        ({"PixelAspectRatio": ["900", "1"]}, (16, 16), None),
    ],
)
def test_pixels_that_are_not_square_are_drawn_square_and_told(
    tmp_path: Path, changes: dict[str, Any], shape: tuple[int, int], spacing_mm: tuple[float, float] | None
) -> None:
    path = write_dicom(tmp_path / "a.dcm", RAMP, **changes)
    source = DicomSource(path)
    source.open()
    frame = source.read()
    assert frame is not None
    assert frame.pixels.shape == shape
    assert frame.spacing_mm == spacing_mm
    assert bool(source.info.notes) == (changes.get("PixelSpacing") != [0.2, 0.2])
    if shape != (16, 16):
        assert "square" in source.info.notes[0]
        np.testing.assert_allclose(frame.pixels.mean(), RAMP.mean(), atol=1)
