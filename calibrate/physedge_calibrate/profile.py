"""Where an engine's time goes: by operator and by module of the network, and whether the parts add up to the whole.

An engine counts the wall time of each of its operators. Whether they explain an inference is asked of each inference by
itself, by one clock. On a shared machine they hold the times of the neighbours too, in a few operators at a time: the
shortest over the rounds leaves those out, and is what tables show. Beside it stands the shortest processor time of the
same graph without counters, which cost time themselves. All is on one thread, since only there do times add up.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.profile_readers import DENSE, DEPTHWISE, POINTWISE, READERS, EngineOperator
from physedge_runtime.engines import EngineRequest, open_engine
from physedge_runtime.errors import UsageError, missing_extra

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

LARGEST_GAP = 0.10
"""Share of an inference that its operators may miss."""
SLOWER = 1.1
"""How many times as long a part must take in a reduced precision to be worth another form."""
OUTSIDE = "(engine)"
"""Module of what an engine does for itself and for no node of the graph: the first or last change of layout."""

_TAKEN_IN = ("Relu", "Clip", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "HardSwish")
_SUFFIXES = re.compile(r"(_token_\d+|_nchwc|/duplicated|_kernel_time|/WithoutBiases|_\d+)$")
_QUANTISERS = re.compile(r"_(Q|Deq)uantizeLinear(_\d+)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """One operator of an engine.

    Attributes:
        name: By which the engine calls it.
        kind: Of work, in the words of `KINDS`.
        kernel: What the engine runs for it, by the engine's own name.
        module: Path of the module of the network that it belongs to.
        milliseconds: A frame, the shortest over the rounds.
    """

    name: str
    kind: str
    kernel: str
    module: str
    milliseconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One graph on one engine.

    Attributes:
        title: Engine and precision, for people.
        operators: In the order in which they run.
        explained: Operators' times over the time of the inference they ran in, median over the rounds.
        whole_ms: A frame without counters, the shortest processor time.
        rounds: That were measured.
    """

    title: str
    operators: tuple[OperatorTime, ...]
    explained: float
    whole_ms: float
    rounds: int

    @property
    def sum_ms(self) -> float:
        """Of all operators."""
        return sum(operator.milliseconds for operator in self.operators)

    @property
    def adds_up(self) -> bool:
        """The parts explain the whole to `LARGEST_GAP`."""
        return abs(self.explained - 1.0) <= LARGEST_GAP

    def by_kind(self) -> dict[str, float]:
        """Milliseconds by kind of work, the costliest first."""
        return self._by(lambda operator: operator.kind)

    def by_module(self, depth: int = 1) -> dict[str, float]:
        """Milliseconds by module, in the order in which they first run; `depth` parts of its path are kept."""
        found = self._by(lambda operator: shortened(operator.module, depth))
        order = dict.fromkeys(shortened(operator.module, depth) for operator in self.operators)
        return {module: found[module] for module in order}

    def table(self, depth: int = 1) -> dict[tuple[str, str], float]:
        """Milliseconds by (module, kind)."""
        totals: dict[tuple[str, str], float] = {}
        for operator in self.operators:
            place = (shortened(operator.module, depth), operator.kind)
            totals[place] = totals.get(place, 0.0) + operator.milliseconds
        return totals

    def _by(self, key: Callable[[OperatorTime], str]) -> dict[str, float]:
        totals: dict[str, float] = {}
        for operator in self.operators:
            totals[key(operator)] = totals.get(key(operator), 0.0) + operator.milliseconds
        return dict(sorted(totals.items(), key=lambda item: -item[1]))

    def sentence(self) -> str:
        """Whether the parts add up, without a full stop."""
        verdict = "" if self.adds_up else f" (more than {LARGEST_GAP:.0%} off: do not trust this profile)"
        return (
            f"{self.title}: operators explain {self.explained:.1%} of an inference{verdict}; shortest of "
            f"{self.rounds}: {self.sum_ms:.2f} ms; without counters {self.whole_ms:.2f} ms of processor time"
        )

    def to_dict(self) -> dict[str, object]:
        """The same as plain values for JSON."""
        return {
            "title": self.title,
            "explained": self.explained,
            "whole_ms": self.whole_ms,
            "sum_ms": self.sum_ms,
            "rounds": self.rounds,
            "by_kind_ms": self.by_kind(),
            "by_module_ms": self.by_module(),
            "operators": [
                {"name": one.name, "kind": one.kind, "kernel": one.kernel, "module": one.module, "ms": one.milliseconds}
                for one in self.operators
            ],
        }


def profile_graph(
    engine: str,
    request: EngineRequest,
    inputs: NDArray[Any],
    *,
    title: str = "",
    rounds: int = 30,
    warm_up: int = 3,
    cpu_clock: Callable[[], int] = time.process_time_ns,
) -> Profile:
    """Run a graph on an engine with its counters on.

    Args:
        engine: `onnxruntime` or `openvino`.
        request: The graph, and all else that the engine is opened with; it is run on one thread.
        inputs: As for `Engine.infer`.
        title: For people; the engine's name where empty.
        rounds: Measured inferences.
        warm_up: Inferences before, not measured.
        cpu_clock: Nanoseconds of processor time of this process.

    Raises:
        UsageError: The engine has no counters that can be read (`PE-BENCH-004`).
        EnvironmentFault: `onnx` is not installed (`PE-ENV-001`), or the engine cannot open the graph.
    """
    if engine not in READERS:
        raise UsageError(
            "PE-BENCH-004",
            found=f"a profile of the engine {engine}",
            expected=f"one of {', '.join(READERS)}",
            next_step="choose one of these with --engine, or leave --profile out",
        )
    modules = ModuleFinder(request.graph)
    whole_ns: list[int] = []
    with READERS[engine](request) as reader, open_engine(engine, replace(request, threads=1)) as bare:
        for index in range(warm_up + rounds):
            reader.infer(inputs)
            started = cpu_clock()
            bare.infer(inputs)
            if index >= warm_up:
                whole_ns.append(cpu_clock() - started)
        runs = reader.runs()[-rounds:]
    explained = [sum(one.milliseconds for one in run.operators) / run.wall_ms for run in runs]
    return Profile(
        title=title or engine,
        operators=_shortest([run.operators for run in runs], modules),
        explained=float(np.median(explained)),
        whole_ms=min(whole_ns) / 1e6,
        rounds=rounds,
    )


