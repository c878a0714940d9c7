"""What it costs to open a bundle: reading, the signature, the look through the graph, engine and golden frames.

python benchmarks/opening.py BUNDLE                 # signed copies are made in a temporary folder
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import machine_line

from physedge_runtime.bundle import read_bundle
from physedge_runtime.graph_check import check_graph
from physedge_runtime.keys import write_new_key
from physedge_runtime.signing import file_signer, sign_bundle


def milliseconds(action: Callable[[], object]) -> float:
    """Wall time of one call."""
    started_ns = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - started_ns) / 1e6


def main() -> None:
    """Measure interleaved and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--runs", type=int, default=31)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        public, _ = write_new_key(Path(folder) / "maker.pem")
        signed = Path(folder) / "signed.physedge"
        signed.write_bytes(arguments.bundle.read_bytes())
        bundle = sign_bundle(signed, file_signer(Path(folder) / "maker.pem"))
        graphs = [(one.entry, bundle.read(one.entry)) for one in bundle.manifest.artefacts]
        opening = {"engine": arguments.engine, "threads": arguments.threads, "allow_rejected": True}
        steps: dict[str, Callable[[], object]] = {
            "read, unsigned": lambda: read_bundle(arguments.bundle),
            "read, signature verified": lambda: read_bundle(signed, trust=public),
            "look through all graphs": lambda: [check_graph(graph, origin=name) for name, graph in graphs],
            "read, verify, open, golden": lambda: read_bundle(signed, trust=public).open(**opening).close(),
        }
        rows = [{name: milliseconds(step) for name, step in steps.items()} for _ in range(arguments.runs + 1)][1:]
    for name in steps:
        values = [row[name] for row in rows]
        print(f"{name:<28} median {statistics.median(values):8.2f} ms   least {min(values):8.2f} ms")
    print(f"{arguments.bundle.name}, {arguments.bundle.stat().st_size:,} bytes; {machine_line()}")


if __name__ == "__main__":
    main()
