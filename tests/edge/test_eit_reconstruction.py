"""Linear reconstructions, simulation, symmetries, and a small network from simulated bodies to answers on a stream."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from physedge.data.synthesize_eit import VoltageSetRequest, synthesize_eit
from physedge.data.voltage_kinds import CLEAN_KINDS
from physedge.models.blocks.impedance import ForwardOperator
from physedge.models.eit_post import eit_post
from physedge.models.eit_unrolled import LearnedRegulariser, eit_unrolled
from physedge.models.impedance import ImpedanceNetwork, Refinement
from physedge.physics.eit.absolute import fit_background, gauss_newton
from physedge.physics.eit.embed import STRENGTHS, embed, linearisation_of
from physedge.physics.eit.faults import FAULTS, channel_of
from physedge.physics.eit.forward import CompleteElectrodeModel
from physedge.physics.eit.linear import greit, noser
from physedge.physics.eit.mesh import mesh_of_at_most
from physedge.physics.eit.phantoms import SHAPES, draw_phantom
from physedge.physics.eit.pixels import disk_mask, pixel_centres
from physedge.physics.eit.simulate import OUT_OF_DISTRIBUTION, MeasurementError, Scenario, Simulator, errors_from_words
from physedge.physics.eit.symmetry import symmetries
from physedge.physics.eit.tank import Tank
from physedge.physics.eit.total_variation import total_variation
from physedge.train.options import TrainOptions
from physedge.train.reconstruction import ReconstructionRecipe
from physedge.train.turned_bodies import changed_frames, changed_images, smoothed_images
from physedge_calibrate.metrics.greit import greit_figures
from physedge_calibrate.metrics.reconstruction import correlation
from physedge_calibrate.voltage_frames import read_arrays, read_part, read_voltage_samples
from physedge_runtime.errors import UsageError
from physedge_runtime.frame import VoltageSpec
from physedge_runtime.spec import ModelSpec, Task
from physedge_runtime.voltage_protocol import find_protocol

PROTOCOL = find_protocol("adjacent", 8)
SPEC = VoltageSpec(count=PROTOCOL.count, electrodes=8, protocol="adjacent", reference=True)
TANK = Tank(electrodes=8)
QUIET = Scenario(errors=(MeasurementError.CONTACT, MeasurementError.GAIN, MeasurementError.NOISE), noise_db=(60, 60))


@pytest.fixture(scope="module")
def network() -> ImpedanceNetwork:
    """Untrained: its image is the linear one; its doubts are learnt from 240 simulated measurements."""
    built = eit_post(voltages=SPEC)
    built.load_physics(embed(SPEC))
    simulator = Simulator(tank=TANK, protocol=PROTOCOL, scenario=QUIET, seed=5, triangles=600)
    frames = np.stack([simulator.sample(number).voltages for number in range(240)])
    differences = built.difference(torch.from_numpy(frames).float())
    built.doubts.learn(differences, torch.from_numpy(PROTOCOL.touches()))
    return built.eval()


def simulated(number: int, *, seed: int = 6) -> tuple[np.ndarray, np.ndarray]:
    simulator = Simulator(tank=TANK, protocol=PROTOCOL, scenario=QUIET, seed=seed, triangles=900)
    sample = simulator.sample(number)
    return sample.voltages, sample.phantom.image()


def test_the_linear_layer_is_the_classical_reconstruction(network: ImpedanceNetwork) -> None:
    voltages, _ = simulated(0)
    with torch.no_grad():
        difference = network.difference(torch.from_numpy(voltages).float()[None])
        for left_out, kept in ((0, None), (3, ~PROTOCOL.touches()[2])):
            images = network.linear(difference, torch.tensor([left_out]))[0]
            for image, strength in zip(images, STRENGTHS, strict=True):
                expected = noser(linearisation_of(SPEC), strength=strength).reconstruction(kept)
                wanted = expected(difference.double().numpy())[0].reshape(64, 64)
                np.testing.assert_allclose(image.numpy(), wanted, atol=2e-4 * np.abs(wanted).max())


def test_gains_of_channels_and_the_unit_of_the_current_cancel(network: ImpedanceNetwork) -> None:
    voltages, _ = simulated(1)
    gains = np.random.default_rng(0).uniform(0.5, 2.0, PROTOCOL.count) * 1e-3
    with torch.no_grad():
        once, again = (network.difference(torch.from_numpy(v).float()[None]) for v in (voltages, voltages * gains))
    np.testing.assert_allclose(again.numpy(), once.numpy(), rtol=1e-2, atol=1e-2 * float(once.abs().max()))


def test_a_dead_electrode_is_named_and_left_out(network: ImpedanceNetwork) -> None:
    generator = np.random.default_rng(1)
    named, clean_alarms, errors = 0, 0, np.zeros(3)
    for number in range(24):
        voltages, truth = simulated(number)
        electrode = number % 8
        broken = np.stack([voltages[0], FAULTS["dead electrode"](voltages[1], PROTOCOL, electrode, generator)])
        with torch.no_grad():
            clean, faulty = (network(torch.from_numpy(v).float()[None]) for v in (voltages, broken))
            blind = network.reconstruct(network.difference(torch.from_numpy(broken).float()[None]), torch.tensor([0]))
        named += int(faulty["trust_electrode"].argmax()) == electrode
        clean_alarms += bool(clean["trust_electrode"].max() > network.doubts.limit)
        errors += [
            np.linalg.norm(image.numpy() - truth) for image in (clean["image"][0], faulty["image"][0], blind[0][0, 0])
        ]
    assert named >= 22
    assert clean_alarms <= 2
    unharmed, without, with_it = errors
    assert without - unharmed < 0.25 * (with_it - unharmed)


def test_a_dead_channel_is_seen_and_one_of_its_electrodes_named(network: ImpedanceNetwork) -> None:
    generator, seen, named = np.random.default_rng(1), 0, 0
    for number in range(16):
        voltages, _ = simulated(number)
        channel = number % 8
        broken = np.stack([voltages[0], FAULTS["dead channel"](voltages[1], PROTOCOL, channel, generator)])
        with torch.no_grad():
            blame = network(torch.from_numpy(broken).float()[None])["trust_electrode"][0]
        seen += bool(blame.max() > network.doubts.limit)
        named += bool(PROTOCOL.voltages[int(blame.argmax()), channel_of(PROTOCOL, channel)])
    assert seen == 16
    assert named >= 15


def test_kinds_that_limits_let_pass_are_of_a_device_as_good_as_the_usual() -> None:
    assert set(CLEAN_KINDS) < set(OUT_OF_DISTRIBUTION)
    for kind in CLEAN_KINDS:
        assert replace(OUT_OF_DISTRIBUTION[kind], shapes=SHAPES, counts=(1, 4), small_share=0.2) == Scenario()


def test_order_of_electrodes_is_seen_by_the_reference(network: ImpedanceNetwork) -> None:
    voltages, _ = simulated(2)
    swapped = np.array([0, 2, 1, 3, 4, 5, 7, 6])
    model = CompleteElectrodeModel(TANK, mesh_of_at_most(TANK, 600))
    fields = model.solve(np.ones(len(model.areas)), np.full(8, 0.01))
    wrong = PROTOCOL.frame_from_potentials(fields.electrodes[swapped][:, swapped] @ PROTOCOL.currents)
    limit = network.trust_signals["order"].void_above
    assert limit is not None
    with torch.no_grad():
        good, bad = (network(torch.from_numpy(v).float()[None]) for v in (voltages, np.stack([wrong, wrong])))
    assert float(good["trust_order"]) < 0.3 * limit
    assert float(bad["trust_order"]) > limit


def test_voltages_that_are_no_numbers_give_no_image(network: ImpedanceNetwork) -> None:
    voltages, _ = simulated(3)
    voltages[1, 4] = np.nan
    with torch.no_grad():
        assert not torch.isfinite(network(torch.from_numpy(voltages).float()[None])["image"]).all()


@pytest.mark.parametrize("method", ["noser", "greit", "tv"])
def test_classical_images_show_a_target_where_it_is(method: str) -> None:
    body = linearisation_of(SPEC)
    model = CompleteElectrodeModel(TANK, mesh_of_at_most(TANK, 3000))
    impedance = np.full(8, 0.01)
    inside = np.hypot(model.centroids[0] - 0.4, model.centroids[1] - 0.3) < 0.2
    rest, now = (
        model.solve(conductivity, impedance).frame(PROTOCOL)
        for conductivity in (np.ones(len(model.areas)), np.where(inside, 2.0, 1.0))
    )
    difference = (now - rest) * body.frame / rest
    image = {
        "noser": lambda: noser(body).reconstruction()(difference),
        "greit": lambda: greit(body)(difference),
        "tv": lambda: total_variation(body, difference),
    }[method]().reshape(64, 64)
    found = greit_figures(image, centre=(0.4, 0.3), radius=0.2, amplitude=float(np.log(2)))
    assert abs(found.position_error) < 0.15
    assert 0.1 < found.amplitude_response < 2.0
    peak = np.unravel_index(image.argmax(), image.shape)
    assert np.hypot(peak[1] / 32 - 1 - 0.4, 1 - peak[0] / 32 - 0.3) < 0.2


def test_absolute_imaging_finds_background_and_contact_impedances() -> None:
    model = CompleteElectrodeModel(TANK, mesh_of_at_most(TANK, 300))
    protocol = find_protocol("ktc2023", 8)
    impedance = 0.01 * np.exp(np.random.default_rng(2).normal(size=8) * 0.3)
    frame = model.solve(np.full(len(model.areas), 2.5), impedance).frame(protocol)
    fit = fit_background(model, protocol, frame)
    assert fit.misfit < 1e-4
    np.testing.assert_allclose(fit.conductivity, 2.5, rtol=1e-3)
    np.testing.assert_allclose(fit.contact_impedance[::2], impedance[::2], rtol=0.05)
    body = np.where(np.hypot(model.centroids[0], model.centroids[1] - 0.4) < 0.3, 5.0, 2.5)
    measured = model.solve(body, impedance).frame(protocol)
    found = gauss_newton(model, protocol, measured, background=fit, steps=3)
    assert found.misfit < 0.3 * np.linalg.norm(measured - frame) / np.linalg.norm(measured)
    assert correlation(found.conductivity, body) > 0.7


def test_a_turned_body_gives_turned_voltages_and_pixels() -> None:
    phantom = draw_phantom(np.random.default_rng(3))
    model = CompleteElectrodeModel(TANK, mesh_of_at_most(TANK, 4000))
    impedance = np.full(8, 0.01)
    rest = model.solve(np.ones(len(model.areas)), impedance).frame(PROTOCOL)
    frame = model.solve(np.exp(phantom.log_change(model.centroids)), impedance).frame(PROTOCOL)
    known = symmetries(PROTOCOL)
    assert len(known) == 16
    for symmetry in (known[2], known[3], known[13]):
        angle = -np.deg2rad(symmetry.turn_deg)
        x, y = model.centroids
        back = np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y])
        back[0] *= -1 if symmetry.is_mirrored else 1
        measured = model.solve(np.exp(phantom.log_change(back)), impedance).frame(PROTOCOL)
        predicted = changed_frames(torch.from_numpy(frame), symmetry).numpy()
        assert np.linalg.norm(predicted - measured) < 0.08 * np.linalg.norm(measured - rest)
        image = torch.from_numpy(phantom.image())[None]
        found = changed_images(image, symmetry)[0].numpy()
        x, y = pixel_centres(64)
        back = np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y])
        back[0] *= -1 if symmetry.is_mirrored else 1
        exact = phantom.log_change(back) * disk_mask(64)
        assert correlation(found, exact) > 0.95


def test_the_loss_holds_images_of_turned_voltages_against_the_turned_image(tmp_path: Path) -> None:
    class Lopsided(Refinement):
        def __init__(self, slope: float) -> None:
            super().__init__()
            self.slope = slope

        def forward(
            self, linear: torch.Tensor, difference: torch.Tensor, operator: ForwardOperator, strength: torch.Tensor
        ) -> torch.Tensor:
            return self.slope * torch.linspace(-1, 1, linear.shape[-1]) * linear[:, :1]

    options = TrainOptions(model="eit_post", data=(tmp_path,), output=tmp_path, task=Task.RECONSTRUCTION)
    later = replace(options, weights=tmp_path / "trained.safetensors")
    spec = ModelSpec(name="eit_post", task=Task.RECONSTRUCTION, voltages=SPEC)
    frames, truths = (np.stack(part) for part in zip(*(simulated(4 * number) for number in range(4)), strict=True))
    turned = {}
    for slope in (0.0, 0.5):
        network = ImpedanceNetwork(SPEC, Lopsided(slope))
        network.load_physics(embed(SPEC))
        losses = np.zeros(4)
        recipes = [ReconstructionRecipe(spec, options, turn_weight=weight) for weight in (1.0, 2.0)]
        recipes += [ReconstructionRecipe(spec, how) for how in (options, later)]
        for seed in range(32):
            for place, recipe in enumerate(recipes):
                generator = torch.Generator().manual_seed(seed)
                voltages, images = torch.from_numpy(frames).float(), torch.from_numpy(truths)
                losses[place] += float(recipe.loss(network, voltages, images, generator, (64, 64)))
        turned[slope] = (losses[1] - losses[0]) / 8  # a quarter of the batches is turned
        assert losses[3] - losses[2] == pytest.approx(30 * (losses[1] - losses[0]), rel=1e-3)
    # Linear images leave what pixels leave.
    assert 0 < turned[0.0] < 1e-3
    assert turned[0.5] > 5e-3


def test_images_are_smoothed_as_the_measure_of_turns_smooths_them() -> None:
    image = draw_phantom(np.random.default_rng(5)).image()
    mask = torch.from_numpy(disk_mask(64)).float()
    found = smoothed_images(torch.from_numpy(image)[None], mask)[0].numpy()
    inside = disk_mask(64)
    expected = gaussian_filter(image, 1.5)[inside] / gaussian_filter(inside.astype(float), 1.5)[inside]
    np.testing.assert_allclose(found[inside], expected, atol=0.005 * np.abs(image).max())


def test_small_targets_are_as_large_as_they_are_and_lie_everywhere() -> None:
    model = CompleteElectrodeModel(TANK, mesh_of_at_most(TANK, 4000))
    distances, shares = [], []
    for number in range(40):
        phantom = draw_phantom(np.random.default_rng(number), small_share=1.0)
        (target,) = phantom.inclusions
        assert 0.02 <= target.size <= 0.1
        distances.append(np.hypot(*target.centre))
        change = phantom.conductivity(model.points, model.triangles) / phantom.reference(model.centroids) - 1
        seen = float((change * model.areas).sum() / np.expm1(target.log_ratio))
        shares.append(seen / (np.pi * target.size**2))
    # The mesh's polygon cuts a little off what stands at the wall.
    np.testing.assert_allclose(shares, 1.0, atol=0.2)
    assert np.mean(shares) == pytest.approx(1.0, abs=0.03)
    assert min(distances) < 0.15
    assert max(distances) > 0.8


def test_a_weak_image_is_mended_like_a_strong_one() -> None:
    """Of a tenth of a weak body's voltages the image is a tenth: no offset of the network shows as ringing."""
    torch.manual_seed(0)
    network = eit_post(voltages=SPEC)
    network.load_physics(embed(SPEC))
    refinement = network.refinement
    torch.nn.init.normal_(refinement.head.weight)  # type: ignore[union-attr,arg-type]
    torch.nn.init.normal_(refinement.head.bias)  # type: ignore[union-attr,arg-type]
    network.eval()
    voltages, _ = simulated(4)
    with torch.no_grad():
        difference = network.difference(torch.from_numpy(voltages).float()[None]) * 1e-3
        none = torch.zeros(1, dtype=torch.int64)
        (weak, linear), (weaker, _), (nothing, _) = (
            network.reconstruct(share * difference, none) for share in (1.0, 0.1, 0.0)
        )
    assert float((weak - linear).norm()) > 0.1 * float(linear.norm())
    np.testing.assert_allclose(10 * weaker.numpy(), weak.numpy(), atol=0.02 * float(weak.abs().max()))
    assert float(nothing.abs().max()) < 1e-4


