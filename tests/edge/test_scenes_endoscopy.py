"""The endoscopy scene against the formulas it is made from, and against a ray caster that is only slow."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.ndimage import maximum_filter, minimum_filter

from physedge.physics.scenes import SCENES, EndoscopyScene
from physedge.physics.scenes.fields import Reading, angle_of, read_field, smooth_noise
from physedge.physics.scenes.lighting import beam_falloff, irradiance, mucosa_albedo, specular, tone
from physedge.physics.scenes.polyp import smooth_minimum
from physedge.physics.scenes.raycast import FAR_MM, Lens

SEEDS = (0, 1, 4, 9)


@cache
def scene_of(seed: int) -> EndoscopyScene:
    return EndoscopyScene(seed, 144, 192)


def test_light_on_a_flat_wall_falls_with_the_square_of_the_distance() -> None:
    """On a wall at height h the law `cos / d^2` is `h / (h^2 + x^2)^(3/2)`."""
    normal = np.array([[0.0], [0.0], [1.0]], dtype=np.float32)
    x = np.linspace(-30.0, 30.0, 61, dtype=np.float32)
    for height in (5.0, 10.0, 20.0):
        to_light = np.stack([-x, 0 * x, np.full_like(x, height)])
        expected = height / (height**2 + x.astype(float) ** 2) ** 1.5
        np.testing.assert_allclose(irradiance(to_light, np.repeat(normal, 61, axis=1)), expected, rtol=1e-5)
    straight = [irradiance(np.array([[0], [0], [h]], np.float32), normal)[0] for h in (8.0, 16.0)]
    assert straight[0] / straight[1] == pytest.approx(4.0, rel=1e-5)
    assert irradiance(-to_light, np.repeat(normal, 61, axis=1)).max() == 0.0


def test_highlights_stand_where_the_normal_halves_the_angle() -> None:
    tilt = np.linspace(-0.6, 0.6, 241, dtype=np.float32)
    normal = np.stack([np.sin(tilt), 0 * tilt, np.cos(tilt)])
    angle = 0.4
    light = np.repeat(np.array([[np.sin(angle)], [0.0], [np.cos(angle)]], np.float32), len(tilt), axis=1)
    eye = np.repeat(np.array([[0.0], [0.0], [1.0]], np.float32), len(tilt), axis=1)
    lobe = specular(light, eye, normal, 200.0)
    assert tilt[np.argmax(lobe)] == pytest.approx(angle / 2, abs=0.006)
    np.testing.assert_allclose(
        lobe, np.cos(tilt.astype(float) - angle / 2) ** 200 * 202 / (2 * np.pi), rtol=2e-3, atol=1e-4
    )


def test_blood_absorbs_by_beer_lambert_and_reddens() -> None:
    albedo = mucosa_albedo(np.array([0.0, 0.5, 1.0, 2.0], dtype=np.float32))
    logs = np.log(albedo[:, 1:] / albedo[:, :1])
    np.testing.assert_allclose(logs / logs[:, :1], np.tile([1.0, 2.0, 4.0], (3, 1)), rtol=1e-4)
    assert np.all(albedo[0] > albedo[1])
    assert np.all(albedo[1] > albedo[2])


def test_exposure_curve_and_light_cone() -> None:
    linear = np.array([[0.0, 0.01, 0.5, 1.0, 10.0, 1e4]], dtype=np.float32)
    shown = tone(linear)
    assert np.all(np.diff(shown) > 0)
    assert shown[0, 0] < 1e-3
    assert shown[0, -1] == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(
        beam_falloff(np.array([1.0, 0.5, -0.2], np.float32), 1.5), [1.0, 0.5**1.5, 0.0], atol=2e-6
    )


def test_lens_is_equidistant() -> None:
    lens = Lens(100.0, 480, 640)
    for angle in (0.0, 0.3, 1.2):
        ray = lens.ray(np.array([100.0 * angle], np.float32), np.zeros(1, np.float32))
        np.testing.assert_allclose(ray[:, 0], [np.sin(angle), 0.0, np.cos(angle)], atol=1e-6)
    middle = lens.directions()[:, 239:241, 319:321].mean(axis=(1, 2))
    np.testing.assert_allclose(middle, [0.0, 0.0, 1.0], atol=1e-4)


def test_fields_repeat_and_read_back() -> None:
    field = smooth_noise(np.random.default_rng(0), (64, 128), (3.0, 5.0), tilt=0.4)
    assert field.std() == pytest.approx(1.0, abs=1e-4)
    assert field.mean() == pytest.approx(0.0, abs=1e-4)
    row, column = np.array([0, 63, 64, -1], np.float32), np.array([0, 127, 128, -1], np.float32)
    np.testing.assert_array_equal(read_field(field, row, column), field[[0, 63, 0, 63], [0, 127, 0, 127]])
    half = read_field(field, np.array([63.5], np.float32), np.array([3.0], np.float32))
    assert half[0] == pytest.approx(0.5 * (field[63, 3] + field[0, 3]), abs=1e-6)
    with pytest.raises(ValueError, match="powers of two"):
        Reading((60, 64), row, column)


def test_fast_angle_is_the_angle() -> None:
    rng = np.random.default_rng(0)
    y, x = rng.standard_normal((2, 20000)).astype(np.float32)
    assert np.abs(angle_of(y, x) - np.arctan2(y.astype(float), x.astype(float))).max() < 1e-5
    axes = np.array([0.0, 1.0, -1.0, 0.0], np.float32), np.array([1.0, 0.0, 0.0, -1.0], np.float32)
    np.testing.assert_allclose(angle_of(*axes), np.arctan2(*axes), atol=1e-5)


def slow_cast(scene: EndoscopyScene, index: int, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth by marching in steps of 0.1 mm, and whether the polyp is what is met: no step is skipped."""
    pose = scene.pose(index)
    rays = pose.turn @ scene.scope.lens.directions()[:, pixels[0], pixels[1]]
    depth = np.full(rays.shape[1], FAR_MM, dtype=np.float32)
    polyp = np.zeros(rays.shape[1], dtype=bool)
    active = np.arange(rays.shape[1])
    for travelled in np.arange(0.5, FAR_MM, 0.1, dtype=np.float32):
        point = pose.origin[:, None] + rays[:, active] * travelled
        _, level = scene.lumen.distance(point)
        share = np.zeros(len(active), dtype=np.float32)
        if scene.polyp is not None:
            near = np.linalg.norm(point - scene.polyp.centre[:, None], axis=0) < scene.polyp.reach_mm + 1.0
            level[near], share[near] = smooth_minimum(
                level[near], scene.polyp.distance(point[:, near]), scene.polyp.blend_mm
            )
        hit = level <= 0.0
        depth[active[hit]] = travelled
        polyp[active[hit]] = share[hit] > 0.5
        active = active[~hit]
        if not len(active):
            break
    return depth, polyp


