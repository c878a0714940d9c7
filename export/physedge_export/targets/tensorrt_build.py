"""One builder for TensorRT 10, TensorRT 11 and TensorRT-RTX: features are looked for, versions never assumed.

Precision stands in the graph (Q/DQ nodes, half-precision tensors), so no precision flag, no calibrator and no
calibration cache is ever touched: 11 has none of them any more, and 10 does not need them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from physedge_export.marks import module_of
from physedge_export.targets.profiles import DeviceProfile
from physedge_runtime.engines.tensorrt_library import Messages, TensorRtLibrary
from physedge_runtime.errors import BuildError

_MIB = 1 << 20


class BuildWatch(Protocol):
    """Told what a builder does, from whatever thread the builder uses: minutes of silence look like a crash."""

    def phase(self, name: str, steps: int | None) -> None:
        """A phase begins; `steps` where the builder counts them."""

    def step(self) -> None:
        """One step of the phase is done."""


class Unwatched:
    """A `BuildWatch` that nobody looks at."""

    def phase(self, name: str, steps: int | None) -> None:
        """Say nothing."""

    def step(self) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What an engine is built with, beside the graph.

    Attributes:
        workspace_mib: Memory the builder may use.
        hardware_compatible: For this GPU generation and later ones: slower, since no kernel of one chip alone is used.
        version_compatible: For later versions of the library as well: larger and slower to load.
        compute_capability: For example `8.9`, to build for a GPU that is not here (TensorRT-RTX only); None for the
            GPU that is.
    """

    workspace_mib: int
    hardware_compatible: bool = False
    version_compatible: bool = False
    compute_capability: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEngine:
    """An engine and how it came about.

    Attributes:
        data: The serialised engine: native code, trusted only where it was built.
        library: That built it.
        seconds: Wall time of the build.
        options: It was built with.
        warnings: Of the library, first lines.
    """

    data: bytes = field(repr=False)
    library: TensorRtLibrary
    seconds: float
    options: BuildOptions
    warnings: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Of the engine."""
        return hashlib.sha256(self.data).hexdigest()


def build_engine(
    model: bytes,
    *,
    library: TensorRtLibrary,
    options: BuildOptions,
    watch: BuildWatch | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> BuiltEngine:
    """Build an engine from a graph whose types and shapes are all in the graph.

    Args:
        model: ONNX, static shapes.
        library: That builds; see `find_library`.
        options: For the builder.
        watch: Told the builder's phases.
        clock: Seconds.

    Raises:
        BuildError: The parser refuses the graph (`PE-TRT-020`), the library does not offer an option (`PE-TRT-021`), or
            gives no engine (`PE-TRT-022`, for want of memory `PE-TRT-023`) or one that its own reader refuses
            (`PE-TRT-024`).
    """
    seen = watch or Unwatched()
    started = clock()
    module, messages = library.module, Messages()
    logger = messages.logger(library)
    builder = module.Builder(logger)
    network = builder.create_network(library.network_flags())
    parser = module.OnnxParser(network, logger)
    seen.phase(f"{library} reads the graph", None)
    if not parser.parse(model):
        raise _parse_error(parser, library, messages)
    config = builder.create_builder_config()
    _configure(config, library, options)
    _watch(config, library, seen)
    seen.phase(f"{library} builds the engine (workspace {options.workspace_mib} MiB)", None)
    try:
        plan = builder.build_serialized_network(network, config)
    except MemoryError as error:
        raise _out_of_memory(options, "MemoryError") from error
    if plan is None:
        if any("out of memory" in text.lower() or "OutOfMemory" in text for text in messages.errors):
            raise _out_of_memory(options, messages.reason)
        raise BuildError(
            "PE-TRT-022",
            found=f"{library} gave no engine ({messages.reason})",
            expected="an engine",
            next_step="try --precision fp32, or report this with the graph",
        )
    data = bytes(plan)
    _read_back(data, library, logger)
    seconds = clock() - started
    warnings = tuple(text.splitlines()[0][:300] for text in messages.warnings if text.strip())
    return BuiltEngine(data=data, library=library, seconds=seconds, options=options, warnings=warnings)


def build_ahead(
    model: bytes, profile: DeviceProfile, *, library: TensorRtLibrary, watch: BuildWatch | None = None
) -> BuiltEngine:
    """An engine for a GPU that is not here. It is built, not run: nothing is known of its speed or its answers.

    Raises:
        BuildError: The profile's GPU is not served ahead of time by this library (`PE-TRT-021`), or the build failed.
    """
    if not (profile.ahead_of_time and library.is_rtx):
        raise _not_offered(library, f"engines for {profile.title} ahead of time", "build it on the device")
    options = BuildOptions(workspace_mib=profile.workspace_mib, compute_capability=profile.compute_capability)
    return build_engine(model, library=library, options=options, watch=watch)


def workspace_from(free_bytes: int, profile_mib: int) -> int:
    """MiB for the builder: the profile's share, and never more than half of what is free."""
    return max(64, min(profile_mib, free_bytes // 2 // _MIB))


def _configure(config: Any, library: TensorRtLibrary, options: BuildOptions) -> None:
    workspace = library.member("MemoryPoolType", "WORKSPACE")
    if workspace is not None and hasattr(config, "set_memory_pool_limit"):
        config.set_memory_pool_limit(workspace, options.workspace_mib * _MIB)
    if options.hardware_compatible:
        level = library.member("HardwareCompatibilityLevel", "AMPERE_PLUS")
        if level is None:
            raise _not_offered(library, "engines for later GPUs", "leave out --hardware-compatible")
        config.hardware_compatibility_level = level
    if options.version_compatible:
        flag = library.member("BuilderFlag", "VERSION_COMPATIBLE")
        if flag is None:
            raise _not_offered(library, "engines for later versions", "leave out --version-compatible")
        config.set_flag(flag)
    if options.compute_capability is not None:
        name = "SM" + options.compute_capability.replace(".", "")
        capability = library.member("ComputeCapability", name)
        if capability is None or not hasattr(config, "set_compute_capability"):
            raise _not_offered(library, f"engines for {name} from another machine", "build it on the device")
        config.num_compute_capabilities = 1
        config.set_compute_capability(capability, 0)


def _watch(config: Any, library: TensorRtLibrary, seen: BuildWatch) -> None:
    """Tell the builder's outer phases and their steps, where the library tells them."""
    if not (hasattr(library.module, "IProgressMonitor") and hasattr(config, "progress_monitor")):
        return

    class Phases(library.module.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            library.module.IProgressMonitor.__init__(self)
            self._outer = ""

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:
                self._outer = phase_name
                seen.phase(phase_name, num_steps)

        def phase_finish(self, phase_name: str) -> None:
            del phase_name  # the next beginning says it

        def step_complete(self, phase_name: str, step: int) -> bool:
            del step
            if phase_name == self._outer:
                seen.step()
            return True  # go on

    config.progress_monitor = Phases()


def _read_back(data: bytes, library: TensorRtLibrary, logger: Any) -> None:
    """Let the library's own reader look at the engine's header, as far as that goes without the GPU it is for."""
    faults = library.faults_of(library.module.Runtime(logger), data)
    if "MALFORMED_ENGINE" in faults:
        raise BuildError(
            "PE-TRT-024",
            found=f"{library} does not recognise the engine that it built ({', '.join(faults)})",
            expected="an engine",
            next_step="build it again; where that does not help, install the library again",
        )


def _parse_error(parser: Any, library: TensorRtLibrary, messages: Messages) -> BuildError:
    if not parser.num_errors:
        found = f"{library} does not read the graph ({messages.reason})"
    else:
        first = parser.get_error(0)
        node = first.node_name() if hasattr(first, "node_name") else ""
        where = f" at {node} in module '{module_of(node)}'" if node else ""
        found = f"{library} does not read the graph{where} ({first.desc().strip().splitlines()[0][:300]})"
    return BuildError(
        "PE-TRT-020",
        found=found,
        expected="operators that its parser takes",
        next_step="replace the operator in that module; physedge export --target tensorrt lists them all",
    )


def _not_offered(library: TensorRtLibrary, what: str, next_step: str) -> BuildError:
    return BuildError(
        "PE-TRT-021", found=f"{library} does not offer {what}", expected="what it offers", next_step=next_step
    )


def _out_of_memory(options: BuildOptions, reason: str) -> BuildError:
    return BuildError(
        "PE-TRT-023",
        found=f"the builder ran out of memory ({reason})",
        expected=f"{options.workspace_mib} MiB and what the engine itself takes",
        next_step=f"close what else uses the GPU, or try --workspace {max(64, options.workspace_mib // 2)}",
    )
