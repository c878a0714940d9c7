"""What `run` opens: a bundle that is named, one that is installed, the project's, or the demo's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from physedge.deploy.choice import default_bundle
from physedge_runtime.bundle import Bundle, read_bundle
from physedge_runtime.device_config import device_config
from physedge_runtime.errors import UsageError
from physedge_runtime.install import install_root, refuse_rollback, start
from physedge_runtime.isolated import is_vouched_for
from physedge_runtime.net import Net


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """What was asked for.

    Attributes:
        bundle: A file; None for what is installed or the default.
        installed: Name of an installed network.
        root: Where bundles are installed.
        trust: Public keys; the device's own where None.
        engine: As for `Bundle.open`.
        precision: As for `Bundle.open`.
        threads: As for `Bundle.open`.
        allow_rejected: As for `Bundle.open`; of no meaning for what is installed.
        only_as_exported: As for `Bundle.open`.
        isolate: As for `Bundle.open`; where None, what no trusted key has signed is isolated.
        prepare: Called with a bundle that was read and checked, before it is opened; for example to build its engine.
    """

    bundle: Path | None = None
    installed: str | None = None
    root: Path | None = None
    trust: Sequence[Path] | None = None
    engine: str = "auto"
    precision: str | None = None
    threads: int | None = None
    allow_rejected: bool = False
    only_as_exported: bool = False
    isolate: bool | None = None
    prepare: Callable[[Bundle], object] | None = None


def open_chosen(request: OpenRequest) -> tuple[Bundle, Net, str]:
    """The bundle, its network ready to answer, and a sentence that says which it is. The caller closes the network.

    On a device whose configuration names a place for installed bundles, a file that is older than what has run there
    is refused, too.

    Raises:
        UsageError: Both a file and an installed network were named (`PE-RUN-003`).
        PhysedgeError: As `read_bundle`, `Bundle.open` and `start` do.
    """
    if request.installed is not None:
        if request.bundle is not None:
            raise UsageError(
                "PE-RUN-003",
                found="both --bundle and --installed",
                expected="one of them",
                next_step="leave one out",
            )
        return _open_installed(request, request.installed)
    path, sentence = (request.bundle, f"running {request.bundle}") if request.bundle is not None else default_bundle()
    bundle = read_bundle(path, trust=request.trust)
    root = request.root or device_config().root
    if root is not None:
        refuse_rollback(bundle, root, allow_rollback=False)
    if request.prepare is not None:
        request.prepare(bundle)
    net = bundle.open(
        engine=request.engine,
        precision=request.precision,
        threads=request.threads,
        allow_rejected=request.allow_rejected,
        only_as_exported=request.only_as_exported,
        isolate=not is_vouched_for(bundle) if request.isolate is None else request.isolate,
    )
    return bundle, net, sentence


def _open_installed(request: OpenRequest, name: str) -> tuple[Bundle, Net, str]:
    started = start(
        install_root(request.root),
        name,
        trust=request.trust,
        engine=request.engine,
        precision=request.precision,
        threads=request.threads,
        only_as_exported=request.only_as_exported,
        prepare=request.prepare,
    )
    sentence = f"running {name} release {started.bundle.manifest.release} from slot {started.slot}"
    if started.fell_back:
        sentence += f"; the newer one was given up: {started.fell_back}"
    return started.bundle, started.net, sentence
