"""The laws of the growth block: in torch, and again in ONNX Runtime and OpenVINO on the block exported alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.optimize import minimize_scalar
from torch import nn

from physedge.models.blocks.growth import Growth, check_stability, diffusion_steps, second_difference
from physedge_export.quiet import strict_tracing
from physedge_runtime.errors import UsageError
from physedge_runtime.growth import GrowthSpec

Evolve = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], NDArray[Any]]
"""u (batch, 1, row, column), D and rho (batch, 1, 1, 1) to the snapshots (batch, 5, row, column), float32."""

INTEGRATORS = ("euler", "split")
BACKENDS = ("torch", "onnxruntime", "openvino")
BATCH = 4
SQUARE, STRIP = (56, 56), (1, 400)
# Without it OpenVINO computes in bfloat16 where the processor has it, as the runtime never lets it.
_AS_THE_RUNTIME = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
SPECS = {name: GrowthSpec(integrator=name) for name in INTEGRATORS}


class _Both(nn.Module):
    """The blocks of both integrators on one grid, so that one export serves both."""

    def __init__(self, grid: tuple[int, int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Growth(SPECS[name], grid) for name in INTEGRATORS)

    def forward(self, u: torch.Tensor, D: torch.Tensor, rho: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(block(u, D, rho) for block in self.blocks)


def _exported(batch: int, shape: tuple[int, int]) -> bytes:
    inputs = (torch.rand(batch, 1, *shape), torch.full((batch, 1, 1, 1), 0.1), torch.full((batch, 1, 1, 1), 0.01))
    with strict_tracing():
        program = torch.onnx.export(
            _Both(shape).eval(),
            inputs,
            input_names=["u", "D", "rho"],
            output_names=list(INTEGRATORS),
            opset_version=18,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    graph: bytes = program.model_proto.SerializeToString()
    return graph


def _open(backend: str, integrator: str, grid: tuple[int, int], graph: bytes) -> Evolve:
    if backend == "torch":
        block = Growth(SPECS[integrator], grid)

        def in_torch(u: NDArray[Any], D: NDArray[Any], rho: NDArray[Any]) -> NDArray[Any]:
            with torch.no_grad():
                answer: NDArray[Any] = block(*(torch.from_numpy(values) for values in (u, D, rho))).numpy()
            return answer

        return in_torch
    if backend == "onnxruntime":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return lambda u, D, rho: session.run([integrator], {"u": u, "D": D, "rho": rho})[0]
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(graph), "CPU", _AS_THE_RUNTIME)

    def in_openvino(u: NDArray[Any], D: NDArray[Any], rho: NDArray[Any]) -> NDArray[Any]:
        return np.array(compiled({"u": u, "D": D, "rho": rho})[integrator])

    return in_openvino


@pytest.fixture(scope="module")
def square() -> bytes:
    return _exported(BATCH, SQUARE)


@pytest.fixture(scope="module")
def strip() -> bytes:
    return _exported(1, STRIP)


@pytest.fixture(params=itertools.product(BACKENDS, INTEGRATORS), ids="-".join, scope="module")
def block(request: pytest.FixtureRequest, square: bytes) -> Evolve:
    """The square block of one integrator on one backend, for batches of four."""
    backend, name = request.param
    return _open(backend, name, SQUARE, square)


def _numbers(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32).reshape(-1, 1, 1, 1)


def _starts() -> NDArray[np.float32]:
    """Noise, a checkerboard of 0 and 1, a disk of 1, a smooth blob."""
    rng = np.random.default_rng(5)
    rows, columns = np.indices((56, 56))
    radius = np.hypot(rows - 20.0, columns - 33.0)
    fields = [rng.random((56, 56)), (rows + columns) % 2, radius < 6, 0.7 * np.exp(-((radius / 5) ** 2))]
    return np.stack(fields).astype(np.float32)[:, np.newaxis]


CORNERS = [(D, rho) for D in (0.005, 0.9) for rho in (0.0005, 0.09)]


def test_no_density_leaves_its_bounds(block: Evolve) -> None:
    for D, rho in CORNERS:
        u = _starts()
        for _ in range(4):
            snapshots = block(u, _numbers(*[D] * 4), _numbers(*[rho] * 4))
            assert snapshots.shape == (4, 5, 56, 56)
            assert snapshots.min() >= -1e-6
            assert snapshots.max() <= 1 + 1e-6
            u = np.ascontiguousarray(snapshots[:, -1:])


def test_without_growth_the_range_only_shrinks(block: Evolve) -> None:
    snapshots = block(_starts(), _numbers(0.005, 0.1, 0.4, 0.9), _numbers(0, 0, 0, 0))
    assert (np.diff(snapshots.max(axis=(2, 3)), axis=1) <= 1e-6).all()
    assert (np.diff(snapshots.min(axis=(2, 3)), axis=1) >= -1e-6).all()


def test_without_growth_the_mass_stays(block: Evolve) -> None:
    u = _starts()
    before = u.sum(axis=(1, 2, 3), dtype=np.float64)
    for _ in range(32):  # 500 steps and more of `euler`, 5 years of `split`
        u = np.ascontiguousarray(block(u, _numbers(0.01, 0.9, 0.9, 0.9), _numbers(0, 0, 0, 0))[:, -1:])
    after = u.sum(axis=(1, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(after, before, rtol=1e-4)


def test_the_mass_grows_and_not_faster_than_rho(block: Evolve) -> None:
    for D, rho in CORNERS:
        snapshots = block(_starts()[[0, 2, 3, 3]], _numbers(*[D] * 4), _numbers(*[rho] * 4)).astype(np.float64)
        mass = snapshots.sum(axis=(2, 3))
        assert (np.diff(mass, axis=1) > 0).all()
        quarter = math.exp(rho * 57.6 / 4)
        assert (mass[:, 1:] <= mass[:, :-1] * quarter * (1 + 1e-6)).all()


def test_more_stays_more(block: Evolve) -> None:
    less = _starts()
    more = np.clip(less + np.float32(0.2) * np.random.default_rng(1).random(less.shape, np.float32), 0, 1)
    for D, rho in CORNERS:
        parameters = _numbers(*[D] * 4), _numbers(*[rho] * 4)
        assert (block(more, *parameters) - block(less, *parameters)).min() >= -1e-6


def test_a_higher_rho_grows_more_everywhere(block: Evolve) -> None:
    u = np.repeat(_starts()[3:], 4, axis=0)
    last = block(u, _numbers(*[0.3] * 4), _numbers(0.0005, 0.01, 0.04, 0.09))[:, -1]
    assert (np.diff(last, axis=0) >= -1e-6).all()
    assert last[3].sum() > 2 * last[0].sum()


@pytest.mark.parametrize(
    "change",
    [lambda u: u[..., ::-1], lambda u: u[..., ::-1, :], lambda u: np.rot90(u, axes=(2, 3)), lambda u: u.swapaxes(2, 3)],
    ids=["mirror", "flip", "quarter turn", "transpose"],
)
def test_symmetries_of_the_grid_are_kept(block: Evolve, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    u, parameters = _starts(), (_numbers(0.9, 0.9, 0.2, 0.1), _numbers(0.09, 0.01, 0.05, 0.02))
    turned = block(np.ascontiguousarray(change(u)), *parameters)
    np.testing.assert_allclose(turned, change(block(u, *parameters)), atol=1e-6)


def _discrete_speed(spec: GrowthSpec, D: float, rho: float) -> float:
    """Cells a step of the slowest linear front: min over lambda of ln(gain of a wave e^(-lambda x)) / lambda."""
    d, r = D * spec.step_days / spec.cell_mm**2, rho * spec.step_days

    def speed(slope: float) -> float:
        spread = 2 * (math.cosh(slope) - 1)
        if spec.integrator == "euler":
            return math.log(1 + r + d * spread) / slope
        count = diffusion_steps(spec)
        return (r + count * math.log(1 + d / count * spread)) / slope

    return float(minimize_scalar(speed, bounds=(1e-3, 6), method="bounded").fun)


def _measured_speed(evolve: Evolve, spec: GrowthSpec, D: float, rho: float) -> float:
    """Cells a step, after the first half of the way."""
    u = np.zeros((1, 1, *STRIP), np.float32)
    u[..., :4] = 1.0
    places = []
    while u.sum() < 0.85 * STRIP[1]:
        u = np.ascontiguousarray(evolve(u, _numbers(D), _numbers(rho))[:, -1:])
        places.append(float(u.sum()))
    half = len(places) // 2
    return (places[-1] - places[half]) / (len(places) - 1 - half) / spec.step_count


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_a_front_moves_as_fast_as_the_law_says(backend: str, integrator: str, strip: bytes) -> None:
    spec = SPECS[integrator]
    evolve = _open(backend, integrator, STRIP, strip)
    for D, rho in ((0.9, 0.014), (0.9, 0.09)):
        ratio = _measured_speed(evolve, spec, D, rho) / _discrete_speed(spec, D, rho)
        assert 0.96 <= ratio <= 1.0
    # The continuum, 2 sqrt(D rho), where growth within a step is small: rho dt = 0.02 of `euler`.
    rho = 0.02 / SPECS["euler"].step_days
    cells_per_step = 2 * math.sqrt(0.9 * rho) * spec.step_days / spec.cell_mm
    assert _measured_speed(evolve, spec, 0.9, rho) / cells_per_step == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_the_mass_stays_to_the_last_digit_in_float64(integrator: str) -> None:
    block = Growth(SPECS[integrator]).double()
    u = torch.from_numpy(_starts()).double()
    before = u.sum(dim=(1, 2, 3))
    zero, D = torch.zeros(4, 1, 1, 1, dtype=torch.float64), torch.full((4, 1, 1, 1), 0.9, dtype=torch.float64)
    for _ in range(42):  # 500 steps and more of diffusion
        u = block(u, D, zero)[:, -1:]
    assert float((u.sum(dim=(1, 2, 3)) / before - 1).abs().max()) <= 1e-12


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_half_precision_keeps_the_bounds(integrator: str) -> None:
    block = Growth(SPECS[integrator]).half()
    for D, rho in CORNERS:
        u = torch.from_numpy(_starts()).half()
        snapshots = block(u, torch.full((4, 1, 1, 1), D).half(), torch.full((4, 1, 1, 1), rho).half())
        assert float(snapshots.min()) >= -2e-3
        assert float(snapshots.max()) <= 1 + 2e-3


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_any_stable_pair_keeps_the_bounds(integrator: str) -> None:
    rng = np.random.default_rng(8)
    for _ in range(200):
        largest_D, largest_rho = float(rng.uniform(0.01, 4.0)), float(rng.uniform(0.001, 0.25))
        spec = GrowthSpec(
            integrator=integrator,
            cells=16,
            diffusivity_mm2_per_day=(0.001, largest_D),
            growth_per_day=(0.0001, largest_rho),
            horizon_days=1.0 if integrator == "euler" else 80.0,
            field_of_view_mm=float(rng.uniform(60, 250)),
        )
        longest = 16 / (4 * largest_D / spec.cell_mm**2 + largest_rho)
        steps = 4 * math.ceil(diffusion_steps(spec) / 8)
        spec = spec.model_copy(update={"horizon_days": longest} if integrator == "euler" else {"steps": steps})
        block = Growth(spec)
        u = torch.from_numpy(rng.integers(0, 2, (2, 1, 16, 16)).astype(np.float32))
        for _ in range(4):
            u = block(u, torch.full((2, 1, 1, 1), largest_D), torch.full((2, 1, 1, 1), largest_rho))[:, -1:]
            assert -1e-6 <= float(u.min())
            assert float(u.max()) <= 1 + 1e-6


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_halving_the_step_halves_the_error(integrator: str) -> None:
    block = Growth(SPECS[integrator]).double()
    u = torch.from_numpy(_starts()[3:]).double()
    D, rho = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64), torch.full((1, 1, 1, 1), 0.05, dtype=torch.float64)
    one, two, exact = (block.evolve(u, D, rho, refine=times)[:, -1] for times in (1, 2, 64))
    assert float((one - exact).abs().max() / (two - exact).abs().max()) >= 1.8


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_gradients_are_those_of_finite_differences(integrator: str) -> None:
    block = Growth(GrowthSpec(integrator=integrator, cells=8, field_of_view_mm=40.0)).double()
    u = 0.1 + 0.8 * torch.rand(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    D, rho = (torch.full((1, 1, 1, 1), value, dtype=torch.float64) for value in (0.3, 0.03))
    inputs = tuple(value.requires_grad_() for value in (u, D, rho))
    assert torch.autograd.gradcheck(block, inputs, atol=1e-4, rtol=1e-4, fast_mode=True)


def test_both_integrators_solve_the_same_equation() -> None:
    u = torch.from_numpy(_starts()[3:])
    D, rho = torch.full((1, 1, 1, 1), 0.5), torch.full((1, 1, 1, 1), 0.05)
    fine = [Growth(SPECS[name]).evolve(u, D, rho, refine=32) for name in INTEGRATORS]
    assert float((fine[0] - fine[1]).abs().max()) < 2e-3


def test_what_stands_still_stands_still() -> None:
    u = torch.from_numpy(_starts())
    snapshots = Growth(GrowthSpec(evolves=False))(u, torch.full((4, 1, 1, 1), 0.9), torch.full((4, 1, 1, 1), 0.09))
    assert all(torch.equal(snapshots[:, index : index + 1], u) for index in range(5))


def test_both_axes_make_the_five_point_stencil_with_its_degree() -> None:
    """Sum over the neighbours inside the grid less their number times u, as a convolution has it."""
    u = torch.rand(2, 1, 7, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    cross = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=torch.float64).view(1, 1, 3, 3)
    degree = torch.nn.functional.conv2d(torch.ones_like(u), cross, padding=1)
    expected = torch.nn.functional.conv2d(u, cross, padding=1) - degree * u
    found = second_difference(7) @ u + u @ second_difference(9)
    torch.testing.assert_close(found, expected)
    assert degree[0, 0].unique().tolist() == [2, 3, 4]


def test_the_default_step_uses_nearly_all_of_the_bound() -> None:
    spec = SPECS["euler"]
    used = spec.step_days * (4 * 0.9 / spec.cell_mm**2 + 0.09)
    assert used == pytest.approx(0.97, abs=0.005)
    assert (spec.step_count, round(spec.cell_mm, 2)) == (16, 4.48)


def test_an_unstable_model_is_refused_with_the_number_that_would_do() -> None:
    with pytest.raises(UsageError, match=r"PE-MODEL-007: 4 D dt/h² \+ rho dt = 1\.29 .* set steps to (\d+)") as caught:
        Growth(GrowthSpec(integrator="euler", steps=12))
    steps = int(str(caught.value).split("set steps to ")[1].split()[0])
    check_stability(GrowthSpec(integrator="euler", steps=steps))
    with pytest.raises(UsageError, match=r"PE-MODEL-007: \d+ diffusion steps .*raise steps"):
        Growth(GrowthSpec(cells=256, field_of_view_mm=50.0, horizon_days=400.0))


def test_the_bound_is_sharp() -> None:
    """Just beyond it a density does leave 0 to 1: the check refuses nothing that would hold."""
    block = Growth(SPECS["euler"])
    d, r = 0.25, 0.2  # 4 d + r = 1.2
    factor = block.spec.cell_mm**2 / block.spec.step_days
    checkerboard = torch.from_numpy(_starts()[1:2])
    u = block(checkerboard, torch.full((1, 1, 1, 1), d * factor), torch.full((1, 1, 1, 1), r / block.spec.step_days))
    assert float(u.max()) > 1.01 or float(u.min()) < -0.01


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"diffusivity_mm2_per_day": (0.9, 0.1)}, "the first must be smaller"),
        ({"growth_per_day": (0.0, 0.1)}, "greater than 0"),
        ({"growth_per_day": (0.001, float("inf"))}, "less than or equal to 1000000"),
        ({"parameters": "frozen", "frozen_growth_per_day": 0.5}, "outside of growth_per_day"),
        ({"steps": 6}, "multiple of 4"),
        ({"cells": 57}, "multiple of 2"),
        ({"field_of_view_mm": 0.0}, "greater than or equal to 20"),
        ({"field_of_view_mm": float("nan")}, "less than or equal to 1000"),
        ({"integrator": "magic"}, "euler"),
        ({"colour": "red"}, "not permitted"),
    ],
)
def test_a_config_out_of_range_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        GrowthSpec.model_validate(change)
