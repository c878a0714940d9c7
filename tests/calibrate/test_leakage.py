"""Copies are found whatever was done to them, and nothing else is: on drawn pictures and on the development sets."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from physedge.physics.scenes import SCENES
from physedge_calibrate.fingerprint import coarse_likeness, fine_likeness, thumbnail
from physedge_calibrate.leakage import ImagePrint, LeakKind, find_leaks, image_print, refuse_leaks
from physedge_runtime.errors import UsageError

Picture = NDArray[np.uint8]
DATA = Path(os.environ.get("PHYSEDGE_DATA", Path(__file__).parents[2] / "../shared/data"))


def drawn(seed: int) -> Picture:
    """An endoscope's circle with folds, blobs and grain; the layout is the same for every seed."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:240, :320] / 240
    field = np.full((240, 320), 110.0)
    for _ in range(25):
        centre, radius = random.uniform((0, 0), (1, 1.33)), random.uniform(0.03, 0.2)
        field += random.normal(scale=30) * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / radius**2)
    field += random.normal(scale=3, size=field.shape)
    field[(y - 0.5) ** 2 + (x - 0.66) ** 2 > 0.36] = 8
    return (field[..., None] * np.array([1.2, 0.8, 0.7])).clip(0, 255).astype(np.uint8)


def jpeg(picture: Picture, quality: int) -> Picture:
    memory = io.BytesIO()
    Image.fromarray(picture).save(memory, "JPEG", quality=quality)
    return np.asarray(Image.open(memory).convert("RGB"))


def scaled(picture: Picture, height: int, width: int) -> Picture:
    return np.asarray(Image.fromarray(picture).resize((width, height)))


def cropped(picture: Picture, top: float, bottom: float, left: float, right: float) -> Picture:
    height, width = picture.shape[:2]
    return picture[round(top * height) : round((1 - bottom) * height), round(left * width) : round((1 - right) * width)]


COPIES: dict[str, Callable[[Picture], Picture]] = {
    "coded again": lambda picture: jpeg(picture, 30),
    "half the size": lambda picture: scaled(picture, 120, 160),
    "stretched": lambda picture: scaled(picture, 256, 256),
    "brighter": lambda picture: (255 * (picture / 255.0) ** 0.7).astype(np.uint8),
    "cropped evenly": lambda picture: cropped(picture, 0.04, 0.04, 0.04, 0.04),
    "cropped on one side": lambda picture: cropped(picture, 0, 0, 0.08, 0),
    "all at once": lambda picture: jpeg(scaled(cropped(picture, 0.03, 0.02, 0.01, 0.05), 120, 160), 40),
}


def printed(name: str, picture: Picture, data: bytes | None = None) -> ImagePrint:
    return image_print(name, picture, data=picture.tobytes() if data is None else data)


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_found_among_others(how: str) -> None:
    calibration = [printed(f"train_{seed}", drawn(seed)) for seed in range(6)]
    evaluation = [printed("copy", COPIES[how](drawn(4))), printed("other", drawn(100))]
    (leak,) = find_leaks(calibration, evaluation)
    assert (leak.calibration, leak.evaluation, leak.kind) == ("train_4", "copy", LeakKind.NEAR_DUPLICATE)
    assert leak.likeness >= 0.95


def test_a_copy_just_above_the_threshold_is_found() -> None:
    """Likeness 0.956: a threshold of 0.97 would let it through."""
    copy = jpeg(cropped(drawn(1), 0.04, 0.04, 0.04, 0.04), 20)
    (leak,) = find_leaks([printed("seen", drawn(1))], [printed("copy", copy)])
    assert 0.95 <= leak.likeness < 0.965


def test_a_copy_that_looks_less_alike_in_the_coarse_search_is_found() -> None:
    """A tenth cut off one side: 0.906 in the coarse search, 0.993 in the fine one."""
    copy = cropped(drawn(4), 0, 0, 0.10, 0)
    coarse = coarse_likeness([thumbnail(drawn(4))], [thumbnail(copy)])[0, 0]
    assert 0.85 < coarse < 0.92
    (leak,) = find_leaks([printed("seen", drawn(4))], [printed("copy", copy)])
    assert leak.likeness > 0.98


