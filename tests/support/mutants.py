"""Lines on which safety or security hangs, each with a wrong form of it and the tests that must notice.

`tests/mutation/AREA.toml` lists them. One is tried in a copy of the tree: the line is changed, the tests that name it
are run, and at least one of them has to fail. A mutant that every test lets pass is a defect of the tests.

    python tests/support/mutants.py                        all of them; minutes to an hour
    python tests/support/mutants.py --area stream --area gate
    python tests/support/mutants.py --sample 20 --seed 1
    python tests/support/mutants.py --record FILE.json     what came out, for the reviewer's pack
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests/mutation"
PACKAGES = ("edge", "export", "calibrate", "runtime")
_COPIED = (*PACKAGES, "tests", "examples", "docs", "benchmarks", ".ci")
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc", "build", ".hypothesis")
_NATIVE = "runtime/native/"
_TIMEOUT_S = 1200
_TEST_TIMEOUT_S = 60
_PYTEST_FAILED = 1
"""Exit status of pytest where tests ran and some failed; another one says that nothing was shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One changed line.

    Attributes:
        area: Name of the list.
        name: What would be wrong.
        file: Path inside the tree.
        find: Text that stands once in the file.
        replace: What stands there instead.
        tests: Arguments of pytest; at least one test must fail.
    """

    area: str
    name: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]

    @property
    def is_native(self) -> bool:
        """Whether the C library has to be built with it."""
        return self.file.startswith(_NATIVE)

    def text(self, tree: Path) -> str:
        """The whole file with the change.

        Raises:
            ValueError: `find` does not stand there once, or the change is none, or Python cannot read it.
        """
        original = (tree / self.file).read_text("utf-8")
        if (count := original.count(self.find)) != 1:
            raise ValueError(f"{self.name}: the text stands {count} times in {self.file}, not once")
        changed = original.replace(self.find, self.replace)
        if changed == original:
            raise ValueError(f"{self.name}: nothing is changed")
        if self.file.endswith(".py"):
            compile(changed, self.file, "exec")
        return changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the tests said.

    Attributes:
        mutant: The changed line.
        is_noticed: Whether a test failed.
        said: The first failure, or why nothing was shown.
    """

    mutant: Mutant
    is_noticed: bool
    said: str


def read_mutants(folder: Path = FOLDER) -> list[Mutant]:
    """All of the lists, in the order of area and line."""
    mutants = []
    for path in sorted(folder.glob("*.toml")):
        for entry in tomllib.loads(path.read_text("utf-8"))["mutation"]:
            mutants.append(Mutant(area=path.stem, **{**entry, "tests": tuple(entry["tests"])}))
    return mutants


