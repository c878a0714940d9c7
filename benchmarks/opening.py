"""What it costs to open a bundle: reading, the signature, the look through the graph, engine and golden frames.

python benchmarks/opening.py BUNDLE                 # signed copies and an engine cache are made in a temporary folder

Wall time and processor time are both printed: on a machine that others use as well, the second is the truer one. "Warm"
means that the engine cache holds the compiled graph; "fresh process" is the interpreter, all imports, and the opening.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import machine_line

from physedge_runtime.bundle import MANIFEST, SIGNATURE, read_bundle
from physedge_runtime.engines.engine_cache import CACHE_VARIABLE
from physedge_runtime.graph_check import check_graph
from physedge_runtime.keys import trust_store, write_new_key
from physedge_runtime.signature import check_signature
from physedge_runtime.signing import file_signer, sign_bundle

_CHECKS = 500

Cost = tuple[float, float]
"""Wall and processor time, ms."""

_FRESH = """
import sys
from physedge_runtime import load
load(sys.argv[1], trust=sys.argv[2] or None).open(
    engine=sys.argv[3], threads=int(sys.argv[4]), allow_rejected=True).close()
"""


def cost(action: Callable[[], object]) -> Cost:
    """Of one call in this process."""
    wall_ns, processor_ns = time.perf_counter_ns(), time.process_time_ns()
    action()
    return (time.perf_counter_ns() - wall_ns) / 1e6, (time.process_time_ns() - processor_ns) / 1e6


def cost_of_process(words: list[str]) -> Cost:
    """Of a process from its start to its end."""
    wall_ns = time.perf_counter_ns()
    child = subprocess.Popen(words)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"{words[:3]} ended with status {child.returncode}")
    return (time.perf_counter_ns() - wall_ns) / 1e6, (usage.ru_utime + usage.ru_stime) * 1e3


def main() -> None:
    """Measure interleaved and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--runs", type=int, default=31)
    parser.add_argument("--cold-runs", type=int, default=5)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE_VARIABLE] = str(Path(folder) / "cache")
        public, _ = write_new_key(Path(folder) / "maker.pem")
        signed = Path(folder) / "signed.physedge"
        signed.write_bytes(arguments.bundle.read_bytes())
        bundle = sign_bundle(signed, file_signer(Path(folder) / "maker.pem"))
        graphs = [(one.entry, bundle.read(one.entry)) for one in bundle.manifest.artefacts]

        def look() -> None:
            for entry, graph in graphs:
                check_graph(graph, origin=entry)

        believed, manifest, signature = trust_store(public), bundle.read(MANIFEST), bundle.read(SIGNATURE)

        def check() -> None:
            check_signature(manifest, signature, believed, origin="signed")

        def open_signed() -> None:
            opened = read_bundle(signed, trust=public)
            opened.open(engine=arguments.engine, threads=arguments.threads, allow_rejected=True).close()

        def open_cold() -> None:
            os.environ[CACHE_VARIABLE] = tempfile.mkdtemp(dir=folder)
            open_signed()
            os.environ[CACHE_VARIABLE] = str(Path(folder) / "cache")

        def fresh(path: Path, trust: str) -> Cost:
            options = [arguments.engine, str(arguments.threads)]
            return cost_of_process([sys.executable, "-c", _FRESH, str(path), trust, *options])

        steps: dict[str, Callable[[], Cost]] = {
            "read, unsigned": lambda: cost(lambda: read_bundle(arguments.bundle)),
            "read, signature verified": lambda: cost(lambda: read_bundle(signed, trust=public)),
            "look through all graphs": lambda: cost(look),
            "read, verify, open, golden: warm": lambda: cost(open_signed),
            "fresh process, warm, unsigned": lambda: fresh(arguments.bundle, ""),
            "fresh process, warm, signed": lambda: fresh(signed, str(public)),
        }
        rows = [{name: step() for name, step in steps.items()} for _ in range(arguments.runs + 1)][1:]
        colds = [cost(open_cold) for _ in range(arguments.cold_runs)]
    table = {name: [row[name] for row in rows] for name in steps} | {"read, verify, open, golden: nothing kept": colds}
    for name, costs in table.items():
        wall, processor = zip(*costs, strict=True)
        print(
            f"{name:<42} wall {statistics.median(wall):8.1f} ms (least {min(wall):8.1f})"
            f"   processor {statistics.median(processor):8.1f} ms (least {min(processor):8.1f})   {len(costs)} runs"
        )
    # A difference of two noisy openings does not show a fraction of a millisecond; the check alone, many times, does.
    wall, processor = zip(*(cost(check) for _ in range(_CHECKS)), strict=True)
    print(
        f"the signature's check alone: wall {statistics.median(wall):.2f} ms, "
        f"processor {statistics.median(processor):.2f} ms ({_CHECKS} calls)"
    )
    print(f"{arguments.bundle.name}, {arguments.bundle.stat().st_size:,} bytes; {machine_line()}")


if __name__ == "__main__":
    main()
