"""The TensorRT engine of a bundle, built on the device that runs it, and kept only if it answers right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from physedge.deploy.build_watch import ShownBuild, gpu_memory
from physedge.deploy.progress import Progress, no_progress
from physedge_export.targets.tensorrt_build import BuildOptions, BuiltEngine, build_engine, workspace_from
from physedge_runtime.bundle import Bundle
from physedge_runtime.engines import EngineRequest
from physedge_runtime.engines.cuda import Cuda, GpuDevice
from physedge_runtime.engines.engine_cache import EngineCache, EngineKey, default_cache
from physedge_runtime.engines.tensorrt import TensorRtEngine, engine_key
from physedge_runtime.engines.tensorrt_library import TensorRtLibrary, find_library
from physedge_runtime.graph_check import check_graph
from physedge_runtime.net import Net, choose_artefact, choose_engine, engine_request

if TYPE_CHECKING:
    from physedge_runtime.manifest import Artefact

_WORKSPACE_MIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceBuildOptions:
    """How an engine is to be built on this device.

    Attributes:
        precision: Of the graph; the one that ships where None.
        workspace_mib: For the builder; from the free memory where None.
        hardware_compatible: See `BuildOptions`.
        version_compatible: See `BuildOptions`.
        cuda: The device's own where None.
        library: The installed one where None.
        cache: This user's where None.
    """

    precision: str | None = None
    workspace_mib: int | None = None
    hardware_compatible: bool = False
    version_compatible: bool = False
    cuda: Cuda | None = None
    library: TensorRtLibrary | None = None
    cache: EngineCache | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceBuild:
    """What `export --build` did on this device.

    Attributes:
        path: The engine in the cache.
        device: It was built for.
        builder: It was built with.
        artefact: Graph it was built from.
        cache: That keeps it.
        key: Of the engine.
        built: False where the cache had it already.
        seconds: The build took; 0 where it was there.
        statements: Sentences for people.
    """

    path: Path
    device: GpuDevice
    builder: TensorRtLibrary
    artefact: Artefact
    cache: EngineCache
    key: EngineKey
    built: bool
    seconds: float
    statements: tuple[str, ...]

    def forget(self) -> None:
        """Remove the engine: it did not answer as it must."""
        self.cache.forget(self.key)


def build_on_device(
    bundle: Bundle, asked: DeviceBuildOptions | None = None, *, progress: Progress = no_progress
) -> DeviceBuild:
    """Build the engine of a bundle for the GPU that is here, and keep it once it answers the golden frames.

    Args:
        bundle: Read and checked.
        asked: How; as it stands in the bundle where None.
        progress: As for `export`.

    Raises:
        EnvironmentFault: No TensorRT (`PE-TRT-001`), no CUDA (`PE-TRT-002`, `PE-TRT-003`), no safe cache
            (`PE-TRT-010`).
        BuildError: It cannot be built.
        IntegrityError: It does not answer the golden frames; nothing is kept.
    """
    asked = asked or DeviceBuildOptions()
    library = asked.library or find_library()
    cuda = asked.cuda or Cuda()
    cache = asked.cache or default_cache()
    device = cuda.device()
    artefact = choose_artefact(bundle.manifest, "tensorrt", asked.precision)
    request = engine_request(bundle, artefact, options={"cuda": cuda, "library": library, "cache": cache})
    key = engine_key(request, library=library, device=device)
    options = BuildOptions(
        workspace_mib=asked.workspace_mib or workspace_from(device.free_bytes, _WORKSPACE_MIB),
        hardware_compatible=asked.hardware_compatible,
        version_compatible=asked.version_compatible,
    )
    told = {"hardware_compatible": options.hardware_compatible, "version_compatible": options.version_compatible}
    seconds, statements = 0.0, [f"the engine for {key} is there already: {cache.path(key)}"]
    is_here = cache.load(key) is not None and cache.note(key).get("options") == told
    if not is_here:
        check_graph(request.graph, origin=f"{artefact.entry} of {bundle.path.name}")
        with ShownBuild(progress, gpu_memory(cuda)) as watch:
            built = build_engine(request.graph, library=library, options=options, watch=watch)
        seconds = built.seconds
        _keep_if_right(bundle, artefact, request, (cache, key, built, told), progress)
        size_mib = len(built.data) / 2**20
        statements = [f"built in {seconds:.1f} s, {size_mib:.1f} MiB, answers the golden frames: {cache.path(key)}"]
    return DeviceBuild(
        path=cache.path(key),
        device=device,
        builder=library,
        artefact=artefact,
        cache=cache,
        key=key,
        built=not is_here,
        seconds=seconds,
        statements=tuple(statements),
    )


def build_if_missing(
    bundle: Bundle,
    *,
    engine: str = "auto",
    precision: str | None = None,
    progress: Progress = no_progress,
) -> str:
    """Build the engine that a bundle is about to be opened with, where that takes one and it is not there.

    Returns:
        A sentence: what was built, found, or why nothing is to build.
    """
    name = choose_engine(bundle.manifest) if engine == "auto" else engine
    if name != "tensorrt":
        return f"no engine to build: the answers come from {name}"
    return build_on_device(bundle, DeviceBuildOptions(precision=precision), progress=progress).statements[0]


def _keep_if_right(
    bundle: Bundle,
    artefact: Artefact,
    request: EngineRequest,
    made: tuple[EngineCache, EngineKey, BuiltEngine, Mapping[str, bool]],
    progress: Progress,
) -> None:
    cache, key, built, told = made
    cache.store(key, built.data, note={"options": told, "seconds": built.seconds, **asdict(built.options)})
    try:
        with (
            progress("replaying the golden frames on it", None),
            Net(manifest=bundle.manifest, artefact=artefact, engine=TensorRtEngine(request).open()) as net,
        ):
            net.replay_golden(bundle)
    except BaseException:
        cache.forget(key)
        raise


def prices(*, hardware_compatible: bool, version_compatible: bool) -> tuple[str, ...]:
    """What the options cost, in sentences, to be said before minutes are spent on them."""
    said = (
        (hardware_compatible, "hardware-compatible: no kernel of one chip alone is used, so it may be slower"),
        (version_compatible, "version-compatible: it carries a runtime of its own: larger, and slower to load"),
    )
    return tuple(price for asked, price in said if asked)
