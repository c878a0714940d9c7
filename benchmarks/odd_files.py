"""What comes out of files that nobody here has made: pydicom's test files, containers and pictures of many kinds.

python benchmarks/odd_files.py [--write docs/odd_files.md]    # exit status 1 where a file ended in a traceback

The DICOM files are those of the packages pydicom and, where it is installed, pydicom-data. Clips are made by Debian's
ffmpeg, pictures by Pillow and OpenCV, in a temporary folder. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from physedge_runtime.errors import PhysedgeError
from physedge_runtime.sources.base import SourceEnded
from physedge_runtime.sources.table import open_source

_CLIPS = {
    "h264.mp4": "-c:v libx264 -pix_fmt yuv420p",
    "h264-fragmented.mp4": "-c:v libx264 -pix_fmt yuv420p -movflags frag_keyframe+empty_moov",
    "h264-10bit.mkv": "-c:v libx264 -pix_fmt yuv420p10le",
    "h264-444.mov": "-c:v libx264 -pix_fmt yuv444p",
    "h264.ts": "-c:v libx264 -pix_fmt yuv420p",
    "h264.flv": "-c:v libx264 -pix_fmt yuv420p",
    "bare.h264": "-c:v libx264 -pix_fmt yuv420p -f h264",
    "h264-interlaced.mp4": "-c:v libx264 -pix_fmt yuv420p -flags +ildct+ilme -x264opts tff=1",
    "hevc.mp4": "-c:v libx265 -pix_fmt yuv420p -x265-params log-level=none",
    "bare.hevc": "-c:v libx265 -pix_fmt yuv420p -x265-params log-level=none -f hevc",
    "mpeg2.mpg": "-c:v mpeg2video",
    "mpeg2.vob": "-c:v mpeg2video -f vob",
    "mpeg2.mxf": "-c:v mpeg2video -r 25",
    "mpeg1.mpeg": "-c:v mpeg1video -f mpeg1video",
    "mpeg4.avi": "-c:v mpeg4",
    "msmpeg4.avi": "-c:v msmpeg4",
    "wmv2.wmv": "-c:v wmv2",
    "flv1.flv": "-c:v flv1",
    "mjpeg.avi": "-c:v mjpeg -pix_fmt yuvj420p",
    "mjpeg.mov": "-c:v mjpeg -pix_fmt yuvj422p",
    "bare.mjpg": "-c:v mjpeg -pix_fmt yuvj420p -f mjpeg",
    "vp8.webm": "-c:v libvpx",
    "vp9.webm": "-c:v libvpx-vp9",
    "theora.ogv": "-c:v libtheora",
    "ffv1.mkv": "-c:v ffv1",
    "ffv1-16bit.mkv": "-c:v ffv1 -pix_fmt gray16le",
    "huffyuv.avi": "-c:v huffyuv",
    "raw-rgb.avi": "-c:v rawvideo -pix_fmt bgr24",
    "raw.y4m": "-pix_fmt yuv420p",
    "prores.mov": "-c:v prores",
    "dnxhd.mov": "-c:v dnxhd -s 1920x1080 -b:v 36M -pix_fmt yuv422p",
    "dv.dv": "-s 720x576 -r 25 -pix_fmt yuv420p",
    "png.mov": "-c:v png",
    "moving.gif": "",
    "wide-pixels.mp4": "-c:v libx264 -pix_fmt yuv420p -vf setsar=16/15",
    "sound-alone.mp4": "-vn",
}
_EXPLAINED = """# Files that nobody here has made

What our sources make of pydicom's own test files and of containers and pictures of many kinds:
`python benchmarks/odd_files.py --write docs/odd_files.md`. Each is answered with pictures, or refused in one sentence;
the script fails where anything else comes. That a DICOM picture has the right values is held by tests against DCMTK.
"""


def main() -> int:
    """Print or write the table; 1 where a file ended in a traceback."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--write", type=Path, help="the table is written here")
    given = arguments.parse_args()
    warnings.simplefilter("ignore")
    lines, outcomes = [_EXPLAINED.rstrip()], Counter[str]()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_clips(folder / "clips")
        write_pictures(folder / "pictures")
        for title, root in (*dicom_folders(), ("Containers", folder / "clips"), ("Pictures", folder / "pictures")):
            lines += ["", f"## {title}", "", "| file | what came out |", "|---|---|"]
            for path in sorted(one for one in root.rglob("*") if one.is_file() and one.suffix not in (".py", ".pyc")):
                kind, words = outcome(path)
                outcomes[kind] += 1
                lines.append(f"| `{path.relative_to(root).as_posix()}` | {words} |")
                print(f"{words}  {path.name}", file=sys.stderr)
    total = ", ".join(f"{count} {kind}" for kind, count in sorted(outcomes.items()))
    lines.insert(1, f"\nOf {sum(outcomes.values())} files: {total}.")
    text = "\n".join(lines) + "\n"
    if given.write:
        given.write.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 1 if outcomes["ended in a traceback"] else 0


