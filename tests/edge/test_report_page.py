"""`physedge report BUNDLE`: one page that needs nothing beside itself, the verdict first, the worst frames shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from disks import write_disks
from tiny_network import tiny_contents, tiny_graph
from typer.testing import CliRunner

from physedge.cli.app import build_app
from physedge.deploy.candidates import Made
from physedge.deploy.choosing import ENTRY, choose_candidate, evidence, full_precision, judge_candidate, set_bar
from physedge.deploy.judge import Court, Graph
from physedge.deploy.progress import no_progress
from physedge.deploy.report_page import write_page
from physedge.deploy.worst_frames import WorstFrames, coloured, worst_frames
from physedge_calibrate.dataset import read_labelled
from physedge_calibrate.tolerance import standard
from physedge_runtime.bundle import read_bundle
from physedge_runtime.keys import ANYBODY
from physedge_runtime.manifest import canonical_json
from physedge_runtime.verdict import Verdict

FULL, WORSE = "model.onnx", "model.int8-cpu.onnx"
NOT_MADE = ("the candidate timed was not made: no part of the network is slower in INT8",)


@pytest.fixture
def judged_bundle(tmp_path: Path, write_tiny: Callable[..., Path]) -> Path:
    """A bundle that ships a graph which is worse on purpose, with the table of candidates that judged it."""
    manifest, _ = tiny_contents()
    samples = read_labelled(write_disks(tmp_path / "data/val", 24), 1)
    court = Court(
        spec=manifest.spec, outputs=manifest.outputs, samples=samples, tolerance=standard(), threads=1, seed=0
    )
    made = [
        full_precision(Graph(entry=FULL, precision="fp32", data=tiny_graph())),
        Made(
            graph=Graph(entry=WORSE, precision="int8", data=tiny_graph(bias=-3.1)), method="by hand", int8_mac_share=0.5
        ),
    ]
    bar = set_bar(court, made[0].graph, "onnxruntime", None, no_progress)
    judged = [judge_candidate(bar, one, no_progress, always_simulate=True) for one in made]
    choice, bench = choose_candidate(bar, judged, no_progress)
    assert choice.chosen is not None
    assert choice.chosen.name == FULL
    (artefact,) = manifest.artefacts
    lower = artefact.model_copy(
        update={"entry": WORSE, "precision": "int8", "golden_mean_bound": 1.0, "golden_max_bound": 1.0}
    )
    return write_tiny(
        "judged.rejected",
        contents={WORSE: made[1].graph.data, ENTRY: evidence(bar, judged, choice, bench, not_made=NOT_MADE)},
        artefacts=(artefact, lower),
        shipped={"onnxruntime": WORSE},
        verdict=Verdict.REJECT,
        verdicts=tuple(one.record for one in judged),
    )


class Pictures(HTMLParser):
    """The sources of all pictures and links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


def report(bundle: Path, *words: str) -> str:
    result = CliRunner().invoke(build_app(), ["report", str(bundle), *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (path,) = re.findall(r"wrote (\S+)", result.output.replace("\n", ""))
    return Path(path).read_text("utf-8")


def test_the_verdict_comes_first_and_every_candidate_with_its_reason(judged_bundle: Path) -> None:
    text = report(judged_bundle)
    assert text.index("REJECT") < text.index("Candidates") < text.index("Frames to look at") < text.index("reproduce")
    assert "lost by rounding" in text
    assert "ships: the fastest that passes" in text
    assert "give the data with <code>--data DIR</code>" in text
    assert "data:image" not in text
    assert "boundary ring Dice (3 px)" in text
    assert "The candidate timed was not made: no part of the network is slower in INT8." in text


def test_laws_that_a_candidate_breaks_are_named(judged_bundle: Path) -> None:
    opened = read_bundle(judged_bundle, trust=ANYBODY)
    judged = json.loads(opened.read(ENTRY))
    law = {"title": "mass stays", "measured": 0.24, "allowed": 0.01, "cases": 24, "where": "spot", "unit": ""}
    judged["candidates"][1]["laws"] = [{**law, "held": False}, {**law, "measured": None, "held": False}]
    contents = {**opened.contents, ENTRY: canonical_json(judged)}
    text = write_page(replace(opened, contents=contents), WorstFrames(), ())
    for words in ("Laws of the network, on onnxruntime", "<td>0.24 </td>", "not a number", "BROKEN", "breaks"):
        assert words in text


def test_with_the_data_the_worst_frames_stand_side_by_side_and_nothing_is_loaded_from_elsewhere(
    judged_bundle: Path, tmp_path: Path
) -> None:
    text = report(judged_bundle, "--data", str(tmp_path / "data"), "--frames", "3")
    found = Pictures()
    found.feed(text)
    assert len(found.sources) == 2 * 3 * 4  # two lists of three frames, four pictures each
    assert all(source.startswith("data:image/png;base64,") for source in found.sources)
    for title in ("input", "truth", "full precision", "shipped"):
        assert text.count(f"<figcaption>{title}</figcaption>") == 2 * 3


def test_the_worst_by_truth_and_by_change_are_two_lists() -> None:
    """Frame c was lost in full precision already: it lost nothing, and is the worst to look at."""
    table = {
        "higher_is_better": True,
        "samples": [
            {"name": name, "group": "g", "stratum": "", "reference": before, "scores": {"x": after}}
            for name, before, after in (("a", 0.9, 0.9), ("b", 0.9, 0.5), ("c", 0.0, 0.0), ("d", 0.8, 0.9))
        ],
    }
    worst = worst_frames(table, "x", most=2)
    assert [frame.name for frame in worst.by_truth] == ["c", "b"]
    assert [frame.name for frame in worst.by_change] == ["b", "c"]
    assert [frame.name for frame in worst_frames(table, "x", most=1).all] == ["c", "b"]
    table["higher_is_better"] = False
    worst = worst_frames(table, "x", most=2)
    assert [frame.name for frame in worst.by_truth] == ["d", "a"]
    assert [frame.name for frame in worst.by_change] == ["d", "a"]


def test_a_bundle_that_nobody_judged_has_a_page_too(write_tiny: Callable[..., Path]) -> None:
    text = report(write_tiny())
    assert "NOT RUN" in text
    assert "Candidates" not in text


def test_a_reconstruction_is_drawn_red_above_and_blue_below_nothing() -> None:
    picture = coloured(np.array([[-1.0, 0.0, 0.5, 2.0]], np.float32))
    assert picture.shape == (48, 192, 3)
    assert picture[0, ::48].tolist() == [[0, 0, 255], [255, 255, 255], [255, 127, 127], [255, 0, 0]]
