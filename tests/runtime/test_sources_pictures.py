"""Pictures of several pages, of more than eight bits, turned, and damaged: one rule, whichever decoder is installed."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from physedge_runtime.errors import EnvironmentFault, SourceError
from physedge_runtime.frame import Colour, Frame
from physedge_runtime.sources import SourceEnded, open_source
from physedge_runtime.sources.base import Source
from physedge_runtime.sources.depth import Undecidable, scale_of
from physedge_runtime.sources.opencv import import_opencv
from physedge_runtime.sources.picture import count_pages, read_pages, read_picture
from physedge_runtime.sources.picture_header import turned

pytest.importorskip("cv2", reason="the extra camera is not installed")
Image = pytest.importorskip("PIL.Image", reason="the extra camera is not installed")
cv2 = import_opencv()

GREY = np.random.default_rng(3).integers(20, 236, (24, 32)).astype(np.uint8)
COLOURS = [np.random.default_rng(seed).integers(0, 256, (24, 32, 3)).astype(np.uint8) for seed in range(10)]


@pytest.fixture(params=["OpenCV", "Pillow alone"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "OpenCV":
        monkeypatch.setitem(sys.modules, "cv2", None)
    return str(request.param)


def all_frames(source: Source) -> list[Frame]:
    frames: list[Frame] = []
    source.open()
    try:
        while True:
            frame = source.read()
            assert frame is not None
            frames.append(frame)
    except SourceEnded:
        source.close()
        return frames


def rgb(pixels: NDArray[np.uint8], colour: Colour) -> NDArray[np.uint8]:
    return pixels if colour is Colour.RGB else pixels[:, :, ::-1]


def write_pages(path: Path) -> Path:
    first, *others = [Image.fromarray(page) for page in COLOURS]
    options = {"lossless": True} if path.suffix == ".webp" else {}
    times = {} if path.suffix == ".tif" else {"duration": 40}
    first.save(path, save_all=True, append_images=others, **options, **times)
    return path


@pytest.mark.parametrize("name", ["stack.tif", "moving.webp", "moving.png"])
def test_every_page_is_answered_in_order(tmp_path: Path, decoder: str, name: str) -> None:
    source = open_source(str(write_pages(tmp_path / name)))
    frames = all_frames(source)
    assert [frame.frame_id for frame in frames] == list(range(10))
    for frame, truth in zip(frames, COLOURS, strict=True):
        np.testing.assert_array_equal(rgb(frame.pixels, frame.colour), truth)
    assert [frame.name for frame in frames] == [f"{name}, page {number + 1}" for number in range(10)]
    stamps = None if name == "stack.tif" else 40_000_000
    assert [frame.source_stamp_ns for frame in frames] == [None if stamps is None else n * stamps for n in range(10)]
    assert source.info.frames == 10
    assert len(all_frames(source)) == 10, "it can be opened again"


@pytest.mark.parametrize("times", [{}, {"duration": 40}])
def test_every_picture_of_a_gif_is_answered(tmp_path: Path, decoder: str, times: dict[str, int]) -> None:
    pictures = [Image.fromarray(GREY // 32 * 32 + number) for number in range(10)]
    pictures[0].save(tmp_path / "moving.gif", save_all=True, append_images=pictures[1:], **times)
    frames = all_frames(open_source(str(tmp_path / "moving.gif")))
    assert [int(frame.pixels[0, 0, 0]) - int(GREY[0, 0]) // 32 * 32 for frame in frames] == list(range(10))


def test_pages_and_pictures_of_a_folder_are_counted_together(tmp_path: Path) -> None:
    write_pages(tmp_path / "b.tif")
    Image.fromarray(GREY).save(tmp_path / "a.png")
    source = open_source(str(tmp_path))
    frames = all_frames(source)
    assert [frame.frame_id for frame in frames] == list(range(11))
    assert [frame.name for frame in frames][:2] == ["a.png", "b.tif, page 1"]
    assert source.info.frames == 11


def test_a_set_of_pictures_refuses_what_has_several_pages(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"PE-SRC-050: .*stack\.tif holds 10 pages"):
        read_picture(write_pages(tmp_path / "stack.tif"))


def test_thumbnails_of_a_tiff_are_no_pages(tmp_path: Path) -> None:
    path = tmp_path / "pyramid.tif"
    small = Image.fromarray(COLOURS[1][::2, ::2])
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(COLOURS[0]).save(path, save_all=True, append_images=[small])
    assert count_pages(path) == 1
    pixels, colour = read_picture(path)
    np.testing.assert_array_equal(rgb(pixels, colour), COLOURS[0])


def test_the_picture_that_only_still_viewers_show_is_no_part_of_an_animation(tmp_path: Path) -> None:
    path = tmp_path / "moving.png"
    others = [Image.fromarray(page) for page in COLOURS[1:4]]
    Image.fromarray(COLOURS[0]).save(path, save_all=True, append_images=others, default_image=True)
    pages = list(read_pages(path))
    assert len(pages) == count_pages(path) == 3
    np.testing.assert_array_equal(pages[0].pixels, COLOURS[1])


# Depth.


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("coloured", [False, True])
def test_sixteen_bits_come_at_the_brightness_that_was_meant(
    tmp_path: Path, decoder: str, bits: int, suffix: str, coloured: bool
) -> None:
    truth = COLOURS[0] if coloured else GREY
    low_bits = np.random.default_rng(0).integers(0, 2 ** (bits - 8), truth.shape)
    cv2_now = import_opencv() if decoder == "OpenCV" else cv2
    cv2_now.imwrite(str(tmp_path / f"a.{suffix}"), (truth.astype(np.uint16) << (bits - 8)) + low_bits.astype(np.uint16))
    if decoder != "OpenCV" and coloured:
        with pytest.raises(EnvironmentFault, match="PE-ENV-001"):
            read_picture(tmp_path / f"a.{suffix}")
        return
    pixels, _ = read_picture(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(pixels, truth if coloured else np.repeat(truth[:, :, None], 3, axis=2))


def test_a_dark_page_stays_dark_beside_a_bright_one(tmp_path: Path) -> None:
    bright, dark = GREY.astype(np.uint16) << 4, GREY.astype(np.uint16)
    cv2.imwritemulti(str(tmp_path / "a.tif"), [bright, dark])
    second, first = (page.pixels[:, :, 0] for page in read_pages(tmp_path / "a.tif"))
    np.testing.assert_array_equal(first, GREY >> 4)
    np.testing.assert_array_equal(second, GREY)


def test_signed_values_go_from_the_smallest_to_the_largest(tmp_path: Path, decoder: str) -> None:
    values = (np.arange(24 * 32).reshape(24, 32) * 4 - 1500).astype(np.int16)
    cv2.imwrite(str(tmp_path / "a.tif"), values)
    pixels = read_picture(tmp_path / "a.tif")[0][:, :, 0].astype(int).ravel()
    exact = np.arange(24 * 32) * 255 / (24 * 32 - 1)
    assert np.abs(pixels - exact).max() <= 0.5
    assert (pixels[0], pixels[-1]) == (0, 255)


@pytest.mark.parametrize("largest", [1.0, 255.0, 4080.0])
def test_fractions_and_floating_grey_levels(tmp_path: Path, decoder: str, largest: float) -> None:
    cv2.imwrite(str(tmp_path / "a.tif"), (GREY / 255 * largest).astype(np.float32))
    assert np.abs(read_picture(tmp_path / "a.tif")[0][:, :, 0].astype(int) - GREY).max() <= 1


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    values = GREY.astype(np.float32)
    values[3, 4] = np.nan
    cv2.imwrite(str(tmp_path / "a.tif"), values)
    with pytest.raises(SourceError, match=r"PE-SRC-005: .*a\.tif .*no numbers"):
        read_picture(tmp_path / "a.tif")


def test_white_that_is_stored_as_zero(tmp_path: Path, decoder: str) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(4095 - (GREY.astype(np.uint16) << 4)).save(path, tiffinfo={262: 0})
    with Image.open(path) as stored:
        assert stored.tag_v2[262] == 0
    np.testing.assert_array_equal(read_picture(path)[0][:, :, 0], GREY)


@pytest.mark.parametrize(
    ("low", "high", "integers", "shift"),
    [
        (0, 0, True, 0),
        (0, 255, True, 0),
        (0, 256, True, 2),
        (0, 1023, True, 2),
        (0, 1024, True, 4),
        (0, 65535, True, 8),
        (0, 2**32 - 1, True, 24),
        (0, 1.5, False, 0),
    ],
)
def test_the_used_bits_follow_from_the_largest_value(low: float, high: float, integers: bool, shift: int) -> None:
    assert scale_of(low, high, integers=integers).shift == shift


def test_a_flat_picture_with_values_below_zero_is_black() -> None:
    assert scale_of(-5, -5, integers=True).apply(np.full((2, 2), -5, np.int16)).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(Undecidable):
        scale_of(0, 2.0**33, integers=False)


# Orientation and the shape of pixels.

TURNS = {  # where the first row and the first column of what is stored belong: EXIF 2.32, tag 274
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_a_camera_that_was_held_otherwise_is_turned(
    tmp_path: Path, decoder: str, suffix: str, orientation: int
) -> None:
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :8] = 250  # one corner bright, so that every turn is another picture
    stored[:8, 8:16] = 120
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {"quality": 100} if suffix == "jpg" else {}
    Image.fromarray(stored).save(path, exif=exif, **options)
    pixels, _ = read_picture(path)
    expected = TURNS[orientation](stored)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= (12 if suffix == "jpg" else 0)
    np.testing.assert_array_equal(turned(stored, orientation), expected)


def test_an_orientation_mark_behind_the_pixels_of_a_png_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(COLOURS[0]).save(path)
    exif = Image.Exif()
    exif[274] = 6
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
    whole = path.read_bytes()
    path.write_bytes(whole[:-12] + chunk + whole[-12:])
    assert read_picture(path)[0].shape == (32, 24, 3)


@pytest.mark.parametrize(("name", "options"), [("a.png", {"dpi": (72, 144)}), ("a.tif", {"dpi": (72, 144)})])
def test_pixels_that_are_not_square_are_told_and_not_stretched(
    tmp_path: Path, name: str, options: dict[str, tuple[int, int]]
) -> None:
    Image.fromarray(COLOURS[0]).save(tmp_path / name, **options)
    Image.fromarray(COLOURS[0]).save(tmp_path / f"square-{name}", dpi=(72, 72))
    source = open_source(str(tmp_path))
    frame, square = all_frames(source)
    assert frame.pixels.shape == (24, 32, 3)
    assert frame.metadata["pixel_aspect"] == pytest.approx(2, rel=1e-3)
    assert "2 times as wide as high" in frame.spacing_note
    assert (dict(square.metadata), square.spacing_note) == ({}, "")
    assert source.info.notes == (frame.spacing_note,)


# What was so before, and what is refused.


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA"])
@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "bmp", "jpg"])
def test_ordinary_pictures_keep_their_bytes(tmp_path: Path, mode: str, suffix: str) -> None:
    """What OpenCV decodes on its own is what networks were trained and judged on."""
    path = tmp_path / f"a.{suffix}"
    picture = Image.fromarray(COLOURS[0]).convert(mode)
    kept = {"bmp": ("RGB", "L", "1", "P"), "jpg": ("RGB", "L"), "webp": ("RGB", "RGBA")}.get(suffix, (mode,))
    (picture if mode in kept else picture.convert("RGB")).save(path)
    before = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    pixels, colour = read_picture(path)
    assert colour is Colour.BGR
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("name", ["stack.tif", "moving.webp", "moving.png"])
def test_a_damaged_file_is_refused_and_never_half_answered_as_whole(tmp_path: Path, decoder: str, name: str) -> None:
    whole = write_pages(tmp_path / name).read_bytes()
    generator = np.random.default_rng(5)
    for length in (len(whole) // 3, len(whole) * 2 // 3, len(whole) - 40):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(SourceError, match="PE-SRC-005"):
            list(read_pages(tmp_path / name))
    for _ in range(20):
        torn = bytearray(whole)
        for place in generator.integers(40, len(torn), 6):  # not the size, which would be huge
            torn[place] = generator.integers(0, 256)
        (tmp_path / name).write_bytes(torn)
        try:
            pages = list(read_pages(tmp_path / name))
        except SourceError as error:
            assert error.identifier == "PE-SRC-005"
        else:
            assert all(page.pixels.dtype == np.uint8 for page in pages)


def test_a_tiff_of_an_unknown_kind_is_refused_and_not_wrapped_around(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.tif"), np.full((8, 8, 3), -5, np.int16))
    with pytest.raises(SourceError, match="PE-SRC-005"):
        read_picture(tmp_path / "a.tif")
