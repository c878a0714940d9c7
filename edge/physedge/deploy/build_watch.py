"""What a builder of engines does, shown while it does it: phase, steps, time so far, memory."""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from physedge.deploy.progress import Advance, Progress
from physedge_runtime.engines.cuda import Cuda

_MIB = 1 << 20
_QUIET_S = 15.0


class ShownBuild:
    """A `BuildWatch` that shows every phase through a `Progress`, and says that a long one is still at work.

    A builder tells nothing for minutes in some phases; every 15 seconds of silence the time and the memory are said
    again. Use as a context manager; phases may be told from any thread.
    """

    def __init__(
        self,
        progress: Progress,
        memory: Callable[[], str],
        *,
        clock: Callable[[], float] = time.monotonic,
        quiet_s: float = _QUIET_S,
    ) -> None:
        self._progress, self._memory, self._clock, self._quiet_s = progress, memory, clock, quiet_s
        self._lock = threading.Lock()
        self._shown = ExitStack()
        self._advance: Advance = lambda: None
        self._name = ""
        self._steps: int | None = None
        self._done = 0
        self._started = clock()
        self._told = threading.Event()
        self._ended = False
        self._heart = threading.Thread(target=self._beat, name="build-watch", daemon=True)

    def phase(self, name: str, steps: int | None) -> None:
        """Show another phase."""
        with self._lock:
            self._name, self._steps, self._done = name, steps, 0
            self._show(name)
        self._told.set()

    def step(self) -> None:
        """Show one more step."""
        with self._lock:
            self._done += 1
            self._advance()
        self._told.set()

    def _show(self, text: str) -> None:
        self._shown.close()
        elapsed = self._clock() - self._started
        said = f"{text} ({elapsed:.0f} s, {self._memory()})"
        self._advance = self._shown.enter_context(self._progress(said, self._steps))
        for _ in range(self._done):
            self._advance()

    def _beat(self) -> None:
        while not self._ended:
            if self._told.wait(self._quiet_s):
                self._told.clear()
                continue
            with self._lock:
                if self._name and not self._ended:
                    self._show(f"still at it: {self._name}")

    def __enter__(self) -> Self:
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._ended = True
            self._shown.close()
        self._told.set()
        self._heart.join()


def process_memory() -> str:
    """The most memory that this process has had so far, in words."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    mebibytes = most / 1024 if sys.platform != "darwin" else most / _MIB
    return f"{mebibytes:,.0f} MiB of memory"


def gpu_memory(cuda: Cuda) -> Callable[[], str]:
    """How much of the GPU's memory is taken, in words, whenever it is asked."""

    def said() -> str:
        device = cuda.device()
        taken = (device.total_bytes - device.free_bytes) / _MIB
        return f"{taken:,.0f} of {device.total_bytes / _MIB:,.0f} MiB of GPU memory taken"

    return said
