"""Ask the Python and the C++ reader the same about repaired mutants of bundles: taken or refused, by which identifier.

    python benchmarks/differential.py LIBRARY [--mutants 100000] [--seed 0] [--megabytes 1024] [--keep FOLDER]

LIBRARY is a built libphysedge.so. Every mutant has fitting hashes, sizes and canonical form, so that deep checks are
reached; it is read, opened on the stand-in engine and asked for one answer. Exit status 1: a disagreement, or more
memory than stated; what was found is kept in FOLDER. A crash or a hang ends the program: run it under `timeout`.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))


def main() -> int:
    """Run it."""
    from native_library import Native
    from repaired_mutants import Mutants, asked

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("--mutants", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    native, mutants, told = Native(arguments.library), Mutants(arguments.seed), Counter[str]()
    # Beyond it an allocation fails, in either reader, and is told as a disagreement.
    limit = arguments.megabytes * 10**6
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    odd = 0
    began, first_peak_kb = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        for index in range(arguments.mutants):
            data = mutants.draw()
            python, ours = asked(native, data, Path(folder) / "x.physedge")
            told[python] += 1
            if python != ours:
                odd += 1
                print(f"Python: {python}; C++: {ours}")
                if arguments.keep is not None:
                    arguments.keep.mkdir(parents=True, exist_ok=True)
                    name = hashlib.sha256(data).hexdigest()[:16]
                    (arguments.keep / f"{name}.physedge").write_bytes(data)
            if index == arguments.mutants // 10:
                first_peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{arguments.mutants} mutants in {time.monotonic() - began:.0f} s, {odd} disagreements")
    print(f"largest resident memory {peak_kb / 1000:.0f} MB, after the first tenth {first_peak_kb / 1000:.0f} MB")
    for name, count in told.most_common():
        print(f"{count:8d}  {name}")
    return 1 if odd else 0


if __name__ == "__main__":
    sys.exit(main())
