"""Videos with known content, made by Debian's ffmpeg: picture n carries n as eight light or dark blocks.

A light bar moves by `STEP_PX` from picture to picture, so that two moments woven into one picture show as a comb.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from debian import program
from numpy.typing import NDArray

HEIGHT, WIDTH = 128, 192
STEP_PX = 4
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "8", "-pix_fmt", "yuv420p", "-threads", "1")


def picture(number: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """uint8 (height, width, 3) RGB: the number in the upper half, the bar in the lower."""
    pixels = np.full((height, width, 3), 70, np.uint8)
    for bit in range(8):
        left = bit * width // 8
        pixels[height // 8 : 3 * height // 8, left + 2 : left + width // 8 - 2] = 220 if number >> bit & 1 else 20
    left = number * STEP_PX % (width - 32)
    pixels[height // 2 :, left : left + 32] = 200
    return pixels


def number_in(pixels: NDArray[np.uint8]) -> int:
    """The number that a picture carries."""
    height, width = pixels.shape[:2]
    row = pixels[height // 4, :, 1]
    return sum((int(row[bit * width // 8 + width // 16]) > 120) << bit for bit in range(8))


def encode(
    path: Path,
    pictures: Iterable[NDArray[np.uint8]],
    *options: str,
    rate: str = "25",
    before: Sequence[str] = (),
) -> Path:
    """Write a video.

    Args:
        path: Its name says the container.
        pictures: uint8 (height, width, 3) RGB, all of one size.
        options: Of ffmpeg for the output.
        rate: Pictures a second.
        before: Options that stand before the output's own.
    """
    content = list(pictures)
    height, width = content[0].shape[:2]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", rate, "-i", "-"]
    run_ffmpeg(*raw, *before, *(options or X264), str(path), content=b"".join(one.tobytes() for one in content))
    return path


def run_ffmpeg(*arguments: str, content: bytes | None = None) -> bytes:
    """Run ffmpeg; what it wrote to standard output."""
    ffmpeg = program("ffmpeg", "ffmpeg")
    done = subprocess.run([ffmpeg, "-v", "error", "-y", *arguments], input=content, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def counted(count: int, first: int = 0) -> list[NDArray[np.uint8]]:
    """Pictures with the numbers from `first` on."""
    return [picture(number) for number in range(first, first + count)]


def woven(count: int) -> list[NDArray[np.uint8]]:
    """Interlaced pictures: even lines of moment 2n, odd lines of moment 2n + 1; the blocks say n."""
    pictures = []
    for number in range(count):
        first, second = picture(2 * number), picture(2 * number + 1)
        first[: HEIGHT // 2] = second[: HEIGHT // 2] = picture(number)[: HEIGHT // 2]
        first[1::2] = second[1::2]
        pictures.append(first)
    return pictures


def comb(pixels: NDArray[np.uint8]) -> float:
    """How far neighbouring lines of the lower half differ, as a mean of 255; large where two moments are woven."""
    lines = pixels[pixels.shape[0] // 2 + 8 : -8, :, 1].astype(float)
    return float(np.abs(lines[1:] - lines[:-1]).mean())


def overwritten(path: Path, share: float, size_bytes: int, into: Path) -> Path:
    """The file again with zeros from a share of its length on."""
    content = bytearray(path.read_bytes())
    start = int(share * len(content))
    content[start : start + size_bytes] = bytes(size_bytes)
    into.write_bytes(content)
    return into
