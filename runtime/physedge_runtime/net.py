"""A network made ready: which graph runs on which engine, the golden frames, one frame to one result, a stream."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.bundle import Bundle, read_bundle
from physedge_runtime.decode import Head, decode
from physedge_runtime.engines import ENGINES, Engine, EngineRequest, Outputs, open_engine
from physedge_runtime.engines.engine_cache import default_cache
from physedge_runtime.engines.table import find_engine
from physedge_runtime.errors import EnvironmentFault, GateFailed, IntegrityError, SafeState, UsageError
from physedge_runtime.frame import Colour, Frame
from physedge_runtime.graph_check import check_graph
from physedge_runtime.graph_interface import check_interface
from physedge_runtime.ir import SUFFIX
from physedge_runtime.manifest_rules import ONLY_TENSORRT, REAL_ENGINES
from physedge_runtime.resize import prepare
from physedge_runtime.results import Result, StageTimes
from physedge_runtime.signature import told
from physedge_runtime.trust import TrustJudge, is_signal
from physedge_runtime.verdict import Verdict

if TYPE_CHECKING:
    from physedge_runtime.keys import TrustLike, TrustStore
    from physedge_runtime.manifest import Artefact, Manifest
    from physedge_runtime.spec import ModelSpec, SignalSpec

RECIPE_ENTRY = "tensorrt/recipe.json"
"""Entry of a bundle with the recipe by which TensorRT builds its engine."""

_NS_PER_MS = 1e6


def load(path: Path | str, *, trust: TrustLike | TrustStore | None = None) -> Bundle:
    """Read a bundle and check who vouches for it and every byte; see `physedge_runtime.bundle.read_bundle`."""
    return read_bundle(Path(path), trust=trust)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenReplay:
    """How far one replayed golden frame lies from full precision, and from what this graph answered at export.

    Attributes:
        frame: Entry of the bundle.
        mean_error: Largest mean |output - full precision| of an output.
        max_error: Largest single one.
        own_mean_error: Largest mean |output - own answer|; None where the bundle has none of this graph and engine.
        own_max_error: Largest single one.
        within_own: Whether both lie within the bounds of the same computation; None as before.
    """

    frame: str
    mean_error: float
    max_error: float
    own_mean_error: float | None = None
    own_max_error: float | None = None
    within_own: bool | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A frame as the graph takes it in.

    Attributes:
        inputs: (1, height, width, channel) uint8 or (1, voltage) float32.
        distance: How unlike the calibration set it is, and by which statistic; None where nothing is known of the set.
        took_ms: The time it took.
    """

    inputs: NDArray[Any]
    distance: tuple[float, str] | None
    took_ms: float


