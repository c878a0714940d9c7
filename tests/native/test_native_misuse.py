"""The C library held wrongly: a defined status for each way, and nothing undefined under the sanitizers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from native_build import SANITIZERS, SOURCE, compiled, configure_and_build

PROGRAM = Path(__file__).with_name("misuse.c")
LIMIT_S = 120
"""No case waits for anything; one that does not come to its end has failed."""

CASES = {
    "null": (
        *(
            f"{name} 2 PE-NATIVE-001"
            for name in (
                *("trust_create", "add_key", "add_key_file", "add_revocations", "add_device", "set_today"),
                *("bundle_read", "bundle_read_memory", "bundle_entry"),
            )
        ),
        "bundle_name ''",
        "net_open 2 PE-NATIVE-001",
        "outputs 0",
        *(f"{name} 2 PE-NATIVE-001" for name in ("infer", "prepare", "to_frame", "frame_mask", "region")),
        "answer_of the engine gave no answer",
        *(f"{name} 2 PE-NATIVE-001" for name in ("look_at", "stream_create", "update_good")),
        *("has_room 0", "is_idle 1", "safe_reason said", "source_lag 0"),
        *("frame_in 2 PE-NATIVE-001", "take 0", "answered 2 PE-NATIVE-001", "next_item 0", "next_event 0"),
        "without an error 2",
    ),
    "null-memory": (
        *("has_room 1", "is_idle 1", "safe_reason none", "source_lag 0"),
        *("frame_in 0 ok", "take 0", "answered 2 PE-NATIVE-006", "next_item 0", "next_event 0"),
    ),
    "freed-twice": (
        "another network lives on 0 ok",
        *(f"{name} 2 PE-NATIVE-008" for name in ("infer", "net_open", "add_revocations", "bundle_read")),
        "tick 0",
    ),
    "another-kind": ("a bundle as a network 2 PE-NATIVE-008", "a network as a stream 0", "it lives on 0 ok"),
    "wrong-sizes": (
        *(
            line
            for name in ("no pixels", "no width", "no height", "stride below width", "a huge width", "a huge height")
            for line in (f"{name} 2 PE-FRAME-001", "  look 2 PE-FRAME-001")
        ),
        "larger than opened for 2 PE-NATIVE-007",
        *("a format that is none 2 PE-FRAME-001", "  look 2 PE-FRAME-001"),
        *("odd sides of NV12 2 PE-FRAME-001", "  look 2 PE-FRAME-001"),
        *("voltages 2 PE-FRAME-001", "  look 2 PE-FRAME-002"),
        "a huge number of voltages 2 PE-FRAME-002",
        *(
            f"{name} 2 PE-NATIVE-001"
            for name in (
                *("a small mask", "  its region", "a small output", "a small grid", "no frame to go to"),
                *(
                    "a huge frame to go to",
                    "a stride below its width",
                    "a mask that nobody filled in",
                    "a result that nobody filled in",
                ),
            )
        ),
        "all is well 0 ok",
    ),
    "wrong-options": (
        "an engine that is none 2 PE-ENGINE-001",
        "frames without width 0 ok",  # the golden frames are larger
        "huge frames 2 PE-NATIVE-001",
        "all options 0 0 ok",
        *(f"{name} 2 PE-NATIVE-001" for name in ("a drop that is none", "a share that is no number", "a time below 0")),
    ),
    "two-threads": ("calls 1600", "answers some"),
    "free-while-in-use": ("calls 1600", "answers some"),
    "fork": ("the parent's network 2 PE-NATIVE-010", "its own 0 ok", "child 0", "the parent 0 ok"),
    "hang": ("open 0 ok", "the hook gives up 7 PE-NATIVE-004", "and later 7 PE-NATIVE-004"),
}


def ran(program: Path, bundle: Path, case: str) -> tuple[str, ...]:
    done = subprocess.run([program, bundle, case], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]
    return tuple(line.rstrip() for line in done.stdout.splitlines())


@pytest.fixture(scope="module")
def misuse(native_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = (f"-fsanitize={SANITIZERS}",) if SANITIZERS else ()
    return compiled(tmp_path_factory.mktemp("misuse") / "misuse", [PROGRAM], native_build, "-pthread", *options)


@pytest.mark.parametrize("case", CASES)
def test_misuse_ends_in_a_status(misuse: Path, write_tiny: Callable[..., Path], case: str) -> None:
    assert ran(misuse, write_tiny(), case) == CASES[case]


@pytest.fixture(scope="module", params=["address,undefined", "thread"])
def sanitized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program against a library of its own with sanitizers; the engine is the one without a network."""
    folder, sanitizers = tmp_path_factory.mktemp("sanitized"), request.param
    configure_and_build(
        folder, "-DPHYSEDGE_OPENVINO=OFF", f"-DPHYSEDGE_SANITIZE={sanitizers}", targets=("physedge",), kind="Release"
    )
    program = folder / "misuse"
    flags = ["-std=c11", "-O1", "-g1", "-pthread", "-D_GNU_SOURCE", f"-fsanitize={sanitizers}"]
    libraries = [f"-I{SOURCE / 'include'}", f"-L{folder}", "-lphysedge", f"-Wl,-rpath,{folder}"]
    done = subprocess.run(["gcc", *flags, str(PROGRAM), "-o", str(program), *libraries], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_misuse_is_never_undefined(sanitized: Path, write_tiny: Callable[..., Path], case: str) -> None:
    assert ran(sanitized, write_tiny(), case) == CASES[case]


def test_every_function_of_the_header_is_misused() -> None:
    """A function that is new has to be held wrongly, too."""
    header = (SOURCE / "include/physedge.h").read_text(encoding="utf-8")
    functions = set(re.findall(r"PHYSEDGE_API [^;]*?\b(physedge_\w+)\(", header))
    harmless = {name for name in functions if name.endswith(("_name", "_version", "_engines", "_defaults", "_now_ns"))}
    missing = functions - harmless - set(re.findall(r"\bphysedge_\w+", PROGRAM.read_text(encoding="utf-8")))
    assert not missing
