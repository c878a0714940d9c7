"""What `run` opens: a bundle that is named, one that is installed, the project's, or the demo's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from physedge.deploy.choice import default_bundle
from physedge_runtime.bundle import Bundle, read_bundle
from physedge_runtime.device_config import device_config
from physedge_runtime.errors import UsageError
from physedge_runtime.install import install_root, refuse_rollback, update_ended, update_good, weakened_by_root
from physedge_runtime.isolated import is_vouched_for
from physedge_runtime.net import Net
from physedge_runtime.signature import told
from physedge_runtime.starting import Started, start
from physedge_runtime.update.proving import ProvingSink


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What runs.

    Attributes:
        bundle: That was read and checked.
        net: Ready to answer; the caller closes it.
        sentence: Which it is.
        trial: Proves a release that is on trial; None where none is.
    """

    bundle: Bundle
    net: Net
    sentence: str
    trial: Trial | None = None


class Trial:
    """A new release that has yet to prove itself by live answers.

    Args:
        root: Where it is installed.
        started: What runs.

    Attributes:
        sink: Counts the answers.
    """

    def __init__(self, root: Path, started: Started) -> None:
        name, sha256 = started.bundle.manifest.spec.name, started.bundle.sha256
        self.sink = ProvingSink(lambda: update_good(root, name, sha256=sha256))
        self._take_back = partial(update_ended, root, name, sha256=sha256)

    def ended_in_order(self) -> None:
        """A stream that ended in good order, too early for a proof, does not count against the release."""
        if not self.sink.is_proven and not self.sink.had_its_chance:
            with contextlib.suppress(UsageError):  # nothing can be written here: nothing was counted either
                self._take_back()


def open_chosen(request: OpenRequest) -> Opened:
    """The bundle, its network ready to answer, and a sentence that says which it is.

    A file that is older than what was proven where bundles are installed is refused, too.

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
    bundle, weakened = read_bundle(path, trust=request.trust), tuple[str, ...]()
    if request.root is not None:
        weakened = weakened_by_root(device_config(), request.root)
        refuse_rollback(bundle, request.root, allow_rollback=False)
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
    net.bundle_trust = told(net.bundle_trust, weakened)
    return Opened(bundle=bundle, net=net, sentence=sentence)


def _open_installed(request: OpenRequest, name: str) -> Opened:
    root = install_root(request.root)
    started = start(
        root,
        name,
        trust=request.trust,
        engine=request.engine,
        precision=request.precision,
        threads=request.threads,
        only_as_exported=request.only_as_exported,
        prepare=request.prepare,
    )
    sentence = f"running {name} release {started.bundle.manifest.release} from slot {started.slot}"
    if started.on_trial:
        sentence += ", on trial until live answers have proven it"
    if started.fell_back:
        sentence += f"; the newer one does not run: {started.fell_back}"
    trial = Trial(root, started) if started.on_trial else None
    return Opened(bundle=started.bundle, net=started.net, sentence=sentence, trial=trial)
