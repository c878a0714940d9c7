"""TensorRT engines: built ahead of time beside a bundle, or on the device and kept only if they answer right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from physedge.deploy.export import Progress, no_progress
from physedge.deploy.judge import Graph
from physedge_export.targets.profiles import DeviceProfile, device_profiles, find_profile
from physedge_export.targets.tensorrt import Recipe, stand_alone_script
from physedge_export.targets.tensorrt_build import BuildOptions, build_ahead, build_engine, workspace_from
from physedge_runtime.bundle import Bundle, write_atomically
from physedge_runtime.engines import EngineRequest
from physedge_runtime.engines.cuda import Cuda, GpuDevice
from physedge_runtime.engines.engine_cache import EngineCache, EngineKey, default_cache
from physedge_runtime.engines.tensorrt import TensorRtEngine, engine_key
from physedge_runtime.engines.tensorrt_library import TensorRtLibrary, find_library
from physedge_runtime.errors import BuildError, EnvironmentFault, PhysedgeError
from physedge_runtime.manifest import canonical_json
from physedge_runtime.net import Net, choose_artefact

if TYPE_CHECKING:
    from physedge_runtime.manifest import Artefact

_STATUS = "built, not run"
_WORKSPACE_MIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What was put beside a bundle.

    Attributes:
        files: Engines and the stand-alone script.
        statements: Sentences for people.
    """

    files: tuple[Path, ...]
    statements: tuple[str, ...]


def deliver_engines(
    bundle: Path, graph: Graph, plan: Recipe, *, profile: str | None, progress: Progress = no_progress
) -> Delivered:
    """Build what can be built without the device, and write what builds the rest, beside a bundle.

    Args:
        bundle: The bundle's file; it is not touched.
        graph: The graph that ships for TensorRT.
        plan: Its recipe.
        profile: Name of a device profile; all RTX profiles where None.
        progress: As for `export`.

    Raises:
        UsageError: There is no such profile (`PE-TRT-030`).
        BuildError: The graph cannot be built (`PE-TRT-020` to `PE-TRT-023`).
    """
    wanted = [find_profile(profile)] if profile else [one for one in device_profiles().values() if one.ahead_of_time]
    files, statements = [_write_script(bundle, plan)], []
    ahead = [one for one in wanted if one.ahead_of_time]
    statements += [f"{one.name}: {note}" for one in wanted if profile for note in one.notes]
    if ahead:
        try:
            built = _build_all(bundle, graph, ahead, progress)
        except EnvironmentFault:
            built = []
            statements.append("no RTX engine was built ahead of time: that needs the extra 'tensorrt' (TensorRT-RTX)")
        files += [path for path, _ in built if path is not None]
        statements += [sentence for _, sentence in built]
    statements.append(
        f"to build on a device without physedge: python3 {files[0].name} (with {plan.graph} from the bundle)"
    )
    return Delivered(files=tuple(files), statements=tuple(statements))


def _build_all(
    bundle: Path, graph: Graph, profiles: Sequence[DeviceProfile], progress: Progress
) -> list[tuple[Path | None, str]]:
    library = find_library("tensorrt_rtx")
    built = []
    for profile in profiles:
        with progress(f"building for {profile.name} ({profile.sm}) ahead of time", None):
            built.append(_build_ahead(bundle, graph, profile, library))
    return built


def _build_ahead(
    bundle: Path, graph: Graph, profile: DeviceProfile, library: TensorRtLibrary
) -> tuple[Path | None, str]:
    try:
        built = build_ahead(graph.data, profile, library=library)
    except BuildError as error:
        if error.identifier != "PE-TRT-021":
            raise
        return None, f"no engine for {profile.name}: {error.found}"
    path = bundle.with_name(f"{_stem(bundle)}.{profile.sm}.engine")
    write_atomically(path, built.data)
    told = {
        "status": _STATUS,
        "graph": graph.entry,
        "graph_sha256": graph.sha256,
        "engine_sha256": built.sha256,
        "library": str(library),
        "profile": profile.name,
        "compute_capability": profile.compute_capability,
    }
    write_atomically(path.with_name(path.name + ".json"), canonical_json(told))
    return path, f"{path.name}: {len(built.data) / 2**20:.1f} MiB by {library} for {profile.title}; {_STATUS}"


