"""TensorRT engines built ahead of time beside a bundle: marked as built and not run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from physedge.deploy.build_watch import ShownBuild, process_memory
from physedge.deploy.judge import Graph
from physedge.deploy.progress import Advance, Progress, no_progress
from physedge_export.targets.profiles import DeviceProfile, device_profiles, find_profile
from physedge_export.targets.tensorrt import Recipe, stand_alone_script
from physedge_export.targets.tensorrt_build import build_ahead
from physedge_runtime.bundle import write_atomically
from physedge_runtime.engines.tensorrt_library import TensorRtLibrary, find_library
from physedge_runtime.errors import BuildError, EnvironmentFault
from physedge_runtime.manifest import canonical_json

_STATUS = "built, not run"


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
    return [_build_ahead(bundle, graph, profile, library, progress) for profile in profiles]


def _build_ahead(
    bundle: Path, graph: Graph, profile: DeviceProfile, library: TensorRtLibrary, progress: Progress
) -> tuple[Path | None, str]:
    def show(description: str, total: int | None) -> AbstractContextManager[Advance]:
        return progress(f"{profile.name} ({profile.sm}), ahead of time: {description}", total)

    try:
        with ShownBuild(show, process_memory) as watch:
            built = build_ahead(graph.data, profile, library=library, watch=watch)
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
    size_mib = len(built.data) / 2**20
    return path, f"{path.name}: {size_mib:.1f} MiB by {library} in {built.seconds:.1f} s for {profile.title}; {_STATUS}"


def _write_script(bundle: Path, plan: Recipe) -> Path:
    path = bundle.with_name(f"{_stem(bundle)}.build_engine.py")
    write_atomically(path, stand_alone_script(plan).encode("utf-8"))
    return path


def _stem(bundle: Path) -> str:
    return bundle.name.removesuffix(".physedge")