class Net:
    """A network on an engine. Use as a context manager; frames may be handed in from several threads."""

    def __init__(
        self,
        *,
        manifest: Manifest,
        artefact: Artefact,
        engine: Engine,
        bundle_trust: str = "",
        bundle_path: Path | None = None,
    ) -> None:
        self.manifest = manifest
        self.artefact = artefact
        self.bundle_trust = bundle_trust
        self.bundle_path = bundle_path
        self.spec: ModelSpec = manifest.spec
        self._engine = engine
        self._judge = TrustJudge(manifest.trust, manifest.spec.frame)
        self.golden: tuple[GoldenReplay, ...] = ()

    @property
    def engine(self) -> str:
        """Fingerprint of what answers."""
        return self._engine.fingerprint

    @property
    def trust_signals(self) -> Mapping[str, SignalSpec]:
        """The trust signals with their limits."""
        return self.manifest.trust.signals

    @property
    def engine_name(self) -> str:
        """The engine's name in the table."""
        return self._engine.name

    @property
    def computes_as_exported(self) -> bool | None:
        """Whether the last replay gave what this graph gave at export, float rounding aside; None where nobody knows.

        A reduced graph that computes otherwise may be as good: another version of the engine, or a processor without
        fused multiply-adds, rounds some activations to the next step. Its accuracy was judged of the other
        computation, though, and a damaged graph looks the same: `physedge verify --data` judges it here.
        """
        if not self.golden:
            return None
        if self.artefact.entry == self.manifest.artefacts[0].entry:
            return True  # full precision: the bounds of the golden frames are those of float rounding
        known = [replay.within_own for replay in self.golden]
        return None if None in known else all(known)

    def infer(self, pixels: NDArray[Any], *, colour: Colour = Colour.RGB) -> Result:
        """Answer one picture that was taken now.

        Args:
            pixels: uint8 (height, width, 3) or (height, width), any size; or float32 (voltage,).
            colour: Channel order of `pixels`; OpenCV delivers `Colour.BGR`.

        Raises:
            UsageError: It is no picture (`PE-FRAME-001`).
        """
        return self.answer(Frame(pixels=pixels, captured_ns=time.monotonic_ns(), colour=colour))

    def answer(self, frame: Frame, ahead: Prepared | None = None) -> Result:
        """Answer one frame; its age is counted from its capture stamp.

        Args:
            frame: Any size.
            ahead: What `prepared` gave for this frame; made here where None.
        """
        if ahead is None:
            ahead = self.prepared(frame)
        started_ns = time.monotonic_ns()
        outputs = self._engine.infer(ahead.inputs)
        inferred_ns = time.monotonic_ns()
        stages = StageTimes(
            queue_ms=(started_ns - frame.captured_ns) / _NS_PER_MS - ahead.took_ms,
            preprocess_ms=ahead.took_ms,
            inference_ms=(inferred_ns - started_ns) / _NS_PER_MS,
        )
        trust = self._judge.judge(outputs, ahead.inputs[0], ahead.distance)
        head = Head(frame=frame, stages=stages, age_ms=0.0, engine=self.engine, trust=trust)
        result = decode(outputs, self.spec, head)
        decoded_ns = time.monotonic_ns()
        return replace(
            result,
            age_ms=(decoded_ns - frame.captured_ns) / _NS_PER_MS,
            stages=replace(stages, postprocess_ms=(decoded_ns - inferred_ns) / _NS_PER_MS),
            bundle_trust=self.bundle_trust,
        )

    def prepared(self, frame: Frame) -> Prepared:
        """All that can be known of a frame before the engine has it; any thread may ask."""
        started_ns = time.monotonic_ns()
        inputs = self.prepare(frame)
        distance = self._judge.distance(inputs[0])
        return Prepared(inputs, distance, (time.monotonic_ns() - started_ns) / _NS_PER_MS)

    def prepare(self, frame: Frame) -> NDArray[Any]:
        """The graph's input for a frame: (1, height, width, channel) uint8 or (1, voltage) float32."""
        if self.spec.frame is None:
            return check_voltages(frame.pixels, self.spec.input_shape)[np.newaxis]
        return prepare(frame, self.spec.frame)[np.newaxis]

    def outputs(self, inputs: NDArray[Any]) -> Outputs:
        """The engine's raw outputs for a prepared input: what evaluations compare."""
        return self._engine.infer(inputs)

    def stream(self, source: Any, **options: Any) -> Iterator[Result]:
        """Answer the frames of a source one after the other; see `physedge_runtime.stream.loop.stream`."""
        from physedge_runtime.stream.loop import stream

        return stream(self, source, **options)

    def replay_golden(self, bundle: Bundle) -> tuple[GoldenReplay, ...]:
        """Run every golden frame and hold it against full precision, and against the graph's own answers.

        Raises:
            IntegrityError: A frame does not come out within the artefact's bounds (`PE-BUNDLE-020`).
        """
        self.golden = tuple(self._replay(bundle, index) for index in range(len(self.manifest.golden)))
        return self.golden

    def _replay(self, bundle: Bundle, index: int) -> GoldenReplay:
        case = self.manifest.golden[index]
        dtype = np.uint8 if self.spec.frame is not None else np.dtype("<f4")
        pixels = np.frombuffer(bundle.read(case.frame), dtype).reshape(case.shape)
        answers = self._answer_golden(case.frame, pixels)
        for name, entry in case.outputs.items():
            self._refuse_constant(case.frame, name, answers[name], np.frombuffer(bundle.read(entry), "<f4"))
        mean, largest = _distance(answers, case.outputs, bundle)
        replay = GoldenReplay(frame=case.frame, mean_error=mean, max_error=largest)
        within = (
            replay.mean_error <= self.artefact.golden_mean_bound and replay.max_error <= self.artefact.golden_max_bound
        )
        if not within:
            raise IntegrityError(
                "PE-BUNDLE-020",
                found=f"{self.engine} answers {case.frame} with a mean error of {replay.mean_error:.3g}"
                f" and a largest of {replay.max_error:.3g}",
                expected=f"at most {self.artefact.golden_mean_bound:.3g} and {self.artefact.golden_max_bound:.3g}",
                next_step="this machine computes the graph otherwise: try --precision fp32, or export it here",
            )
        own = self.artefact.own
        if own is None or own.engine != self.engine_name:
            return replay
        mean, largest = _distance(answers, own.answers[index], bundle)
        return replace(
            replay,
            own_mean_error=mean,
            own_max_error=largest,
            within_own=mean <= own.mean_bound and largest <= own.max_bound,
        )

    def refuse_other_computation(self) -> None:
        """Refuse a graph that does not compute here as it did at export, or of which nobody knows.

        Raises:
            IntegrityError: It does not (`PE-BUNDLE-020`).
        """
        if self.computes_as_exported:
            return
        own = self.artefact.own
        if self.computes_as_exported is None or own is None:
            found = f"the bundle does not say what {self.artefact.entry} answers on {self.engine_name}"
            expected = "the answers of this graph and engine at export"
        else:
            worst = max(self.golden, key=lambda replay: replay.own_mean_error or 0.0)
            found = (
                f"{self.engine} computes {worst.frame} otherwise than {own.computed_by}: by {worst.own_mean_error:.3g}"
                f" in the mean and {worst.own_max_error:.3g} at most"
            )
            expected = f"at most {own.mean_bound:.3g} and {own.max_bound:.3g}"
        raise IntegrityError(
            "PE-BUNDLE-020", found=found, expected=expected, next_step="judge it here: physedge verify --data DIR"
        )

    def _refuse_constant(
        self, frame: str, name: str, answer: NDArray[np.float32], expected: NDArray[np.float32]
    ) -> None:
        """An engine that fails often answers one value everywhere; for a faint frame no mean error shows that."""
        if np.ptp(expected) > self.artefact.golden_max_bound and np.ptp(answer) == 0:
            raise IntegrityError(
                "PE-BUNDLE-022",
                found=f"{self.engine} answers {frame} with one and the same {name} everywhere",
                expected=f"values that differ by {np.ptp(expected):.3g}, as full precision's do",
                next_step="this machine computes the graph otherwise: try --precision fp32, or export it here",
            )

    def _answer_golden(self, name: str, pixels: NDArray[Any]) -> Outputs:
        """The engine's answer; whatever goes wrong with a golden frame is the bundle's fault."""
        try:
            answers = self._engine.infer(self.prepare(Frame(pixels=pixels)))
            for output in self.manifest.outputs:
                if answers[output.name].shape != (1, *output.shape):
                    raise ValueError(f"{output.name} has the shape {answers[output.name].shape}")
        except (EnvironmentFault, IntegrityError, SafeState, MemoryError):
            raise
        except Exception as error:
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise IntegrityError(
                "PE-BUNDLE-021",
                found=f"{self.engine} cannot answer {name} ({first_line[:300]})",
                expected="the outputs that the manifest names",
                next_step="do not use it here; ask its maker",
            ) from error
        return answers

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_accepted(
    bundle: Bundle,
    *,
    engine: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
    allow_rejected: bool = False,
    only_as_exported: bool = False,
    isolate: bool = False,
    weakened: tuple[str, ...] = (),
) -> Net:
    """`Bundle.open` without the question whether this release may run here, for who has asked it already.

    Args:
        bundle: That was read and checked.
        engine: As for `Bundle.open`.
        precision: As for `Bundle.open`.
        threads: As for `Bundle.open`.
        allow_rejected: As for `Bundle.open`.
        only_as_exported: As for `Bundle.open`.
        isolate: As for `Bundle.open`.
        weakened: What was weakened on the way here; stands in the head of every result.
    """
    verdict = bundle.manifest.verdict
    if verdict in (Verdict.REJECT, Verdict.INCONCLUSIVE) and not allow_rejected:
        raise GateFailed(
            "PE-BUNDLE-012",
            found=f"the verdict on {bundle.path.name} is {verdict}",
            expected="ACCEPT",
            next_step="export it again, or give --allow-rejected to look at it all the same",
        )
    if isolate:
        from physedge_runtime.isolated import open_in_child

        open_in_child(bundle, engine=engine, precision=precision, threads=threads)
    net = open_net(bundle, engine=engine, precision=precision, threads=threads, only_as_exported=only_as_exported)
    net.bundle_trust = told(bundle.trust, weakened)
    return net


