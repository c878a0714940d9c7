"""The choosing station: of the graphs that were judged, the fastest that passes, where a lower precision must pay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np

from physedge.deploy.judge import Court, Graph, open_graph
from physedge_calibrate.bench import run_bench
from physedge_calibrate.choose import Candidate, Choice, choose
from physedge_runtime.frame import Frame
from physedge_runtime.manifest import VerdictRecord
from physedge_runtime.resize import prepare

_ROUNDS = 20


def choose_graph(
    court: Court,
    graphs: Sequence[Graph],
    verdicts: Sequence[VerdictRecord],
    engine: str,
    *,
    methods: Mapping[str, str],
    shares: Mapping[str, float],
) -> Choice:
    """Time the graphs in one interleaved run on their engine and choose.

    Args:
        court: The network and a sample to time with.
        graphs: Full precision and all others.
        verdicts: One for each graph, in the same order.
        engine: That runs them.
        methods: Entry to how it was made.
        shares: Entry to the fraction of MACs in INT8.

    Returns:
        The choice; candidates are named by their entries.
    """
    times = _cpu_median_ms(court, graphs, engine)
    return choose(
        [
            Candidate(
                name=graph.entry,
                precision=graph.precision,
                method=methods[graph.entry],
                verdict=record.verdict,
                verdict_reason=record.reasons[0] if record.reasons else "",
                median_ms=times[graph.entry],
                int8_mac_share=shares.get(graph.entry, 0.0),
            )
            for graph, record in zip(graphs, verdicts, strict=True)
        ]
    )


def _cpu_median_ms(court: Court, graphs: Sequence[Graph], engine: str) -> dict[str, float]:
    """Median CPU time of one inference: other processes on the machine do not count."""
    assert court.spec.frame is not None
    inputs = prepare(Frame(pixels=court.samples[0].picture()), court.spec.frame)[np.newaxis]
    with ExitStack() as stack:
        opened = {graph.entry: stack.enter_context(open_graph(court, graph, engine)) for graph in graphs}
        bench = run_bench(
            {entry: partial(ready.infer, inputs) for entry, ready in opened.items()},
            rounds=_ROUNDS,
            generator=np.random.default_rng(court.seed),
        )
    return {timing.name: timing.cpu_median_ms for timing in bench.timings}