def _write_script(bundle: Path, plan: Recipe) -> Path:
    path = bundle.with_name(f"{_stem(bundle)}.build_engine.py")
    write_atomically(path, stand_alone_script(plan).encode("utf-8"))
    return path


def _stem(bundle: Path) -> str:
    return bundle.name.removesuffix(".physedge")


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
    bundle: Bundle,
    *,
    precision: str | None = None,
    workspace_mib: int | None = None,
    hardware_compatible: bool = False,
    version_compatible: bool = False,
    progress: Progress = no_progress,
    cuda: Cuda | None = None,
    library: TensorRtLibrary | None = None,
    cache: EngineCache | None = None,
) -> DeviceBuild:
    """Build the engine of a bundle for the GPU that is here, and keep it once it answers the golden frames.

    Args:
        bundle: Read and checked.
        precision: Of the graph; the one that ships where None.
        workspace_mib: For the builder; from the free memory where None.
        hardware_compatible: See `BuildOptions`.
        version_compatible: See `BuildOptions`.
        progress: As for `export`.
        cuda: The device's own where None.
        library: The installed one where None.
        cache: This user's where None.

    Raises:
        EnvironmentFault: No TensorRT (`PE-TRT-001`), no CUDA (`PE-TRT-002`, `PE-TRT-003`), no safe cache
            (`PE-TRT-010`).
        BuildError: It cannot be built.
        IntegrityError: It does not answer the golden frames; nothing is kept.
    """
    library = library or find_library()
    cuda = cuda or Cuda()
    cache = cache or default_cache()
    device = cuda.device()
    artefact = choose_artefact(bundle.manifest, "tensorrt", precision)
    key = engine_key(
        graph_sha256=bundle.manifest.entries[artefact.entry].sha256, recipe_sha256="", library=library, device=device
    )
    options = BuildOptions(
        workspace_mib=workspace_mib or workspace_from(device.free_bytes, _WORKSPACE_MIB),
        hardware_compatible=hardware_compatible,
        version_compatible=version_compatible,
    )
    told = {"hardware_compatible": hardware_compatible, "version_compatible": version_compatible}
    if cache.load(key) is not None and cache.note(key).get("options") == told:
        where = cache.folder / f"{key.digest}.engine"
        sentence = f"the engine for {key} is there already: {where}"
        return DeviceBuild(
            path=where,
            device=device,
            builder=library,
            artefact=artefact,
            cache=cache,
            key=key,
            built=False,
            seconds=0.0,
            statements=(sentence,),
        )
    with progress(f"building {artefact.entry} for {device} with {library}", None):
        built = build_engine(bundle.read(artefact.entry), library=library, options=options)
    path = cache.store(key, built.data, note={"options": told, "seconds": built.seconds, **asdict(options)})
    try:
        with progress("replaying the golden frames on it", None):
            _replay(bundle, artefact, {"cuda": cuda, "library": library, "cache": cache})
    except PhysedgeError:
        cache.forget(key)
        raise
    statements = [
        f"built in {built.seconds:.1f} s, {len(built.data) / 2**20:.1f} MiB, answers the golden frames: {path}"
    ]
    statements += _prices(options)
    return DeviceBuild(
        path=path,
        device=device,
        builder=library,
        artefact=artefact,
        cache=cache,
        key=key,
        built=True,
        seconds=built.seconds,
        statements=tuple(statements),
    )


def _replay(bundle: Bundle, artefact: Artefact, options: dict[str, object]) -> None:
    manifest = bundle.manifest
    request = EngineRequest(
        graph=bundle.read(artefact.entry),
        graph_sha256=manifest.entries[artefact.entry].sha256,
        input_shape=(1, *manifest.spec.input_shape),
        outputs={output.name: (1, *output.shape) for output in manifest.outputs},
        options=options,
    )
    with Net(manifest=manifest, artefact=artefact, engine=TensorRtEngine(request).open()) as net:
        net.replay_golden(bundle)


def _prices(options: BuildOptions) -> Sequence[str]:
    prices = []
    if options.hardware_compatible:
        prices.append(
            "hardware-compatible: kernels of one chip alone are not used, so it may be slower than a plain build"
        )
    if options.version_compatible:
        prices.append("version-compatible: it carries a runtime of its own, so it is larger and slower to load")
    return prices
