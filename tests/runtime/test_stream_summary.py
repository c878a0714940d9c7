"""The summary of a stream: percentiles against numpy, and only where enough was measured."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_fakes import FakeNet, picture

from physedge_runtime.results import Signal
from physedge_runtime.stream import StreamedFrame, StreamInfo
from physedge_runtime.stream.loop import stream
from physedge_runtime.stream.spread import PERCENTILES, SpreadCounter
from physedge_runtime.stream.summary import SummaryBuilder


@given(st.lists(st.floats(0.002, 5e5), min_size=1, max_size=300))
def test_the_median_is_that_of_numpy_within_half_a_percent(times_ms: list[float]) -> None:
    counter = SpreadCounter()
    for time_ms in times_ms:
        counter.add(time_ms)
    spread = counter.spread()
    exact = float(np.percentile(times_ms, 50, method="inverted_cdf"))
    assert spread.median_ms == pytest.approx(exact, rel=0.006, abs=1e-4)
    assert spread.largest_ms == pytest.approx(max(times_ms), abs=1e-4)
    assert spread.samples == len(times_ms)


def test_the_tails_are_those_of_numpy_within_half_a_percent() -> None:
    times_ms = np.random.default_rng(0).lognormal(2.0, 0.7, 6999)
    counter = SpreadCounter()
    for time_ms in times_ms:
        counter.add(float(time_ms))
    values = counter.spread().to_dict()
    for name, (share, _) in PERCENTILES.items():
        assert values[name] == pytest.approx(np.percentile(times_ms, 100 * share, method="inverted_cdf"), rel=0.006)


@pytest.mark.parametrize(
    ("samples", "quoted"),
    [(63, set()), (64, {"p90_ms"}), (661, {"p90_ms"}), (662, {"p90_ms", "p99_ms"}), (6636, set(PERCENTILES))],
)
def test_a_percentile_is_quoted_only_where_enough_was_measured(samples: int, quoted: set[str]) -> None:
    counter = SpreadCounter()
    for _ in range(samples):
        counter.add(3.0)
    values = counter.spread().to_dict()
    assert {name for name in PERCENTILES if values[name] is not None} == quoted


def test_the_limits_are_those_of_early_stopping() -> None:
    """The least n at which more than one sample above a percentile that is missed is 99 % certain: binomial, t = 1."""
    for share, needed in PERCENTILES.values():

        def at_most_one_above(samples: int, share: float = share) -> float:
            return share**samples + samples * (1 - share) * share ** (samples - 1)

        assert at_most_one_above(needed) <= 0.01 < at_most_one_above(needed - 1)


def test_nothing_measured_is_said_so() -> None:
    assert str(SpreadCounter().spread()) == "no sample"


def test_time_is_shared_out_among_the_states() -> None:
    builder = SummaryBuilder(StreamInfo(source="x", live=True, period_ns=None, engine="e"))
    for at_s, signal in [(0, Signal.RECOVERING), (1, Signal.LIVE), (5, Signal.LOST), (8, Signal.LIVE)]:
        builder.add(StreamedFrame(frame=None, signal=signal, captured_ns=0, at_ns=at_s * 10**9, age_ms=0.0))
    summary = builder.build(captured=0, drops={}, withdrawn={}, sink_drops={})
    assert summary.signal_s == {"RECOVERING": 1.0, "LIVE": 4.0, "LOST": 3.0}
    assert summary.duration_s == 8.0


def test_a_summary_is_json_and_a_few_lines() -> None:
    with stream(FakeNet(), [picture(number) for number in range(70)]) as running:
        summary = running.wait()
    content = json.loads(json.dumps(summary.to_dict(), allow_nan=False))
    assert content["answers"] == 70
    assert content["schema_version"] == 1
    assert content["stages"]["inference"]["p90_ms"] == pytest.approx(3.0, rel=0.006)
    assert content["stages"]["inference"]["p99_ms"] is None
    lines = summary.lines()
    assert lines[0].startswith("70 pictures in ")
    assert any("p90" in line and "p99" not in line for line in lines)
    assert 4 <= len(lines) <= 10