class Laboratory:
    """A copy of the tree in which one line after the other is changed. Use as a context manager."""

    def __init__(self) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="physedge-mutation-")
        self.tree = Path(self._scratch.name) / "tree"
        self._build = Path(self._scratch.name) / "native"
        self._stamp = 0

    def __enter__(self) -> Self:
        self.tree.mkdir()
        for name in _COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.tree / name, ignore=_NOT_COPIED, symlinks=True)
        for path in ROOT.iterdir():
            if path.is_file():
                shutil.copy2(path, self.tree / path.name)
        return self

    def __exit__(self, *exception: object) -> None:
        self._scratch.cleanup()

    def try_out(self, mutant: Mutant) -> Outcome:
        """Change the line, run the tests, put the line back."""
        path = self.tree / mutant.file
        original = path.read_text("utf-8")
        try:
            self._write(path, mutant.text(self.tree))
            return self._outcome(mutant)
        except (ValueError, SyntaxError) as error:
            return Outcome(mutant=mutant, is_noticed=False, said=str(error))
        finally:
            self._write(path, original)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text, "utf-8")
        # A time of its own for every version, or compiled files of the one before would be taken.
        self._stamp += 2
        changed_s = path.stat().st_mtime + self._stamp
        os.utime(path, (changed_s, changed_s))

    def _outcome(self, mutant: Mutant) -> Outcome:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(self.tree / name) for name in PACKAGES),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(self.tree / ".hypothesis"),
            "PHYSEDGE_DATA": os.environ.get("PHYSEDGE_DATA", str(ROOT.parent / "shared/data")),
        }
        if mutant.is_native:
            if failure := self._build_native():
                return Outcome(mutant=mutant, is_noticed=False, said=f"does not build: {failure}")
            environment["PHYSEDGE_NATIVE_BUILD"] = str(self._build)
        quiet = ["-x", "-q", "--no-header", "-n", "0", "-p", "no:cacheprovider", f"--timeout={_TEST_TIMEOUT_S}"]
        command = [sys.executable, "-m", "pytest", *quiet]
        try:
            done = subprocess.run(
                [*command, *mutant.tests],
                cwd=self.tree,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            return Outcome(mutant=mutant, is_noticed=True, said="the tests did not come to an end")
        lines = done.stdout.splitlines()
        failed = next((line for line in lines if line.startswith("FAILED")), "")
        if "Timeout" in done.stdout + done.stderr and not failed:
            failed = "FAILED: a test did not come to its end"
        if done.returncode == _PYTEST_FAILED and failed:
            return Outcome(mutant=mutant, is_noticed=True, said=failed[:200])
        last = lines[-1] if lines else done.stderr[-200:]
        return Outcome(mutant=mutant, is_noticed=False, said=f"pytest ended with {done.returncode}: {last}")

    def _build_native(self) -> str:
        """Build the C library of the copy; gives what went wrong, or nothing."""
        from native_build import onnxruntime_root, openvino_folder

        options = [f"-DOpenVINO_DIR={openvino_folder() / 'cmake'}"]
        if (root := onnxruntime_root(self._build.with_name("onnxruntime"))) is not None:
            options += ["-DPHYSEDGE_ONNXRUNTIME=ON", f"-DONNXRUNTIME_ROOT={root}"]
        source, quick = self.tree / _NATIVE, "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG"
        configure = ["cmake", "-S", str(source), "-B", str(self._build), "-DCMAKE_BUILD_TYPE=Release", quick, *options]
        commands = [["cmake", "--build", str(self._build), "--parallel", "2"]]
        if not (self._build / "CMakeCache.txt").exists():
            commands.insert(0, configure)
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                return (done.stdout + done.stderr)[-800:]
        return ""


def sample(mutants: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """Some of them; those of the C library are left out, since each needs a build."""
    quick = [mutant for mutant in mutants if not mutant.is_native]
    return random.Random(seed).sample(quick, min(count, len(quick)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Try mutants out; the exit status is 1 where one was not noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--area", action="append", help="a list of tests/mutation; all if none is named")
    parser.add_argument("--name", help="part of a name")
    parser.add_argument("--sample", type=int, help="so many, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--record", type=Path, help="a file for the outcomes")
    chosen = parser.parse_args(arguments)
    mutants = [one for one in read_mutants() if not chosen.area or one.area in chosen.area]
    mutants = [one for one in mutants if not chosen.name or chosen.name in one.name]
    if chosen.sample:
        mutants = sample(mutants, chosen.sample, chosen.seed)
    outcomes = []
    with Laboratory() as laboratory:
        for number, mutant in enumerate(mutants, 1):
            outcome = laboratory.try_out(mutant)
            outcomes.append(outcome)
            word = "noticed " if outcome.is_noticed else "SURVIVED"
            print(f"{number:3} of {len(mutants)}  {word}  {mutant.area}: {mutant.name}  ({outcome.said})", flush=True)
    survivors = [outcome for outcome in outcomes if not outcome.is_noticed]
    print(f"{len(outcomes) - len(survivors)} of {len(outcomes)} noticed")
    if chosen.record:
        rows = [{**asdict(one.mutant), "noticed": one.is_noticed, "said": one.said} for one in outcomes]
        chosen.record.write_text(json.dumps({"schema_version": 1, "mutants": rows}, indent=1) + "\n", "utf-8")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
