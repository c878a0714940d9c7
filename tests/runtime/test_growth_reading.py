"""A tumour model's answer for one frame: its scale, its words, its drawing, and spacings that cannot be meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stream_dicom import write_dicom

from physedge_runtime.decode import Head, decode
from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Colour, Fit, Frame, FrameSpec, spacing_fault
from physedge_runtime.growth import GrowthSpec
from physedge_runtime.growth_reading import count_foci, parameter_words
from physedge_runtime.results import Classification, Signal, StageTimes
from physedge_runtime.sinks.overlay import Overlay
from physedge_runtime.sources.dicom import DicomSource
from physedge_runtime.sources.folder import FolderSource
from physedge_runtime.sources.spaced import SpacedSource
from physedge_runtime.spec import ModelSpec, Task
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo

SPEC = ModelSpec(
    name="tumour",
    task=Task.CLASSIFICATION,
    classes=("glioma", "no_tumor"),
    frame=FrameSpec(height=64, width=64, fit=Fit.LETTERBOX),
    growth=GrowthSpec(cells=16, field_of_view_mm=128.0, none_class="no_tumor"),
)


def _outputs() -> dict[str, Any]:
    density = np.zeros((1, 5, 16, 16), np.float32)
    for step in range(5):
        density[0, step, 4:8, 4 : 9 + step // 2] = 0.6 + 0.05 * step
    density[0, 0, 12, 12] = 0.9
    return {
        "probability": np.array([[0.8, 0.2]], np.float32),
        "density": density,
        "D_mm2_per_day": np.array([[0.2]], np.float32),
        "rho_per_day": np.array([[0.02]], np.float32),
        "front_width_mm": np.array([[10**0.5]], np.float32),
        "trust_bounds": np.zeros((1, 1), np.float32),
    }


def _answer(frame: Frame) -> Classification:
    result = decode(_outputs(), SPEC, Head(frame=frame, stages=StageTimes(), age_ms=0.0, engine=""))
    assert isinstance(result, Classification)
    return result


def _frame(height: int = 128, width: int = 128, **changes: Any) -> Frame:
    return Frame(pixels=np.full((height, width, 3), 90, np.uint8), **changes)


def test_without_a_spacing_lengths_are_latent() -> None:
    result = _answer(_frame())
    assert (result.label, result.times_days) == ("glioma", (0.0, 14.4, 28.8, pytest.approx(43.2), 57.6))
    assert result.parameters["D_mm2_per_day"] == pytest.approx(0.2)
    assert result.parameters["mass_fraction"] == pytest.approx(result.maps["density"][0].mean())
    assert result.parameters["foci_count"] == 2
    assert "trust_bounds" not in result.parameters
    assert "an assumed field of view of 128 mm" in result.note
    assert result.note.endswith("D and rho are latent, no measurement of a patient")


def test_a_spacing_scales_lengths_and_leaves_rates() -> None:
    """128 pixels of 2 mm are 256 mm, twice the assumed field of view: cells twice as long, D four times as large."""
    result = _answer(_frame(spacing_mm=(2.0, 2.0)))
    assert result.parameters["D_mm2_per_day"] == pytest.approx(0.8)
    assert result.parameters["front_width_mm"] == pytest.approx(2 * 10**0.5)
    assert result.parameters["rho_per_day"] == pytest.approx(0.02)
    assert result.note.startswith("on the frame's own pixel spacing; one picture fixes sqrt(D/rho) at best")
    assert "no measurement" in result.note


def test_a_letterboxed_frame_is_as_wide_as_its_longer_side() -> None:
    result = _answer(_frame(height=64, width=128, spacing_mm=(1.0, 1.0)))
    assert result.parameters["D_mm2_per_day"] == pytest.approx(0.2)


def test_foci_touch_by_edges() -> None:
    assert count_foci(np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0]], bool)) == 3
    assert count_foci(np.zeros((4, 4), bool)) == 0


@pytest.mark.parametrize("spacing", [(0.0, 0.0), (-1.0, 1.0), (float("nan"), 1.0), (0.5, 40.0), (0.0001, 0.5)])
def test_spacings_that_cannot_be_meant(spacing: tuple[float, float]) -> None:
    assert "cannot be meant" in spacing_fault(spacing)
    assert spacing_fault((0.49, 0.49)) == ""


@pytest.mark.parametrize("pixel_mm", [0.0, -0.5, 50.0, float("nan")])
def test_an_absurd_pixel_is_refused(tmp_path: Path, pixel_mm: float) -> None:
    with pytest.raises(UsageError, match=r"PE-RUN-004: .*cannot be meant.*--pixel-mm") as caught:
        SpacedSource(FolderSource(tmp_path), pixel_mm)
    assert caught.value.exit_status == 2


def test_a_said_spacing_stands_on_every_frame(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8), np.uint8))
    source = SpacedSource(FolderSource(tmp_path), 0.5)
    source.open()
    frame = source.read()
    source.close()
    assert frame is not None
    assert frame.spacing_mm == (0.5, 0.5)
    assert source.info.frames == 1


def _read(path: Path) -> Frame:
    source = DicomSource(path)
    source.open()
    frame = source.read()
    source.close()
    assert frame is not None
    return frame


def test_dicom_says_its_spacing(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 1200, (1, 32, 48)).astype(np.uint16)
    frame = _read(write_dicom(tmp_path / "mr.dcm", pixels, Modality="MR", PixelSpacing=[0.49, 0.51]))
    assert frame.colour is Colour.GREY
    assert frame.pixels.dtype == np.uint8
    # Pixels are brought to a square: 48 columns of 0.51 mm become 50 of 0.4896 mm.
    assert frame.spacing_mm == pytest.approx((0.49, 48 * 0.51 / 50))
    assert _answer(frame).note.startswith("on the frame's own pixel spacing")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "no pixel spacing is known"),
        ({"PixelSpacing": [0.0, 0.0]}, "a pixel spacing of 0 x 0 mm cannot be meant"),
        ({"PixelSpacing": [500.0, 0.5]}, "a pixel spacing of 500 x 0.5 mm cannot be meant"),
    ],
)
def test_dicom_without_a_usable_spacing_is_answered_as_latent(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    pixels = np.full((1, 32, 32), 7, np.uint8)
    frame = _read(write_dicom(tmp_path / "mr.dcm", pixels, **changes))
    assert frame.spacing_mm is None
    assert words in _answer(frame).note
    assert _answer(frame).parameters["D_mm2_per_day"] == pytest.approx(0.2)


def test_the_density_is_drawn_where_it_is_and_its_evolution_beside_it() -> None:
    info = StreamInfo(source="test", live=False, period_ns=None, engine="", classes=SPEC.classes, frame_spec=SPEC.frame)
    frame = _frame(height=240, width=320, colour=Colour.BGR)
    result = _answer(frame)
    item = StreamedFrame(
        frame=frame, result=result, signal=Signal.LIVE, captured_ns=0, at_ns=0, age_ms=1.0, trust=result.trust
    )
    drawn = Overlay(info).draw(item, with_bar=False)
    assert drawn is not None
    changed = (drawn != 90).any(axis=2)
    # Letterboxed 320x240: 5 frame pixels a grid pixel, 20 a cell, the picture's first row is row 2 of the cells.
    inside, outside = changed[4 * 20 - 40 + 20 : 8 * 20 - 40 - 20, 4 * 20 + 20 : 9 * 20 - 20], changed[200:, 20:60]
    assert inside.mean() > 0.9
    assert not outside.any()
    side = int(0.15 * 240)
    strip = drawn[: 5 * (side + 2), -side:]
    assert (strip != 90).any(axis=2).mean() > 0.9
    plain = Overlay(info).draw(
        StreamedFrame(frame=frame, signal=Signal.LIVE, captured_ns=0, at_ns=0, age_ms=1.0), with_bar=False
    )
    assert plain is not None
    assert (plain == 90).all()


def test_the_parameters_and_what_they_are_stand_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    info = StreamInfo(source="test", live=False, period_ns=None, engine="", classes=SPEC.classes, frame_spec=SPEC.frame)
    overlay = Overlay(info)
    said: list[str] = []
    put = overlay._cv2.putText

    def heard(canvas: Any, text: str, *rest: Any) -> Any:
        said.append(text)
        return put(canvas, text, *rest)

    monkeypatch.setattr(overlay._cv2, "putText", heard)
    for spacing_mm, begins in ((None, "latent: no pixel spacing is known"), ((1.0, 1.0), "on the frame's own pixel")):
        frame = _frame(height=512, width=512, colour=Colour.BGR, spacing_mm=spacing_mm)
        result = _answer(frame)
        item = StreamedFrame(
            frame=frame, result=result, signal=Signal.LIVE, captured_ns=0, at_ns=0, age_ms=1.0, trust=result.trust
        )
        said.clear()
        overlay.draw(item)
        words = parameter_words(result.parameters)
        assert words in said
        assert any(text.startswith(begins) for text in said)
    assert words == "D 3.2 mm2/day, rho 0.02/day, sqrt(D/rho) 12.6 mm"
    assert parameter_words({}) == ""
