"""`diff`: what is written, what is answered, and by how much the metric moved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from disks import write_disks
from tiny_network import tiny_graph, tiny_spec

from physedge.deploy.diff import DiffOptions, diff
from physedge.deploy.diff_page import png, summary_lines, write_diff
from physedge_runtime.bundle import Bundle, read_bundle
from physedge_runtime.errors import UsageError
from physedge_runtime.spec import ModelSpec

Write = Callable[..., Path]


@pytest.fixture
def pair(write_tiny: Write) -> tuple[Bundle, Bundle]:
    """The second one takes a pixel for a lesion from a lower red on: sigmoid(8 (red - 0.5) + 1.6) crosses at 0.3."""
    from physedge_runtime.manifest import Artefact

    loose = (Artefact(entry="model.onnx", precision="fp32", method="by hand", golden_mean_bound=1, golden_max_bound=1),)
    old = write_tiny("old", release=1, artefacts=loose)
    new = write_tiny("new", release=2, artefacts=loose, contents={"model.onnx": tiny_graph(bias=1.6)})
    return read_bundle(old), read_bundle(new)


def test_a_bundle_does_not_differ_from_itself(pair: tuple[Bundle, Bundle]) -> None:
    found = diff(pair[0], pair[0], DiffOptions(engine="onnxruntime"))
    assert not (found.manifest or found.recipe or found.entries or found.graphs or found.worst)
    assert found.changed_pixel_fraction == 0
    assert len(found.frames) == 1


def test_what_is_written_and_what_is_answered(pair: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    found = diff(*pair, DiffOptions(engine="onnxruntime"))
    assert [(change.key, change.before, change.after) for change in found.manifest] == [("release", 1, 2)]
    assert [change.key for change in found.entries] == ["model.onnx"]
    (graph,) = found.graphs
    assert (graph.operators, graph.tensors_changed, graph.tensors) == ({}, 1, 2)
    # Uniform noise, 40 x 50 to 32 x 32: what lies between 0.3 and 0.5 of red changes.
    assert 0.05 < found.changed_pixel_fraction < 0.5
    assert found.changed_frames == 1
    page, record = write_diff(found, tmp_path / "diff")
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 1
    assert json.loads(record.read_text(encoding="utf-8"))["changed_frames"] == 1
    first = page.read_bytes()
    write_diff(diff(*pair, DiffOptions(engine="onnxruntime")), tmp_path / "diff")
    assert page.read_bytes() == first


@pytest.mark.requirement("REQ-CHANGE-CONTROL")
def test_the_metric_moves_with_its_interval(pair: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    write_disks(tmp_path / "data/val", 12)
    found = diff(*pair, DiffOptions(data=tmp_path / "data", engine="onnxruntime"))
    assert len(found.frames) == 12
    assert found.metric is not None
    assert found.metric.low <= found.metric.estimate <= found.metric.high
    by_hand = [frame.score_after - frame.score_before for frame in found.frames]  # type: ignore[operator]
    assert found.metric.estimate == pytest.approx(np.mean(by_hand))
    assert found.metric.group_count == 6
    assert "95 % interval" in summary_lines(found)[-1]
    pictures = diff(*pair, DiffOptions(frames=tmp_path / "data/val/images", limit=5, engine="onnxruntime"))
    assert len(pictures.frames) == 5
    assert pictures.metric is None


def test_different_questions_are_not_compared(pair: tuple[Bundle, Bundle], write_tiny: Write) -> None:
    spec = tiny_spec().model_dump() | {"classes": ("background", "tool")}
    other = read_bundle(write_tiny("other", spec=ModelSpec.model_validate(spec)))
    with pytest.raises(UsageError, match="PE-DIFF-001"):
        diff(pair[0], other)


def test_the_picture_is_a_png_that_others_read(tmp_path: Path) -> None:
    from PIL import Image

    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    (tmp_path / "x.png").write_bytes(png(picture))
    assert (np.asarray(Image.open(tmp_path / "x.png")) == picture).all()
