"""A reduced graph's own golden answers in C++: the same judgement as in Python, by the same identifier."""

from __future__ import annotations

from pathlib import Path

import exhibits
import numpy as np
import pytest
from native_library import Native

from physedge_runtime.bundle import read_bundle
from physedge_runtime.errors import IntegrityError

GOLDEN = "golden/0.probability"


@pytest.mark.requirement("REQ-OWN-ANSWERS")
@pytest.mark.parametrize("bias", [0.0, 0.02])
def test_both_runtimes_judge_the_computation_alike(
    bias: float, tmp_path: Path, native: Native, real_engine: str
) -> None:
    path = exhibits.reduced(tmp_path / "x.physedge", bias=bias, engine=real_engine)
    with native.open(path, engine=real_engine.encode()) as ours, read_bundle(path).open(engine=real_engine) as net:
        assert ours.info.precision == b"int8"
        assert bool(ours.info.computes_as_exported) is net.computes_as_exported is (bias == 0)
        (replay,) = net.golden
        assert ours.info.own_max_error == replay.own_max_error
        assert ours.info.own_mean_error == pytest.approx(replay.own_mean_error, rel=1e-4)


@pytest.mark.requirement("REQ-OWN-ANSWERS")
def test_the_caller_may_refuse_another_computation(tmp_path: Path, native: Native, real_engine: str) -> None:
    path = exhibits.reduced(tmp_path / "x.physedge", bias=0.02, engine=real_engine)
    with pytest.raises(IntegrityError, match=r"PE-BUNDLE-020.*otherwise than an engine"):
        native.open(path, engine=real_engine.encode(), only_as_exported=1)
    exhibits.reduced(path, engine=real_engine)
    native.open(path, engine=real_engine.encode(), only_as_exported=1).close()


def test_what_the_bundle_does_not_say_is_not_made_up(tmp_path: Path, native: Native, real_engine: str) -> None:
    path = exhibits.reduced(tmp_path / "x.physedge", engine="another")
    with native.open(path, engine=real_engine.encode()) as net:
        assert (net.info.computes_as_exported, net.info.own_max_error) == (-1, 0)
    with pytest.raises(IntegrityError, match=r"PE-BUNDLE-020.*does not say"):
        native.open(path, engine=real_engine.encode(), only_as_exported=1)
    native.open(path, engine=real_engine.encode(), precision=b"fp32", only_as_exported=1).close()


@pytest.mark.parametrize("place", [0, -1])
def test_what_is_no_number_is_far_from_every_answer_wherever_it_stands(
    place: int, tmp_path: Path, native: Native, real_engine: str
) -> None:
    path = exhibits.reduced(tmp_path / "x.physedge", engine=real_engine)
    full = np.frombuffer(exhibits.entries(path)[GOLDEN], "<f4").copy()
    full[place] = np.nan
    exhibits.reduced(path, engine=real_engine, contents={exhibits.OWN: full.tobytes()})
    with native.open(path, engine=real_engine.encode()) as ours, read_bundle(path).open(engine=real_engine) as net:
        assert (ours.info.computes_as_exported, net.computes_as_exported) == (0, False)
    exhibits.reduced(path, engine=real_engine, contents={GOLDEN: full.tobytes()})
    with pytest.raises(IntegrityError, match="PE-BUNDLE-020"):
        native.open(path, engine=real_engine.encode())
    with pytest.raises(IntegrityError, match="PE-BUNDLE-020"):
        read_bundle(path).open(engine=real_engine)


def test_a_bundle_of_before_is_read(tmp_path: Path, native: Native) -> None:
    with native.open(exhibits.reduced(tmp_path / "x.physedge", own=None), engine=b"fake") as net:
        assert net.info.computes_as_exported == -1