def test_the_same_bytes_in_another_shape_are_another_picture() -> None:
    lying = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    standing = lying.reshape(60, 40, 3)
    assert printed("lying", lying).pixel_sha256 != printed("standing", standing).pixel_sha256


def test_the_same_file_and_the_same_pixels_are_told_apart() -> None:
    seen = printed("seen", drawn(1), b"file")
    leaks = find_leaks([seen], [printed("same", drawn(1), b"file"), printed("saved again", drawn(1), b"other")])
    assert [leak.kind for leak in leaks] == [LeakKind.SAME_FILE, LeakKind.SAME_PIXELS]


def test_pictures_of_one_layout_are_not_alike() -> None:
    first = [printed(str(seed), drawn(seed)) for seed in range(12)]
    second = [printed(str(seed), drawn(seed)) for seed in range(50, 62)]
    assert find_leaks(first, second) == ()


def test_likeness_is_one_for_a_picture_and_itself() -> None:
    small = thumbnail(drawn(3))
    assert small.shape == (64, 64)
    assert fine_likeness(small, small) == pytest.approx(1.0, abs=1e-3)
    assert coarse_likeness([small], [small])[0, 0] == pytest.approx(1.0, abs=1e-4)


def test_grey_pictures_have_thumbnails_too() -> None:
    grey = drawn(3)[..., 0]
    assert (thumbnail(grey) == thumbnail(grey[..., None])).all()


def test_nothing_to_compare_is_no_leak() -> None:
    assert find_leaks([], [printed("a", drawn(1))]) == ()
    refuse_leaks(())


def test_a_leak_is_refused_by_name() -> None:
    calibration = [printed(f"train_{seed}", drawn(seed)) for seed in range(7)]
    evaluation = [printed(f"val_{seed}", drawn(seed)) for seed in range(7)]
    with pytest.raises(UsageError) as raised:
        refuse_leaks(find_leaks(calibration, evaluation))
    message = str(raised.value)
    assert message.startswith("PE-CALIB-005: a leak: 7 evaluation images also stand in the calibration set")
    assert "val_0 is the same file as train_0" in message
    assert "and 2 more" in message
    assert raised.value.exit_status == 2


# Every pair of all sets was compared once when the threshold was chosen; the steps keep this test short, and the
# most alike pair of each set is always among them.
SETS = {
    "polyp": ("polyp/train/images", "polyp/val/images", 4, "cvc_s07_f0148", "cvc_s24_f0502"),
    "polyp_kvasir": (
        "polyp_kvasir/train/images",
        "polyp_kvasir/val/images",
        8,
        "cjyzkmjy8evns070165gf9dmq",
        "cju45jpvfn6c809873pv1i34s",
    ),
    "ultrasound": ("ultrasound/train/images", "ultrasound/val/images", 3, "malignant_157", "malignant_103"),
    "brain_mri": ("brain_mri/train", "brain_mri/val", 4, "gg_653", "gg_704"),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.skipif(not DATA.is_dir(), reason="the development data is not here (PHYSEDGE_DATA)")
def test_no_pair_of_a_development_set_is_a_leak(name: str) -> None:
    train, val, step, hard_train, hard_val = SETS[name]

    def prints(folder: str, stride: int, hard: str) -> list[ImagePrint]:
        paths = sorted((DATA / folder).rglob("*.jpg"))
        kept = {*paths[::stride], *(path for path in paths if hard in path.stem)}
        return [
            image_print(path.name, np.asarray(Image.open(path).convert("RGB")), data=path.read_bytes())
            for path in sorted(kept)
        ]

    assert find_leaks(prints(train, step, hard_train), prints(val, 2, hard_val)) == ()


@pytest.mark.parametrize("kind", sorted(SCENES))
def test_no_two_seeds_of_a_synthetic_set_are_a_leak(kind: str) -> None:
    def prints(seeds: range) -> list[ImagePrint]:
        pictures = [(seed, SCENES[kind](seed, height_px=120, width_px=160).frame(0).image) for seed in seeds]
        return [image_print(f"{kind}_{seed}", picture, data=picture.tobytes()) for seed, picture in pictures]

    first, second = prints(range(10)), prints(range(100, 110))
    assert find_leaks(first, second) == ()
    # And it is not blind to them: a scene is found among its own.
    assert len(find_leaks(first, first[:3])) == 3
