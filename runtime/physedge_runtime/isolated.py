"""A first opening in a process of its own, so that a graph which ends an engine does not end the stream.

An engine is native code: a graph that passes every check may still make it crash. Where nobody vouches for a bundle, a
child process opens it first, in an empty folder, and replays the golden frames; only what came through is opened here.
A compiled graph that the child keeps is loaded by the parent, so that little is done twice.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from physedge_runtime.errors import IntegrityError, PhysedgeError

if TYPE_CHECKING:
    from physedge_runtime.bundle import Bundle

LONGEST_S = 600.0
_OTHER_BYTES = 41


def is_vouched_for(bundle: Bundle) -> bool:
    """Whether a trusted key signed the bundle."""
    return bundle.trust.startswith("signed by")


def open_in_child(
    bundle: Bundle, *, engine: str, precision: str | None, threads: int | None, longest_s: float = LONGEST_S
) -> None:
    """Open the bundle in a child process, and close it again.

    What the child refuses in an orderly way is left to the caller, who will find it in the same words. Where there is
    no interpreter to start, nothing is done.

    Args:
        bundle: Read and checked.
        engine: As for `Bundle.open`.
        precision: As for `Bundle.open`.
        threads: As for `Bundle.open`.
        longest_s: After this time the child is ended.

    Raises:
        IntegrityError: The engine crashed or did not come to an end (`PE-ENGINE-004`), or the file is another one by
            now (`PE-BUNDLE-010`).
    """
    if not sys.executable:
        return
    words = [engine, precision or "", str(threads or 0), bundle.sha256, str(bundle.path.absolute())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(one).absolute()) for one in sys.path if one)}
    with tempfile.TemporaryDirectory(prefix="physedge-") as empty:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "physedge_runtime.isolated", *words],
                cwd=empty,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=longest_s,
            )
        except subprocess.TimeoutExpired as error:
            raise _crashed(bundle, engine, f"did not come to an end in {longest_s:g} s") from error
    if done.returncode == _OTHER_BYTES:
        raise IntegrityError(
            "PE-BUNDLE-010",
            found=f"{bundle.path} is another file than the one that was read",
            expected="the same bytes",
            next_step="do not write to a bundle that is being opened",
        )
    if done.returncode < 0:
        raise _crashed(bundle, engine, f"was ended by signal {-done.returncode}")


def _crashed(bundle: Bundle, engine: str, what: str) -> IntegrityError:
    return IntegrityError(
        "PE-ENGINE-004",
        found=f"the engine ({engine}) {what} when a child process opened {bundle.path.name}",
        expected="a graph that the engine opens and answers",
        next_step="do not use it; its maker exports it again, or name another --engine",
    )


def _main(engine: str, precision: str, threads: str, sha256: str, path: str) -> int:
    """The child: open, replay, close."""
    import resource

    from physedge_runtime.bundle import read_bundle
    from physedge_runtime.keys import TrustStore
    from physedge_runtime.net import open_accepted

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        bundle = read_bundle(Path(path), trust=TrustStore())
        if bundle.sha256 != sha256:
            return _OTHER_BYTES
        open_accepted(
            bundle, engine=engine, precision=precision or None, threads=int(threads) or None, allow_rejected=True
        ).close()
    except PhysedgeError as error:
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
