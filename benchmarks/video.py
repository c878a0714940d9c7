"""Decoding of video files: PyAV as physedge uses it against OpenCV's VideoCapture, for speed and for what comes out.

    python benchmarks/video.py speed --rounds 7
    python benchmarks/video.py right

`speed` decodes whole clips of 1920x1080 to pictures in memory, the two in turns within each round, one thread of
conversion each; the second figure of a row is the processor time of a picture. `right` decodes clips whose pictures
carry their numbers. Needs Debian's ffmpeg to make the clips.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))

from clips import X264, comb, counted, encode, number_in, overwritten, run_ffmpeg, woven
from machine import machine_line

from physedge_runtime.frame import Damage
from physedge_runtime.sources.opencv import import_opencv
from physedge_runtime.sources.video import VideoDecoder

Decode = Callable[[Path], Iterator[NDArray[np.uint8]]]
_NOISE = "testsrc2=size=1920x1080:rate=30,noise=alls=8:allf=t"
_CLIPS = {
    "H.264": ("h264.mp4", ("-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p"), 240),
    "H.264, interlaced": (
        "interlaced.mp4",
        ("-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p", "-flags", "+ildct+ilme"),
        120,
    ),
    "motion JPEG": ("mjpeg.avi", ("-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p"), 120),
}


def by_pyav(path: Path) -> Iterator[NDArray[np.uint8]]:
    """RGB pictures, as physedge decodes them."""
    decoder = VideoDecoder(path)
    try:
        while True:
            picture = decoder.read()
            if picture is not None:
                yield picture.pixels
    except EOFError:
        return
    finally:
        decoder.close()


def by_opencv(path: Path) -> Iterator[NDArray[np.uint8]]:
    """BGR pictures, as a loop over VideoCapture gets them."""
    cv2 = import_opencv()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    while (read := capture.read())[0]:
        yield read[1]
    capture.release()


def measured(decode: Decode, path: Path) -> tuple[float, float]:
    """Pictures a second, and milliseconds of processor time a picture."""
    wall_s, processor_s, count = time.perf_counter(), time.process_time(), 0
    for pixels in decode(path):
        count += pixels.size > 0
    return count / (time.perf_counter() - wall_s), 1000 * (time.process_time() - processor_s) / count


def speed(folder: Path, rounds: int) -> None:
    """Print a table of pictures a second."""
    print("| 1920x1080 | OpenCV | PyAV | PyAV / OpenCV | processor time a picture: OpenCV | PyAV |")
    print("|---|---|---|---|---|---|")
    for name, (file, options, count) in _CLIPS.items():
        path = folder / file
        run_ffmpeg("-f", "lavfi", "-i", _NOISE, "-frames:v", str(count), *options, str(path))
        pairs = []
        for number in range(rounds):
            order: list[Decode] = [by_opencv, by_pyav] if number % 2 == 0 else [by_pyav, by_opencv]
            pairs.append({decode.__name__: measured(decode, path) for decode in order})
        opencv, pyav = ([pair[one] for pair in pairs] for one in ("by_opencv", "by_pyav"))
        ratio = statistics.median(ours[0] / theirs[0] for ours, theirs in zip(pyav, opencv, strict=True))
        rates = [f"{statistics.median(rate for rate, _ in one):.0f} a second" for one in (opencv, pyav)]
        costs = [f"{statistics.median(cost for _, cost in one):.1f} ms" for one in (opencv, pyav)]
        print(f"| {name}, {count} pictures | {rates[0]} | {rates[1]} | {ratio:.2f} | {costs[0]} | {costs[1]} |")


def clips(folder: Path) -> dict[str, tuple[Path, int]]:
    """Clips with known content, and the number of pictures in each."""
    noise = np.random.default_rng(0)
    interlaced = ("-flags", "+ildct+ilme", "-x264opts", "tff=1")
    parts = [
        encode(folder / f"{first}.h264", counted(8, first), *X264, *options).read_bytes()
        for first, options in ((0, ()), (8, interlaced), (16, ()))
    ]
    (folder / "mixed.h264").write_bytes(b"".join(parts))
    noisy = [np.clip(one + noise.integers(-8, 9, (*one.shape[:2], 1)), 0, 255).astype(np.uint8) for one in counted(40)]
    whole = encode(folder / "whole.mp4", noisy, *X264, "-g", "10")
    cut = folder / "cut.mkv"
    made = encode(folder / "whole.mkv", noisy, "-c:v", "ffv1", "-g", "1").read_bytes()
    cut.write_bytes(made[: len(made) // 2])
    times = r"settb=1/1000,setpts=if(lt(N\,10)\,40*N\,400+120*(N-10))"
    return {
        "progressive H.264": (encode(folder / "plain.mp4", counted(24)), 24),
        "interlaced H.264": (encode(folder / "i.ts", woven(24), *X264, *interlaced), 24),
        "interlaced in its middle": (folder / "mixed.h264", 24),
        "3,000 zero bytes in the middle": (overwritten(whole, 0.55, 3000, folder / "damaged.mp4"), 40),
        "cut off": (cut, 40),
        "variable rate": (encode(folder / "v.mkv", counted(20), "-vf", times, "-fps_mode", "vfr", *X264), 20),
        "pixels of 16:15": (encode(folder / "sar.mp4", counted(8), "-vf", "setsar=16/15", *X264), 8),
    }


def told(decoder: VideoDecoder) -> str:
    """What the decoder knows of the clip."""
    damage = ", ".join(f"{count} {kind}" for kind, count in decoder.damage.items())
    return "; ".join(text for text in (damage, decoder.truncated, *decoder.notes) if text) or "nothing"


def described(pictures: list[NDArray[np.uint8]], *, is_interlaced: bool) -> str:
    """How many different pictures came, repeated ones, and the comb where one shows."""
    numbers = [number_in(pixels) for pixels in pictures]
    repeated = len(numbers) - len(set(numbers))
    combs = max((comb(pixels) for pixels in pictures[1:-1]), default=0.0) if is_interlaced else 0.0
    order = "" if numbers == sorted(numbers) else ", out of order"
    height, width = pictures[0].shape[:2]
    return f"{len(set(numbers))}, {repeated} repeated{order}{', combed' if combs > 5 else ''}, {width}x{height}"


def right(folder: Path) -> None:
    """Print a table of what comes out."""
    print("| clip | pictures in it | OpenCV | PyAV, pictures that are answered | PyAV says |")
    print("|---|---|---|---|---|")
    for name, (path, count) in clips(folder).items():
        decoder, ours = VideoDecoder(path), []
        try:
            while True:
                if (picture := decoder.read()) is not None and picture.damage is not Damage.PICTURE:
                    ours.append(picture.pixels)
        except EOFError:
            decoder.close()
        theirs, is_interlaced = list(by_opencv(path)), "interlaced" in name
        both = [described(one, is_interlaced=is_interlaced) for one in (theirs, ours)]
        print(f"| {name} | {count} | {both[0]} | {both[1]} | {told(decoder)} |")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "right"])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    import_opencv()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what == "speed":
            speed(Path(folder), arguments.rounds)
        else:
            right(Path(folder))
    import av
    import cv2

    print(f"\n{machine_line()}; opencv {cv2.__version__}, av {av.__version__}")


if __name__ == "__main__":
    main()