def test_each_error_has_its_own_switch() -> None:
    frames = {}
    for words in ("none", "noise", "gain", "noise,gain"):
        scenario = Scenario(errors=errors_from_words(words))
        simulator = Simulator(tank=TANK, protocol=PROTOCOL, scenario=scenario, seed=1, triangles=500)
        frames[words] = simulator.sample(5).voltages
    noise, gain = frames["noise"] - frames["none"], frames["gain"] / frames["none"]
    np.testing.assert_allclose(frames["noise,gain"], frames["none"] * gain + noise, rtol=0.02, atol=0.02 * noise.std())
    assert gain.std() == pytest.approx(0.005, rel=0.6)
    with pytest.raises(UsageError, match="PE-EIT-003"):
        errors_from_words("noise,rain")


def test_a_set_is_resumed_and_repeated_byte_by_byte(tmp_path: Path) -> None:
    request = VoltageSetRequest(voltages=SPEC, samples=72, triangles=300, ood_samples=4, seed=3)
    first, second = (synthesize_eit(request, tmp_path / name, processes=1) for name in ("a", "b"))
    assert first.counts["train"] + first.counts["val"] == 72
    part = tmp_path / "a/train/part_00000.npz"
    assert part.read_bytes() == (tmp_path / "b/train/part_00000.npz").read_bytes()
    part.unlink()
    again = synthesize_eit(request, tmp_path / "a", processes=1)
    assert again.simulated == 64
    assert part.read_bytes() == (tmp_path / "b/train/part_00000.npz").read_bytes()
    bodies = {name: set(read_part(next((tmp_path / "a" / name).glob("*.npz"))).bodies) for name in ("train", "val")}
    assert not bodies["train"] & bodies["val"]
    with pytest.raises(UsageError, match="PE-SYNTH-003"):
        synthesize_eit(VoltageSetRequest(voltages=SPEC, samples=16), tmp_path / "a")
    assert second.samples_per_second > 0


