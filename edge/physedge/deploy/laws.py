"""The laws of a network, asked of a graph on an engine: of its answers, of its growth block, of its small targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge.deploy.judge import Court, Graph, engine_request, open_graph
from physedge_calibrate.evaluate import TASKS, Evaluation
from physedge_calibrate.laws.greit import Target, check_greit
from physedge_calibrate.laws.growth import check_growth_block
from physedge_calibrate.laws.growth_block import NotCutOut, open_growth_block
from physedge_calibrate.laws.hard_signals import check_hard_signals
from physedge_calibrate.laws.law import LawCheck
from physedge_runtime.spec import ModelSpec

Images = Sequence[NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LawsFound:
    """What was found of the laws of one graph.

    Attributes:
        checks: One a law; empty for a network that has none.
        remarks: What could not be asked, and why.
        target_images: Answers to the small targets.
    """

    checks: tuple[LawCheck, ...] = ()
    remarks: tuple[str, ...] = ()
    target_images: Images = field(default=(), repr=False)


def targets_for(spec: ModelSpec) -> tuple[Target, ...]:
    """Small targets to hold a reconstruction against; none for networks that take pictures, or no reference."""
    if spec.voltages is None or not spec.voltages.reference or spec.voltages.protocol is None:
        return ()
    from physedge.deploy.greit_targets import greit_targets

    return greit_targets(spec.voltages)


def answer_targets(court: Court, graph: Graph, engine: str, *, emulate: bool = False) -> Images:
    """The images (height, width) of the court's targets."""
    if not court.targets:
        return ()
    with open_graph(court, graph, engine, emulate=emulate) as opened:
        return [np.squeeze(opened.infer(target.voltages[np.newaxis])["image"], axis=0) for target in court.targets]


def find_laws(
    court: Court,
    graph: Graph,
    engine: str,
    reference: Evaluation,
    candidate: Evaluation,
    reference_targets: Images,
    *,
    emulate: bool = False,
) -> LawsFound:
    """Ask a candidate for every law that its network has.

    Args:
        court: Samples, targets and limits.
        graph: The candidate.
        engine: That runs it.
        reference: Full precision's answers to the samples.
        candidate: The candidate's.
        reference_targets: Full precision's answers to the court's targets.
        emulate: As for `run_graph`.
    """
    checks = [*TASKS[court.spec.task].laws(candidate, court.spec)]
    hard, remarks = check_hard_signals(reference.signals, candidate.signals, court.signals)
    block, told = _block(court, graph, engine, emulate)
    images = answer_targets(court, graph, engine, emulate=emulate)
    if images:
        checks += check_greit(reference_targets, images, court.targets)
    return LawsFound(checks=(*checks, *hard, *block), remarks=(*remarks, *told), target_images=images)


def _block(court: Court, graph: Graph, engine: str, emulate: bool) -> tuple[tuple[LawCheck, ...], tuple[str, ...]]:
    growth = court.spec.growth
    if growth is None or not growth.evolves:
        return (), ()
    request: Any = engine_request(court, graph, emulate=emulate)
    try:
        with open_growth_block(graph.data, growth, engine, request) as block:
            return check_growth_block(block, growth), ()
    except NotCutOut as error:
        return (), (f"the growth block of {graph.entry} was held to its laws on the evaluated samples only: {error}",)