def _shortest(runs: Sequence[Sequence[EngineOperator]], modules: ModuleFinder) -> tuple[OperatorTime, ...]:
    """One entry for each operator; an engine runs them in one order, but may name them anew when it compiles anew."""
    last = runs[-1]
    times = np.array([[seen.milliseconds for seen in run] for run in runs if len(run) == len(last)]).min(axis=0)
    # A change of layout belongs to what it is made for, which comes after it.
    following = OUTSIDE
    found: list[OperatorTime] = []
    for seen, milliseconds in zip(reversed(last), reversed(times), strict=True):
        following = _module_of(seen, modules) or following
        found.append(
            OperatorTime(
                name=seen.name,
                kind=seen.kind,
                kernel=seen.kernel,
                module=following,
                milliseconds=float(milliseconds),
            )
        )
    return tuple(reversed(found))


def _module_of(seen: EngineOperator, modules: ModuleFinder) -> str:
    """That of the first node which export named; else of the first value which leads to one; else nothing."""
    ordered = sorted(seen.nodes, key=lambda name: "/" not in name)
    is_convolution = seen.kind in (POINTWISE, DENSE, DEPTHWISE)
    return next((module for name in ordered if (module := modules(name, convolution=is_convolution))), "")


def slower_parts(full: Profile, reduced: Profile, *, factor: float = SLOWER) -> tuple[str, ...]:
    """The parts of the network that take at least `factor` times as long in a reduced precision, by name.

    Args:
        full: In full precision.
        reduced: The same network on the same engine.
        factor: How many times as long.
    """
    before = full.by_module()
    return tuple(
        sorted(part for part, took in reduced.by_module().items() if part in before and took > factor * before[part])
    )


def shortened(module: str, depth: int) -> str:
    """The first parts of a module's path; `stage3.1.mix` becomes `stage3` at depth 1."""
    return ".".join(module.split(".")[:depth])


class ModuleFinder:
    """From the name that an engine gives to a node or a value to the module of the network it belongs to.

    Nodes are named `module.path/Operator` by export. Q/DQ nodes are not: they belong to what makes their value, and
    those of weights to what takes the weight in. A convolution that took in what follows it may bear the name of the
    last value: it belongs to the module of the convolution.

    Raises:
        EnvironmentFault: `onnx` is not installed (`PE-ENV-001`).
    """

    def __init__(self, graph: bytes) -> None:
        try:
            import onnx
        except ImportError as error:
            raise missing_extra("onnx", "export") from error
        read = onnx.load_from_string(graph).graph
        self._modules = _modules_of_graph(read)
        self._known = set(self._modules.values())
        self._convolutions: dict[str, str] = {}
        for node in read.node:
            within = next((self._convolutions[value] for value in node.input if value in self._convolutions), "")
            module = self._modules.get(node.name, "") if node.op_type == "Conv" else within
            if module and (node.op_type == "Conv" or node.op_type in _TAKEN_IN):
                self._convolutions.update(dict.fromkeys(node.output, module))

    def __call__(self, name: str, *, convolution: bool = False) -> str:
        """The module's path; empty where the name leads to none."""
        while name:
            if convolution and name in self._convolutions:
                return self._convolutions[name]
            if name in self._modules:
                return self._modules[name]
            shorter = _SUFFIXES.sub("", name)
            shorter = shorter if shorter != name else _QUANTISERS.sub("", name)
            if shorter == name:
                break
            name = shorter
        # A change of layout is named after what it stands beside: `module/Conv_abcd_acdb_other/sink_port_0`.
        beside = name.partition("/")[0]
        return beside if beside in self._known else ""


def _modules_of_graph(graph: GraphProto) -> dict[str, str]:
    """Node and value names to modules."""
    modules: dict[str, str] = {}
    users: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for value in node.input:
            users.setdefault(value, []).append(node)
        module = node.name.rpartition("/")[0] or next((modules[v] for v in node.input if v in modules), "")
        if module:
            modules.update(dict.fromkeys((node.name, *node.output), module))
    for node in reversed(graph.node):
        if node.name not in modules and (module := _taken_in_by(node.output, users, modules)):
            modules.update(dict.fromkeys((node.name, *node.output), module))
    for weight in graph.initializer:
        if module := _taken_in_by([weight.name], users, modules):
            modules.setdefault(weight.name, module)
    return modules


def _taken_in_by(values: Sequence[str], users: Mapping[str, Sequence[NodeProto]], modules: Mapping[str, str]) -> str:
    return next((modules[user.name] for value in values for user in users.get(value, []) if user.name in modules), "")