def test_data_of_another_protocol_are_refused(tmp_path: Path) -> None:
    synthesize_eit(VoltageSetRequest(voltages=SPEC, samples=8, triangles=300), tmp_path, processes=1)
    other = VoltageSpec(count=208, electrodes=16, protocol="adjacent", reference=True)
    with pytest.raises(UsageError, match=r"PE-DATA-022.*40 voltages"):
        read_voltage_samples(tmp_path / "train", other)
    with pytest.raises(UsageError, match="PE-DATA-020"):
        read_voltage_samples(tmp_path, SPEC)
    (tmp_path / "train/part_00000.npz").write_bytes(b"no zip")
    read_part.cache_clear()
    with pytest.raises(UsageError, match="PE-DATA-021"):
        read_voltage_samples(tmp_path / "train", SPEC)


def test_networks_refuse_voltages_without_a_reference() -> None:
    with pytest.raises(UsageError, match="PE-MODEL-020"):
        eit_post(voltages=VoltageSpec(count=40, electrodes=8, protocol="adjacent"))


def test_unrolled_steps_begin_at_the_linear_image_and_learn() -> None:
    network = eit_unrolled(voltages=SPEC)
    network.load_physics(embed(SPEC))
    voltages, truth = simulated(4)
    frame = torch.from_numpy(voltages).float()[None]
    answer = network(frame)
    np.testing.assert_allclose(answer["image"].detach(), answer["linear_image"].detach(), atol=1e-5)
    loss = (answer["image"][0] - torch.from_numpy(truth)).square().mean()
    loss.backward()
    assert network.refinement.priors[0][5].weight.grad.abs().max() > 0  # type: ignore[union-attr,index,operator]
    scores = LearnedRegulariser()(answer["image"].detach()[:, None])
    assert scores.shape == (1,)
    assert float(scores.detach()) >= 0