@pytest.mark.parametrize("seed", SEEDS)
def test_depth_and_mask_are_those_of_a_patient_ray_caster(seed: int) -> None:
    scene = scene_of(seed)
    rng = np.random.default_rng(seed)
    mask = scene.frame(12).mask > 0
    wide = np.argwhere(scene.visible)
    lesion = np.argwhere(mask)
    picked = wide[rng.choice(len(wide), 400, replace=False)]
    if len(lesion):
        picked = np.concatenate([picked, lesion[rng.choice(len(lesion), 150)]])
    pixels = picked.T
    depth, polyp = slow_cast(scene, 12, pixels)
    fast = scene.depth(12)[pixels[0], pixels[1]]
    agrees = np.abs(fast - depth) < 0.02 * depth + 0.15
    edge = (maximum_filter(scene.depth(12), 5) > 1.05 * minimum_filter(scene.depth(12), 5))[pixels[0], pixels[1]]
    assert np.mean(agrees[~edge]) > 0.985
    assert np.mean(agrees) > 0.9
    assert np.mean(mask[pixels[0], pixels[1]] == polyp) > 0.985


def test_no_polyp_no_mask_and_nothing_outside_the_picture() -> None:
    for seed in SEEDS:
        scene = scene_of(seed)
        frame = scene.frame(0)
        assert not frame.mask[~scene.visible].any()
        assert np.ptp(frame.image[~scene.visible]) == 0
        if scene.polyp is None:
            assert not frame.mask.any()


