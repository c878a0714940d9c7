"""Does the graph on its engine answer as the network does in torch? From the raw frame to the mask, at several sizes.

The reference is computed apart from what was traced: the picture is scaled in double precision here, the network runs
eagerly, and sigmoid or softmax follow. Only the resize is shared, since training and device share it too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge_export.graph import Progress, graph_outputs, silent
from physedge_export.reference import reference_answer
from physedge_export.shipped import main_output
from physedge_runtime.decode import foreground
from physedge_runtime.engines.base import Engine, EngineRequest
from physedge_runtime.engines.table import open_engine
from physedge_runtime.errors import BuildError
from physedge_runtime.frame import Frame, FrameSpec
from physedge_runtime.resize import prepare
from physedge_runtime.spec import ModelSpec, Task
from physedge_runtime.trust import is_signal

if TYPE_CHECKING:
    from torch import nn

RAW_SIZES = ((480, 640), (720, 1280), (1080, 1920))
"""(height, width) in pixels to which raw frames are brought before they enter: VGA, 720p and 1080p sources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The largest deviations that pass.

    A probability changes by at most a quarter of what its logit changes by, and a logit is not more exact than
    `rounding` of the largest. A network whose logits reach 1e5 (an untrained one) differs in float32 from itself in
    float64 by more than `largest`: for it the rounding is the bound, and the classes must agree all the same.

    Attributes:
        largest: Of one value: absolute for a probability, else as a fraction of the reference's largest value.
        mask: Fraction of pixels whose class differs (segmentation), or of frames (classification).
        rounding: Of the arithmetic, after all layers, as a fraction of the largest logit.
    """

    largest: float
    mask: float
    rounding: float

    def of_output(self, name: str, largest_logit: float) -> float:
        """The bound for an output of a network with such logits."""
        follows_logits = name == "probability" or is_signal(name)
        return max(self.largest, 0.25 * self.rounding * largest_logit) if follows_logits else self.largest


TOLERANCES = {
    "fp32": Tolerance(largest=1e-3, mask=1e-4, rounding=3e-5),
    # One unit in the last place of float16 is 1e-3 of a value; some tens of layers add up.
    "fp16": Tolerance(largest=3e-2, mask=1e-3, rounding=1e-2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputParity:
    """How far one output is from the reference, over all frames of one size.

    Attributes:
        name: Of the output.
        largest, mean, p99: Of the absolute deviations, in the unit of `Tolerance.largest`.
    """

    name: str
    largest: float
    mean: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeParity:
    """The comparison at one raw size.

    Attributes:
        size: (height, width) of the raw frames in pixels, or (voltages,).
        outputs: One record an output.
        mask_disagreement: Fraction of pixels or frames whose class differs; None for a reconstruction.
        largest_logit: Behind the reference's answers; 0 for a reconstruction.
    """

    size: tuple[int, ...]
    outputs: tuple[OutputParity, ...]
    mask_disagreement: float | None
    largest_logit: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """Torch against the graph on an engine.

    Attributes:
        engine: Name and version.
        precision: Of the graph.
        tolerance: What passes.
        frames: Compared at every size.
        sizes: One record a raw size.
        mask_pixels: Compared pixels (or frames) in all.
    """

    engine: str
    precision: str
    tolerance: Tolerance
    frames: int
    sizes: tuple[SizeParity, ...]
    mask_pixels: int

    @property
    def largest(self) -> float:
        """The largest deviation of any output at any size."""
        return max(output.largest for size in self.sizes for output in size.outputs)

    @property
    def mask_disagreement(self) -> float:
        """The largest share of differing classes at any size; 0 for a reconstruction."""
        return max((size.mask_disagreement or 0.0 for size in self.sizes), default=0.0)

    def sentence(self) -> str:
        """The result in one line for people."""
        return (
            f"{self.frames} frames at {len(self.sizes)} raw sizes on {self.engine}: "
            f"largest deviation {self.largest:.2e}, "
            f"classes differ in {self.mask_disagreement:.2e} of {self.mask_pixels:,} places"
        )


def check_parity(
    module: nn.Module,
    spec: ModelSpec,
    model: bytes,
    frames: Iterable[NDArray[Any]],
    *,
    sizes: Sequence[tuple[int, int]] = RAW_SIZES,
    precision: str = "fp32",
    engine: str = "onnxruntime",
    threads: int | None = None,
    progress: Progress | None = None,
) -> ParityReport:
    """Compare a graph with the network it was traced from; a deviation above the tolerance is an error.

    Args:
        module: The network, in float32, on the CPU.
        spec: Its declaration.
        model: ONNX.
        frames: Raw pictures uint8 (height, width, 3) in the order red, green, blue, or (height, width), any sizes;
            or float32 (voltage,).
        sizes: Raw (height, width) to which every picture is brought first; voltages know no sizes.
        precision: `fp32` or `fp16`: which tolerance holds.
        engine: In the runtime's table of engines.
        threads: Of the engine.
        progress: Told what is done next.

    Raises:
        BuildError: A deviation above the tolerance (`PE-PARITY-001`), no frames (`PE-PARITY-002`), or an answer that is
            not finite (`PE-PARITY-003`).
    """
    say = progress or silent
    raw = [np.asarray(frame) for frame in frames]
    if not raw:
        raise BuildError(
            "PE-PARITY-002",
            found="no frames to compare with",
            expected="at least one raw frame",
            next_step="name a folder with pictures, or leave it out: synthetic frames are used then",
        )
    groups = _inputs(raw, spec, sizes)
    was_training = module.training
    module.eval()
    try:
        with open_engine(engine, _request(model, spec, threads)) as opened:
            compared = []
            for size, inputs in groups:
                say(f"comparing with torch at {' x '.join(map(str, size))}")
                compared.append(_compare(size, inputs, module, spec, opened))
            version = f"{opened.name} {opened.version}"
    finally:
        module.train(was_training)
    report = ParityReport(
        engine=version,
        precision=precision,
        tolerance=TOLERANCES[precision],
        frames=len(raw),
        sizes=tuple(size for size, _ in compared),
        mask_pixels=sum(places for _, places in compared),
    )
    _require(report)
    return report


def _inputs(
    raw: list[NDArray[Any]], spec: ModelSpec, sizes: Sequence[tuple[int, int]]
) -> list[tuple[tuple[int, ...], list[NDArray[Any]]]]:
    if spec.frame is None:
        return [(spec.input_shape, [np.asarray(volts, np.float32)[np.newaxis] for volts in raw])]
    groups: list[tuple[tuple[int, ...], list[NDArray[Any]]]] = []
    for height, width in sizes:
        source = FrameSpec(height=height, width=width)
        sized = [prepare(Frame(pixels=pixels), source) for pixels in raw]
        groups.append(((height, width), [prepare(Frame(pixels=frame), spec.frame)[np.newaxis] for frame in sized]))
    return groups


def _request(model: bytes, spec: ModelSpec, threads: int | None) -> EngineRequest:
    import onnx

    outputs = graph_outputs(onnx.load_from_string(model))
    return EngineRequest(
        graph=model,
        graph_sha256=hashlib.sha256(model).hexdigest(),
        input_shape=(1, *spec.input_shape),
        outputs={output.name: output.shape for output in outputs},
        threads=threads,
    )


def _compare(
    size: tuple[int, ...], inputs: list[NDArray[Any]], module: nn.Module, spec: ModelSpec, engine: Engine
) -> tuple[SizeParity, int]:
    deviations: dict[str, list[NDArray[Any]]] = {}
    differing = places = 0
    largest_logit = 0.0
    main = main_output(spec)
    for values in inputs:
        expected, logit = reference_answer(module, spec, values)
        largest_logit = max(largest_logit, logit)
        answers = engine.infer(values)
        for name, wanted in expected.items():
            _require_finite(name, wanted, "the network in torch")
            _require_finite(name, answers[name], engine.name)
            # A trust signal is usually near 0: measured against its own size, rounding would look large.
            least = 1.0 if is_signal(name) else 1e-12
            scale = 1.0 if name == "probability" else max(float(np.abs(wanted).max(initial=0.0)), least)
            deviations.setdefault(name, []).append((np.abs(answers[name] - wanted) / scale).ravel())
        if spec.task is not Task.RECONSTRUCTION:
            ours, theirs = (_labels(answer[main], spec) for answer in (answers, expected))
            differing += int((ours != theirs).sum())
            places += ours.size
    outputs = tuple(_summary(name, np.concatenate(parts)) for name, parts in deviations.items())
    compared = SizeParity(
        size=size,
        outputs=outputs,
        mask_disagreement=differing / places if places else None,
        largest_logit=largest_logit,
    )
    return compared, places


def _labels(probability: NDArray[np.float32], spec: ModelSpec) -> NDArray[np.uint8]:
    if spec.task is Task.CLASSIFICATION:
        labels: NDArray[np.uint8] = probability.argmax(axis=1).astype(np.uint8)
        return labels
    return foreground(probability[0], spec.threshold)


def _summary(name: str, values: NDArray[Any]) -> OutputParity:
    return OutputParity(
        name=name,
        largest=float(values.max()),
        mean=float(values.mean(dtype=np.float64)),
        p99=float(np.percentile(values, 99)),
    )


def _require_finite(name: str, values: NDArray[np.float32], who: str) -> None:
    if not np.isfinite(values).all():
        raise BuildError(
            "PE-PARITY-003",
            found=f"{who} answers {name} with {int((~np.isfinite(values)).sum())} values that are not finite",
            expected="finite answers",
            next_step="look for an overflow: export in fp32, or keep the module that overflows in float32",
        )


def _require(report: ParityReport) -> None:
    tolerance = report.tolerance
    for size in report.sizes:
        bounds = {output.name: tolerance.of_output(output.name, size.largest_logit) for output in size.outputs}
        worst = max(size.outputs, key=lambda output: output.largest / bounds[output.name])
        mask = size.mask_disagreement or 0.0
        if worst.largest > bounds[worst.name] or mask > tolerance.mask:
            raise BuildError(
                "PE-PARITY-001",
                found=f"at {' x '.join(map(str, size.size))} on {report.engine}, {worst.name} deviates from torch "
                f"by up to {worst.largest:.2e} (mean {worst.mean:.2e}) and {mask:.2e} of the classes differ",
                expected=f"at most {bounds[worst.name]:.0e} and {tolerance.mask:.0e} in {report.precision}",
                next_step="export in fp32 with no graph passes to find the cause, and report it with the network",
            )
