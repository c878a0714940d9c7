"""What this machine is: the part that decides whether a verdict holds here."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

# Instruction sets that change INT8 results or speed, as /proc/cpuinfo names them.
_RELEVANT_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A machine as far as verdicts and timings depend on it.

    Attributes:
        processor: Model name.
        architecture: For example `x86_64`.
        cores: That this process may use.
        memory_bytes: In all; 0 where unknown.
        instruction_sets: Of those that matter to INT8.
        system: Kernel name and release.
    """

    processor: str
    architecture: str
    cores: int
    memory_bytes: int
    instruction_sets: tuple[str, ...]
    system: str

    @property
    def has_int8_dot_product(self) -> bool:
        """Whether INT8 products accumulate in 32 bits; without it full-range 8-bit weights saturate."""
        return any(name in self.instruction_sets for name in _RELEVANT_FLAGS[2:])

    def __str__(self) -> str:
        sets = " ".join(self.instruction_sets) or "no relevant instruction set"
        return f"{self.processor} ({self.architecture}; {sets}), {self.cores} cores"


@lru_cache(maxsize=1)
def this_device() -> Device:
    """The machine that this process runs on."""
    processor, flags = _cpuinfo()
    return Device(
        processor=processor or platform.processor() or "unknown processor",
        architecture=platform.machine(),
        cores=_usable_cores(),
        memory_bytes=_memory_bytes(),
        instruction_sets=tuple(flag for flag in _RELEVANT_FLAGS if flag in flags),
        system=f"{platform.system()} {platform.release()}",
    )


def _cpuinfo() -> tuple[str, frozenset[str]]:
    processor, flags = "", frozenset[str]()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return processor, flags
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model") and not processor:
            processor = value.strip()
        if key.strip() in ("flags", "Features") and not flags:
            flags = frozenset(value.split())
    return processor, flags


def _usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 0