def test_from_simulation_to_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain of the documentation, on a tank of eight electrodes: train, export, run on voltages in a file."""
    from physedge.cli.app import main
    from physedge_runtime.bundle import read_bundle

    monkeypatch.chdir(tmp_path)
    synthesize_eit(VoltageSetRequest(voltages=SPEC, samples=96, triangles=300, val_fraction=0.3), Path("sim"))
    samples = read_voltage_samples(Path("sim/val"), SPEC)
    voltages, _ = read_arrays(samples)
    np.save("now.npy", voltages[:, 1])
    np.save("rest.npy", voltages[:1, 0])

    def run(*words: str) -> None:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        assert ended.value.code in (0, None)

    run("train", "eit_post", "--data", "sim", "--epochs", "2", "--batch", "16", "--output", "runs/eit")
    run("export", "--target", "onnxruntime", "--precision", "fp32", "--data", "sim", "--output", "eit.physedge")
    source = "voltages:now.npy?reference=rest.npy"
    run("run", "--bundle", "eit.physedge", "--source", source, "--frames", "3", "--sink", "jsonl:out.jsonl")
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    answers = [line for line in lines if line.get("kind") == "frame" and line.get("answer")]
    assert len(answers) == 3
    assert answers[0]["answer"]["task"] == "reconstruction"
    assert set(answers[0]["trust"]["signals"]) == {"electrode", "residual", "order", "reciprocity", "input"}
    bundle = read_bundle(Path("eit.physedge"), trust=None)
    _check_that_all_physics_is_an_island(Path("eit.physedge"))
    assert bundle.manifest.trust.signals["electrode"].each == "electrode"
    with bundle.open(engine="onnxruntime") as net:
        assert net.infer(voltages[0]).trust.state in ("ok", "doubtful")
        with pytest.raises(UsageError, match="PE-FRAME-002"):
            net.infer(voltages[0, 1])
        broken = voltages[0].copy()
        broken[1, 3] = np.nan
        assert net.infer(broken).trust.state == "void"


def _check_that_all_physics_is_an_island(bundle: Path) -> None:
    """No quantiser may touch a voltage or a trust signal: all arithmetic outside the refinement is marked."""
    import zipfile

    import onnx

    from physedge_export.marks import float_nodes

    model = onnx.load_from_string(zipfile.ZipFile(bundle).read("model.onnx"))
    kept = float_nodes(model)
    others = {
        node.name for node in model.graph.node if node.name not in kept and node.op_type not in ("Slice", "Gather")
    }
    assert others
    assert all(name.startswith("refinement") for name in others)
