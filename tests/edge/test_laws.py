"""The laws of a network on real engines: kept where its physics stays in float, refused where it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.deploy.candidates import Made
from physedge.deploy.choosing import full_precision, judge_candidate, set_bar
from physedge.deploy.greit_targets import greit_targets
from physedge.deploy.judge import Court, Graph
from physedge.deploy.progress import no_progress
from physedge.models.blocks.growth import Growth
from physedge.physics.eit.embed import linearisation_of
from physedge.physics.eit.linear import greit
from physedge_calibrate.laws.growth import check_growth_block
from physedge_calibrate.laws.growth_block import NotCutOut, cut_from_onnx, open_growth_block
from physedge_calibrate.metrics.greit import greit_figures
from physedge_calibrate.quantize import quantize_unsigned
from physedge_calibrate.samples import Sample
from physedge_calibrate.tolerance import standard
from physedge_export.graph import TracedGraph
from physedge_export.trace import trace
from physedge_runtime.engines import EngineRequest
from physedge_runtime.frame import Fit, FrameSpec, VoltageSpec
from physedge_runtime.growth import GrowthSpec
from physedge_runtime.ir import pack_ir
from physedge_runtime.manifest import Output
from physedge_runtime.spec import ModelSpec, Task
from physedge_runtime.verdict import Verdict

GROWTH = GrowthSpec(cells=16, field_of_view_mm=100.0)
SPEC = ModelSpec(
    name="tiny-growth",
    task=Task.CLASSIFICATION,
    classes=("dark", "bright"),
    frame=FrameSpec(height=64, width=64, fit=Fit.STRETCH),
    growth=GROWTH,
)
ENGINES = ("onnxruntime", "openvino")


class TinyTumour(nn.Module):
    """A classifier by brightness that lets a density grow on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 8, 3, padding=1)
        self.begin = nn.Conv2d(8, 1, 1)
        self.growth = Growth(GROWTH)
        self.place = nn.Linear(8, 2)
        self.head = nn.Linear(3, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[-1.0] * 3, [1.0] * 3]))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features = torch.relu(self.look(functional.avg_pool2d(image, 4)))
        place = torch.sigmoid(self.place(features.mean(dim=(2, 3))))
        diffusivity, growth = 0.01 + 0.8 * place[:, :1], 0.001 + 0.08 * place[:, 1:]
        start = torch.sigmoid(4.0 * self.begin(features))
        density = self.growth(start, diffusivity[:, :, None, None], growth[:, :, None, None])
        return {
            "logits": self.head(3.0 * image.mean(dim=(2, 3))),
            "density": density,
            "D_mm2_per_day": diffusivity,
            "rho_per_day": growth,
        }


def pictures(count: int = 24) -> list[Any]:
    generator = np.random.default_rng(5)
    levels = np.where(np.arange(count) % 2, 180, 60)[:, None, None, None]
    return list((levels + generator.integers(-50, 50, (count, 64, 64, 3))).astype(np.uint8))


@pytest.fixture(scope="module")
def traced() -> TracedGraph:
    torch.manual_seed(1)
    return trace(TinyTumour().eval(), SPEC)


@pytest.fixture(scope="module")
def graphs(traced: TracedGraph) -> dict[str, bytes]:
    """By what was quantised: nothing, all but the physics, all."""

    def quantised(float_nodes: frozenset[str]) -> bytes:
        return quantize_unsigned(
            traced.model, pictures(), input_name="frame", float_nodes=float_nodes, engine="onnxruntime"
        ).model

    return {"nothing": traced.model, "all but physics": quantised(traced.float_nodes), "all": quantised(frozenset())}


@pytest.fixture(scope="module")
def court(traced: TracedGraph, tmp_path_factory: pytest.TempPathFactory) -> Court:
    from PIL import Image

    from physedge_calibrate.evaluate import read_samples

    root: Path = tmp_path_factory.mktemp("pictures")
    for index, picture in enumerate(pictures()):
        path = root / SPEC.classes[index % 2] / f"{index:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(path)
    samples: list[Sample] = list(read_samples(root, SPEC))
    outputs = tuple(Output(name=output.name, shape=output.shape[1:]) for output in traced.outputs)
    return Court(spec=SPEC, outputs=outputs, samples=samples, tolerance=standard(), threads=1)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("which", "refused"), [("nothing", False), ("all but physics", False), ("all", True)])
def test_a_quantised_growth_block_is_refused_though_every_class_is_right(
    engine: str, which: str, refused: bool, graphs: dict[str, bytes], court: Court
) -> None:
    bar = set_bar(court, Graph(entry="model.onnx", precision="fp32", data=graphs["nothing"]), engine, None, no_progress)
    made = full_precision(Graph(entry="model.onnx", precision="fp32", data=graphs["nothing"]))
    if which != "nothing":
        graph = Graph(entry="model.int8-cpu.onnx", precision="int8", data=graphs[which])
        made = Made(graph=graph, method=which, int8_mac_share=1.0)
    judged = judge_candidate(bar, made, no_progress, always_simulate=False)
    assert judged.evaluation.scores("accuracy").mean() == 1.0
    assert (judged.record.verdict is Verdict.REJECT) is refused, judged.record.reasons
    laws = judged.judgement.laws
    assert sum(law.title.startswith("block: ") for law in laws) == 8
    assert len(laws) == 11
    if refused:
        assert "a law of the network does not hold" in judged.record.reasons[0]
        broken = {law.title for law in laws if not law.held}
        assert "block: mass growth as the equation has it" in broken
    else:
        assert all(law.held for law in laws), [law.sentence() for law in laws]


def test_the_block_is_cut_out_of_openvinos_representation_too(graphs: dict[str, bytes], tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    for which, keeps in (("nothing", True), ("all but physics", True), ("all", False)):
        path = tmp_path / "model.xml"
        openvino.serialize(openvino.Core().read_model(model=graphs[which]), path)
        entry = pack_ir(path.read_bytes(), path.with_suffix(".bin").read_bytes())
        request = EngineRequest(graph=entry, graph_sha256="", input_shape=(1, 64, 64, 3), outputs={}, threads=1)
        with open_growth_block(entry, GROWTH, "openvino", request) as block:
            assert all(check.held for check in check_growth_block(block, GROWTH)) is keeps


def test_a_block_that_hangs_on_the_picture_is_not_cut_out(traced: TracedGraph) -> None:
    import onnx

    model = onnx.load_from_string(traced.model)
    joined = next(node for node in model.graph.node if "density" in node.output)
    joined.input[1] = model.graph.node[0].output[0]
    with pytest.raises(NotCutOut, match="more than u, D and rho"):
        cut_from_onnx(model.SerializeToString(), GROWTH.cells)


def test_small_targets_are_where_they_say() -> None:
    """A classical image of each, which is no part of the making, shows it at its centre and with its sign."""
    spec = VoltageSpec(count=40, electrodes=8, protocol="adjacent", reference=True)
    body = linearisation_of(spec)
    reconstruct = greit(body)
    targets = greit_targets(spec)
    assert len(targets) == 10
    for target in targets:
        rest, now = target.voltages.astype(np.float64)
        image = reconstruct((now - rest) * body.frame / rest).reshape(64, 64)
        found = greit_figures(image, centre=target.centre, radius=target.radius, amplitude=target.amplitude)
        assert abs(found.position_error) < 0.15
        assert found.amplitude_response > 0.1