def test_mask_follows_the_polyp_smoothly() -> None:
    tested = 0
    for seed in SEEDS:
        scene = scene_of(seed)
        first, second = (scene.frame(index).mask > 0 for index in (0, 1))
        if np.count_nonzero(first) < 300:
            continue
        tested += 1
        assert np.count_nonzero(first & second) > 0.85 * np.count_nonzero(first | second)
        # The head's centre, projected by the lens, moves as the mask's does.
        shift = np.argwhere(second).mean(axis=0) - np.argwhere(first).mean(axis=0)
        assert np.abs(shift - (_projected(scene, 1) - _projected(scene, 0))).max() < 1.0
    assert tested >= 2


def _projected(scene: EndoscopyScene, index: int) -> np.ndarray:
    """Row and column where the polyp's centre appears."""
    assert scene.polyp is not None
    pose = scene.pose(index)
    towards = pose.turn.T @ (scene.polyp.centre - pose.origin)
    towards /= np.linalg.norm(towards)
    reach = scene.scope.lens.focal_px * np.arccos(towards[2]) / np.hypot(towards[0], towards[1])
    return np.array([towards[1] * reach + scene.height_px / 2, towards[0] * reach + scene.width_px / 2])


def test_adjacent_frames_resemble_each_other_more_than_distant_ones() -> None:
    for seed in SEEDS:
        scene = scene_of(seed)
        here, next_one, later = (scene.frame(index).image.astype(float)[scene.visible].ravel() for index in (0, 1, 75))
        near, far = np.corrcoef(here, next_one)[0, 1], np.corrcoef(here, later)[0, 1]
        assert near > 0.9
        assert near > far + 0.02


def test_walls_far_away_are_dark_and_mucosa_is_red() -> None:
    for seed in SEEDS:
        scene = scene_of(seed)
        image, depth = scene.frame(0).image.astype(float), scene.depth(0)
        near, far = scene.visible & (depth < 25.0), scene.visible & (depth > 60.0)
        red, green, blue = image[near].mean(axis=0)
        assert red > green > blue
        if np.count_nonzero(far) > 50:
            assert image[far].mean() < 0.75 * image[near].mean()


def test_frames_come_in_any_order_with_the_same_bytes() -> None:
    expected = scene_of(1).frame(7)
    other = SCENES["endoscopy"](1, 144, 192)
    other.frame(30)
    again = other.frame(7)
    assert np.array_equal(expected.image, again.image)
    assert np.array_equal(expected.mask, again.mask)
    assert set(np.unique(expected.mask)) <= {0, 255}


def test_seeds_show_different_scenes_and_mostly_polyps() -> None:
    frames = [EndoscopyScene(seed, 64, 80).frame(0) for seed in range(200, 208)]
    assert len({frame.image.tobytes() for frame in frames}) == len(frames)
    shares = np.array([np.mean(frame.mask > 0) for frame in frames])
    assert np.mean(shares > 0.004) > 0.7
    assert 0.01 < np.median(shares) < 0.25
    assert shares.max() < 0.45


@pytest.mark.parametrize(("seed", "height", "width"), [(-1, 96, 128), (0, 32, 128), (0, 96, 10)])
def test_impossible_scenes_are_refused(seed: int, height: int, width: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        EndoscopyScene(seed, height, width)