def open_net(
    bundle: Bundle, *, engine: str, precision: str | None, threads: int | None, only_as_exported: bool = False
) -> Net:
    """Choose engine and graph, open them, and replay the golden frames; see `Bundle.open`."""
    manifest = bundle.manifest
    name = choose_engine(manifest) if engine == "auto" else engine
    find_engine(name)
    artefact = choose_artefact(manifest, name, precision)
    graph, origin = bundle.read(artefact.entry), f"{artefact.entry} of {bundle.path.name}"
    check_graph(graph, origin=origin)
    if name != "fake":  # the stand-in answers without a graph
        check_interface(graph, manifest, origin=origin)
    request = engine_request(bundle, artefact, threads=threads, options=_with_cache())
    net = Net(
        manifest=manifest,
        artefact=artefact,
        engine=open_engine(name, request),
        bundle_trust=bundle.trust,
        bundle_path=bundle.path,
    )
    if name != "fake":
        try:
            net.replay_golden(bundle)
            if only_as_exported:
                net.refuse_other_computation()
        except BaseException:
            net.close()
            raise
    return net


def _distance(answers: Outputs, expected: Mapping[str, str], bundle: Bundle) -> tuple[float, float]:
    """The largest mean |answer - expected| of an output that is no signal, and the largest single one of all."""
    means, largest = [], []
    for name, entry in expected.items():
        error = np.abs(answers[name].reshape(-1) - np.frombuffer(bundle.read(entry), "<f4"))
        if not is_signal(name):
            means.append(float(error.mean()))
        largest.append(float(error.max()))
    # numpy's maximum hands NaN on, Python's may swallow it; whoever compares writes it so that NaN fails.
    return float(np.max(means)), float(np.max(largest))


