"""The ultrasound scene against the formulas it is made from."""

from __future__ import annotations

import numpy as np
import pytest

from physedge.physics.scenes import SCENES, UltrasoundScene, ultrasound
from physedge.physics.scenes.acoustics import (
    SPECKLE_SNR,
    amplitude_from_db,
    beam_sigma_mm,
    log_compress,
    pulse_sigma_mm,
    wavelength_mm,
)
from physedge.physics.scenes.inclusion import Inclusion
from physedge.physics.scenes.machine import Settings
from physedge.physics.scenes.scanner import Probe, Scanner
from physedge.physics.scenes.tissue import Anatomy

PROBE = Probe(
    frequency_mhz=7.5,
    bandwidth=0.5,
    f_number=2.5,
    aperture_mm=18.0,
    focus_mm=20.0,
    depth_mm=40.0,
    radius_mm=0.0,
    span=40.0,
)
SLOPE = 0.5


class Even:
    """A phantom of one echogenicity."""

    def echogenicity_db(self, x_mm: np.ndarray, z_mm: np.ndarray) -> np.ndarray:
        return np.zeros_like(x_mm + z_mm)


def body(**changes: object) -> Inclusion:
    fields: dict[str, object] = {
        "centre_x_mm": 0.0, "centre_z_mm": 14.0, "semi_x_mm": 6.0, "semi_z_mm": 5.0, "semi_y_mm": 100.0,
        "bend": 0.0, "tilt": 0.0,
        "outline": np.ones(2048, dtype=np.float32), "level_db": 0.0, "texture_db": 0.0, "softness": 0.0, "rim_db": 0.0,
        "attenuation_change": 0.0, "is_lesion": True,
    }  # fmt: skip
    return Inclusion(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def phantom(monkeypatch: pytest.MonkeyPatch):
    """A scene of even tissue under PROBE, with chosen bodies, a neutral machine and almost no noise."""

    def make(*bodies: Inclusion, seed: int = 3) -> UltrasoundScene:
        anatomy = Anatomy(background=Even(), inclusions=bodies, attenuation_slope=SLOPE)
        for name in ("draw_flat_probe", "draw_convex_probe"):
            monkeypatch.setattr(ultrasound, name, lambda *_: (PROBE, PROBE.depth_mm / 320))
        for name in ("draw_breast", "draw_liver"):
            monkeypatch.setattr(ultrasound, name, lambda *_: anatomy)
        monkeypatch.setattr(
            ultrasound,
            "draw_settings",
            lambda _, scanner: Settings(
                dynamic_range_db=60.0, headroom_db=20.0, noise_db=-120.0,
                slider_db=np.zeros(scanner.depth_cells, dtype=np.float32),
                coupling_db=np.zeros(scanner.beam_cells, dtype=np.float32),
            ),
        )  # fmt: skip
        return UltrasoundScene(seed, 320, 320)

    return make


def even_echo(scanner: Scanner, loss_db_per_mm: float = 0.0, seed: int = 0) -> np.ndarray:
    """Envelope of a dense, even medium."""
    rng = np.random.default_rng(seed)
    cells = scanner.depth_cells * scanner.beam_cells
    count = int(20 * cells / scanner.cells_per_resolution_cell())
    row = rng.uniform(0, scanner.depth_cells, count).astype(np.float32)
    column = rng.uniform(0, scanner.beam_cells, count).astype(np.float32)
    amplitude = rng.choice((-1.0, 1.0), count).astype(np.float32) * np.float32(np.sqrt(cells / count))
    amplitude *= amplitude_from_db((-loss_db_per_mm * scanner.depth_step_mm) * row)
    return np.abs(scanner.echo(row, column, amplitude))[20:-20]


def db(power: np.ndarray | float) -> np.ndarray:
    return 10.0 * np.log10(power)


def test_speckle_is_fully_developed_and_of_even_power() -> None:
    envelope = even_echo(Scanner(PROBE, 512, 384))
    assert envelope.mean() / envelope.std() == pytest.approx(SPECKLE_SNR, abs=0.04)
    assert np.sqrt(np.pi / (4 - np.pi)) == pytest.approx(SPECKLE_SNR, abs=1e-4)
    # Unit energy at every depth: the power neither rises nor falls through the focus.
    # (Bilinear deposition widens the kernels a little, which costs less than half a decibel everywhere.)
    assert db(np.mean(envelope**2)) == pytest.approx(-0.25, abs=0.25)
    thirds = [db(np.mean(part**2)) for part in np.array_split(envelope, 3)]
    assert np.ptp(thirds) < 0.6


@pytest.mark.parametrize("seed", [0, 1])
def test_attenuation_has_the_stated_slope(seed: int) -> None:
    scanner = Scanner(PROBE, 512, 256)
    stated_db_per_cm = 2.0 * SLOPE * PROBE.frequency_mhz
    envelope = even_echo(scanner, stated_db_per_cm / 10.0, seed)
    depth_cm = scanner.depths_mm[20:-20] / 10.0
    measured = -np.polyfit(depth_cm, db(np.mean(envelope**2, axis=1)), 1)[0]
    assert measured == pytest.approx(stated_db_per_cm, rel=0.03)


def test_gain_compensation_levels_the_phantom(phantom) -> None:
    scene = phantom()
    envelope = scene.envelope(0)[10:-10]
    depth_cm = scene.scanner.depths_mm[10:-10] / 10.0
    level = db(np.mean(envelope**2, axis=1))
    assert np.polyfit(depth_cm, level, 1)[0] == pytest.approx(0.0, abs=0.25)
    bare = level - scene.scanner.attenuation_db(SLOPE)[10:-10]
    assert -np.polyfit(depth_cm, bare, 1)[0] == pytest.approx(2.0 * SLOPE * PROBE.frequency_mhz, rel=0.04)


def test_point_target_has_the_width_of_pulse_and_beam() -> None:
    scanner = Scanner(PROBE, 1024, 1024)
    for depth_mm in (8.0, 20.0, 36.0):
        # On a grid point, where bilinear deposition adds no width of its own.
        row = np.rint(scanner.cells(np.zeros(1, np.float32), np.full(1, depth_mm, np.float32))[0])
        column = np.full(1, 500.0, np.float32)
        power = np.abs(scanner.echo(row, column, np.ones(1, np.float32))) ** 2
        spread = [_standard_deviation(power.sum(axis=1 - axis)) * np.sqrt(2.0) for axis in (0, 1)]
        assert spread[0] * scanner.depth_step_mm == pytest.approx(pulse_sigma_mm(7.5, 0.5), rel=0.03)
        expected = beam_sigma_mm(
            scanner.depths_mm[row.astype(int)], frequency_mhz=7.5, focus_mm=20.0, f_number=2.5, aperture_mm=18.0
        )
        assert spread[1] * scanner.beam_step == pytest.approx(float(expected[0]), rel=0.03)


def _standard_deviation(profile: np.ndarray) -> float:
    place = np.arange(len(profile))
    mean = np.average(place, weights=profile)
    return float(np.sqrt(np.average((place - mean) ** 2, weights=profile)))


def test_beam_is_narrowest_at_the_focus() -> None:
    width = beam_sigma_mm(np.linspace(2.0, 80.0, 400), frequency_mhz=5.0, focus_mm=30.0, f_number=2.0, aperture_mm=20.0)
    assert np.linspace(2.0, 80.0, 400)[np.argmin(width)] == pytest.approx(30.0, abs=0.3)
    assert np.all(np.diff(width[150:]) > 0)
    at_focus = wavelength_mm(5.0) * 2.0 / np.sqrt(2.0) / 2.3548
    assert width.min() == pytest.approx(at_focus, rel=0.01)


def test_log_compression_spans_the_dynamic_range() -> None:
    levels_db = np.array([10.0, 0.0, -15.0, -30.0, -60.0, -90.0], dtype=np.float32)
    grey = log_compress(3.0 * amplitude_from_db(levels_db), reference=3.0, dynamic_range_db=60.0)
    np.testing.assert_allclose(grey, [1.0, 1.0, 0.75, 0.5, 0.0, 0.0], atol=1e-5)
    assert log_compress(np.zeros(1, np.float32), reference=1.0, dynamic_range_db=50.0)[0] == 0.0


@pytest.mark.parametrize("change", [-0.45, 0.4])
def test_what_lies_behind_is_enhanced_or_shadowed_by_the_path_difference(phantom, change: float) -> None:
    scene = phantom(body(attenuation_change=change))
    envelope = scene.envelope(0)
    x_mm = float(scene.motion.picture_from_material(np.zeros(1, np.float32), np.full(1, 14.0, np.float32), 0)[0][0])
    beams = (np.arange(scene.scanner.beam_cells) - 0.5 * (scene.scanner.beam_cells - 1)) * scene.scanner.beam_step
    deep = (scene.scanner.depths_mm > 24.0) & (scene.scanner.depths_mm < 38.0)
    power = np.mean(envelope[deep] ** 2, axis=0)
    behind = power[np.abs(beams - x_mm) < 1.5].mean()
    beside = power[np.abs(beams - x_mm) > 9.0].mean()
    expected_db = -2.0 * change * PROBE.frequency_mhz * 10.0 / 10.0
    assert db(behind / beside) == pytest.approx(expected_db, abs=1.2)


@pytest.mark.parametrize("contrast_db", [-15.0, -8.0, 6.0])
def test_mask_holds_the_lesion_and_nothing_else(phantom, contrast_db: float) -> None:
    scene = phantom(body(level_db=contrast_db))
    frame = scene.frame(4)
    inside = frame.mask > 0
    span_px = np.count_nonzero(inside.any(axis=0)), np.count_nonzero(inside.any(axis=1))
    stretch = 1.0 + 0.05
    assert span_px[0] == pytest.approx(12.0 / scene.mm_per_px, abs=3)
    assert 10.0 / stretch < span_px[1] * scene.mm_per_px < 10.0 * stretch
    # 60 dB over 255 grey levels; mean of the log of speckle is the same inside and outside.
    grey_db = frame.image[..., 0].astype(float) * 60.0 / 255.0
    ring = _grown(inside, 14) & ~_grown(inside, 6)
    core = ~_grown(~inside, 6)
    assert grey_db[core].mean() - grey_db[ring].mean() == pytest.approx(contrast_db, abs=1.0)


def _grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    from scipy.ndimage import binary_dilation

    return binary_dilation(mask, iterations=pixels)


def test_tissue_map_inverts_exactly() -> None:
    scene = UltrasoundScene(5, 96, 128)
    rng = np.random.default_rng(0)
    x, z = rng.uniform(-20, 20, 500).astype(np.float32), rng.uniform(0, 40, 500).astype(np.float32)
    for index in (0, 17, 300):
        back = scene.motion.material_from_picture(*scene.motion.picture_from_material(x, z, index), index)
        np.testing.assert_allclose(np.stack(back), np.stack([x, z]), atol=2e-5)


def test_speckle_travels_with_the_tissue(phantom) -> None:
    """The envelope's shift between frames, by correlation, is the displacement of the motion map."""
    scene = phantom()
    middle = (np.zeros(1, np.float32), np.full(1, 20.0, np.float32))
    here, there = (np.ravel(scene.motion.picture_from_material(*middle, index)) for index in (0, 5))
    rows, columns = slice(130, 190), slice(60, 100)
    first, second = scene.envelope(0), scene.envelope(5)
    patch = first[rows, columns]
    shifts = [(dz, dx) for dz in range(-9, 10) for dx in range(-9, 10)]
    score = [
        np.corrcoef(patch.ravel(), second[130 + dz : 190 + dz, 60 + dx : 100 + dx].ravel())[0, 1] for dz, dx in shifts
    ]
    dz, dx = shifts[int(np.argmax(score))]
    assert max(score) > 0.6
    assert dx * scene.scanner.beam_step == pytest.approx(there[0] - here[0], abs=0.8 * scene.scanner.beam_step)
    assert dz * scene.scanner.depth_step_mm == pytest.approx(there[1] - here[1], abs=0.15)


def test_adjacent_frames_resemble_each_other_more_than_distant_ones() -> None:
    for seed in (0, 1, 2):
        scene = UltrasoundScene(seed, 128, 160)
        pictures = [scene.frame(index).image[..., 0].ravel().astype(float) for index in (0, 1, 60)]
        near, far = (np.corrcoef(pictures[0], other)[0, 1] for other in pictures[1:])
        assert near > 0.75
        assert near > far + 0.05


def test_frames_come_in_any_order_with_the_same_bytes() -> None:
    first, second = UltrasoundScene(11, 96, 128), SCENES["ultrasound"](11, 96, 128)
    expected = first.frame(7)
    second.frame(30)
    again = second.frame(7)
    assert np.array_equal(expected.image, again.image)
    assert np.array_equal(expected.mask, again.mask)
    assert set(np.unique(expected.mask)) <= {0, 255}


def test_seeds_show_different_scenes_and_mostly_lesions() -> None:
    frames = [UltrasoundScene(seed, 96, 128).frame(0) for seed in range(24)]
    pictures = {frame.image.tobytes() for frame in frames}
    assert len(pictures) == len(frames)
    shares = np.array([np.mean(frame.mask > 0) for frame in frames])
    assert np.mean(shares > 0.004) > 0.7
    assert np.ptp(shares) > 0.08
    assert shares.max() < 0.35
    assert all(np.ptp(frame.image) > 150 for frame in frames)


def test_the_smallest_change_of_size_keeps_the_anatomy() -> None:
    small, large = UltrasoundScene(4, 96, 128), UltrasoundScene(4, 192, 256)
    masks = small.mask(0) > 0, large.mask(0)[::2, ::2] > 0
    assert np.count_nonzero(masks[0] & masks[1]) > 0.9 * np.count_nonzero(masks[0] | masks[1])


def test_a_few_scenes_have_no_lesion() -> None:
    scenes = [UltrasoundScene(seed, 64, 64) for seed in range(100, 115)]
    without = [scene for scene in scenes if not any(body.is_lesion for body in scene.anatomy.inclusions)]
    assert 1 <= len(without) <= 4
    assert not without[0].frame(0).mask.any()


@pytest.mark.parametrize(("seed", "height", "width"), [(-1, 96, 128), (0, 32, 128), (0, 96, 10)])
def test_impossible_scenes_are_refused(seed: int, height: int, width: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        UltrasoundScene(seed, height, width)