def outcome(path: Path) -> tuple[str, str]:
    """What a file counts as, and in words what came out of it."""
    sizes: Counter[tuple[int, ...]] = Counter()
    try:
        source = open_source(str(path))
        source.open()
        try:
            while True:
                frame = source.read()
                if frame is not None:
                    sizes[frame.pixels.shape] += 1
        finally:
            source.close()
    except SourceEnded:
        return "answered", _pictures(sizes)
    except PhysedgeError as error:
        told = f"{error.identifier}: {error.found}".replace(str(path), "the file").replace("|", "/")
        return ("answered in part, then refused", f"{_pictures(sizes)}, then {told}") if sizes else ("refused", told)
    except Exception as error:  # the one thing that must not happen, and the reason for this script
        return "ended in a traceback", f"**{type(error).__name__}**: {error}".replace("\n", " ")


def _pictures(sizes: Counter[tuple[int, ...]]) -> str:
    words = []
    for (height, width, *channels), count in sizes.items():
        words.append(f"{count} of {width}x{height}{', grey' if not channels else ''}")
    return "; ".join(words) or "no picture"


def dicom_folders() -> Iterator[tuple[str, Path]]:
    """The folders of test files that the installed packages bring."""
    for package, folder, title in (
        ("pydicom", "data/test_files", "DICOM, from pydicom"),
        ("data_store", "data", "DICOM, from pydicom-data"),
    ):
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None and (Path(found.origin).parent / folder).is_dir():
            yield title, Path(found.origin).parent / folder


def write_clips(folder: Path) -> None:
    """Ten pictures in each container that this ffmpeg writes, whole; some again cut off and overwritten."""
    folder.mkdir()
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return
    source = "-f lavfi -i testsrc=size=320x240:rate=25:duration=0.4 -f lavfi -i sine=duration=0.4"
    for name, options in _CLIPS.items():
        words = [ffmpeg, "-v", "quiet", "-y", *source.split(), *options.split(), "-t", "0.4"]
        if subprocess.run([*words, str(folder / name)], check=False).returncode:
            (folder / name).unlink(missing_ok=True)
    for name in ("h264.mp4", "h264.ts", "mpeg4.avi", "ffv1.mkv"):
        whole = (folder / name).read_bytes()
        middle = len(whole) // 2
        (folder / f"cut-{name}").write_bytes(whole[: len(whole) * 3 // 4])
        (folder / f"zeros-{name}").write_bytes(whole[:middle] + bytes(500) + whole[middle + 500 :])
    shutil.copy(folder / "h264.mp4", folder / "10:30:00")
    shutil.copy(folder / "h264.mp4", folder / "50% done [v2].mp4")
    shutil.copy(folder / "h264.mp4", folder / "named-as-a-picture.png")
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no clip\n")


def write_pictures(folder: Path) -> None:
    """Modes, depths, pages, orientations, and damage."""
    import cv2
    from PIL import Image

    folder.mkdir()
    colours = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    picture = Image.fromarray(colours)
    for suffix in ("png", "jpg", "bmp", "tif", "webp", "jp2", "gif", "ppm", "ico", "tga"):
        picture.save(folder / f"colour.{suffix}")
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK"):
        picture.convert(mode).save(folder / f"mode-{mode}.{'tif' if mode == 'CMYK' else 'png'}")
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        picture.save(folder / f"{compression}.tif", compression=compression)
    others = [Image.fromarray(np.roll(colours, number, 1)) for number in range(1, 10)]
    for suffix in ("tif", "png", "webp", "gif"):
        picture.save(folder / f"ten-pages.{suffix}", save_all=True, append_images=others)
    grey = colours[:, :, 0].astype(np.int64)
    for name, dtype, scale, offset in (
        ("16bit.png", np.uint16, 257, 0),
        ("12bit-in-16.png", np.uint16, 16, 0),
        ("12bit-in-16.tif", np.uint16, 16, 0),
        ("signed.tif", np.int16, 16, -2000),
        ("32bit.tif", np.uint32, 1000, 0),
        ("fractions.tif", np.float32, 1 / 255, 0),
        ("double.tif", np.float64, 1 / 255, 0),
    ):
        cv2.imwrite(str(folder / name), (grey * scale + offset).astype(dtype))
    exif = Image.Exif()
    exif[274] = 6
    for suffix in ("jpg", "png", "webp", "tif"):
        picture.save(folder / f"turned.{suffix}", exif=exif)
    for name in ("colour.png", "colour.jpg", "ten-pages.tif", "ten-pages.webp"):
        whole = (folder / name).read_bytes()
        (folder / f"cut-{name}").write_bytes(whole[: len(whole) // 2])
    shutil.copy(folder / "colour.png", folder / "1.2.826.0.1.3680043")
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture\n")


if __name__ == "__main__":
    sys.exit(main())
