"""A reduced graph's own golden answers: the same computation as at export, or another one."""

from __future__ import annotations

from pathlib import Path

import exhibits
import pytest

from physedge_runtime.bundle import MANIFEST, read_bundle
from physedge_runtime.errors import IntegrityError


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_graph_that_computes_as_at_export_is_told_so(engine: str, tmp_path: Path) -> None:
    path = exhibits.reduced(tmp_path / "x.physedge", engine=engine)
    with read_bundle(path).open(engine=engine, only_as_exported=True) as net:
        assert net.artefact.precision == "int8"
        assert net.computes_as_exported is True
        (replay,) = net.golden
        assert replay.own_max_error is not None
        assert replay.own_max_error < 1e-5


@pytest.mark.requirement("REQ-OWN-ANSWERS")
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_weight_that_was_changed_a_little_passes_the_wide_bound_and_not_the_tight_one(
    engine: str, tmp_path: Path
) -> None:
    bundle = read_bundle(exhibits.reduced(tmp_path / "x.physedge", bias=0.02, engine=engine))
    with bundle.open(engine=engine) as net:
        assert net.computes_as_exported is False
        (replay,) = net.golden
        assert replay.own_max_error is not None
        assert 1e-3 < replay.own_max_error < 0.01
        assert replay.max_error < net.artefact.golden_max_bound
    with pytest.raises(IntegrityError, match=r"PE-BUNDLE-020.*otherwise than an engine.*at most 0\.0001 and 0\.001"):
        bundle.open(engine=engine, only_as_exported=True)


def test_the_mean_counts_by_itself(tmp_path: Path) -> None:
    bundle = read_bundle(exhibits.reduced(tmp_path / "x.physedge", bias=0.02, max_bound=0.5))
    with bundle.open(engine="onnxruntime") as net:
        assert net.computes_as_exported is False


def test_nothing_is_said_of_another_engine(tmp_path: Path) -> None:
    bundle = read_bundle(exhibits.reduced(tmp_path / "x.physedge", bias=0.02, engine="openvino"))
    with bundle.open(engine="onnxruntime") as net:
        assert net.computes_as_exported is None
    with pytest.raises(IntegrityError, match=r"PE-BUNDLE-020.*does not say what model.int8-cpu.onnx answers on onnx"):
        bundle.open(engine="onnxruntime", only_as_exported=True)


def test_full_precision_needs_no_own_answers(tmp_path: Path) -> None:
    bundle = read_bundle(exhibits.reduced(tmp_path / "x.physedge"))
    with bundle.open(engine="onnxruntime", precision="fp32", only_as_exported=True) as net:
        assert net.computes_as_exported is True


def test_a_bundle_of_before_is_read_and_written_as_it_was(tmp_path: Path) -> None:
    path = exhibits.reduced(tmp_path / "x.physedge", own=None)
    assert b'"own"' not in exhibits.entries(path)[MANIFEST]
    with read_bundle(path).open(engine="onnxruntime") as net:
        assert net.computes_as_exported is None