def engine_request(
    bundle: Bundle, artefact: Artefact, *, threads: int | None = None, options: Mapping[str, Any] | None = None
) -> EngineRequest:
    """All that an engine is opened with to run one graph of a bundle."""
    manifest = bundle.manifest
    recipe = manifest.entries.get(RECIPE_ENTRY)
    return EngineRequest(
        graph=bundle.read(artefact.entry),
        graph_sha256=manifest.entries[artefact.entry].sha256,
        input_shape=(1, *manifest.spec.input_shape),
        outputs={output.name: (1, *output.shape) for output in manifest.outputs},
        threads=threads,
        bundle_sha256=bundle.manifest_sha256,
        recipe_sha256=recipe.sha256 if recipe is not None else "",
        options=options or {},
    )


def _with_cache() -> dict[str, Any]:
    """This user's cache of engines, where this user has one."""
    try:
        return {"cache": default_cache()}
    except EnvironmentFault:
        return {}


def choose_engine(manifest: Manifest) -> str:
    """The engine that the export was asked for; else the first usable one that ships; else ONNX Runtime."""
    for name in (manifest.target, *manifest.shipped):
        # A bundle never chooses the stand-in, whatever it says; whoever opens it may.
        if name in REAL_ENGINES and name in ENGINES and ENGINES[name].is_usable:
            return name
    return "onnxruntime"


def choose_artefact(manifest: Manifest, engine: str, precision: str | None) -> Artefact:
    """The graph that ships for an engine, or the one of a precision.

    Raises:
        UsageError: The bundle has no graph of this precision that the engine runs (`PE-ENGINE-003`).
    """
    if precision is None:
        return manifest.artefact(manifest.shipped.get(engine, manifest.artefacts[0].entry))
    shipped = manifest.shipped.get(engine)
    fitting = [
        artefact
        for artefact in manifest.artefacts
        if artefact.precision == precision and runs_on(artefact.entry, engine)
    ]
    if not fitting:
        raise UsageError(
            "PE-ENGINE-003",
            found=f"no {precision} graph for {engine} in the bundle",
            expected=f"one of {', '.join(sorted({artefact.precision for artefact in manifest.artefacts}))}",
            next_step="choose another --precision, or export it with --calib for int8",
        )
    return next((artefact for artefact in fitting if artefact.entry == shipped), fitting[0])


def runs_on(entry: str, engine: str) -> bool:
    """Whether a graph of a bundle is meant for an engine."""
    if entry.endswith(SUFFIX):
        return engine == "openvino"
    return engine == "tensorrt" or entry not in ONLY_TENSORRT


def check_voltages(voltages: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """One frame of voltages as float32 of the declared shape: (voltage,), or (2, voltage) with its reference.

    Raises:
        UsageError: Another number of values (`PE-FRAME-002`).
    """
    values = np.asarray(voltages, np.float32)
    if values.shape != shape:
        has_reference = values.ndim == 2 and len(values) == 2
        found = f"{values.shape[-1] if values.ndim else 1} voltages in a frame"
        raise UsageError(
            "PE-FRAME-002",
            found=f"{found}{' and its reference' if has_reference else ''}",
            expected=f"{shape[-1]}{' and a reference frame before it' if len(shape) == 2 else ''}",
            next_step="check the protocol of the device against the bundle",
        )
    return np.ascontiguousarray(values)
