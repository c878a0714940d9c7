"""Whom a device believes: C++ takes and refuses what Python does, from the same files."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from device_files import CONFIGURATIONS, DEGENERATE_KEYS, LISTS, MIXED_KEYS, PUBLISHED, lay_out, pem
from native_build import SANITIZERS, SOURCE
from native_library import Native
from other_user import NOBODY, needs_root

from physedge_runtime.device_config import DEVICE_VARIABLE, read_device_config
from physedge_runtime.errors import IntegrityError, PhysedgeError, UsageError


class Ask(Protocol):
    """What a machine whose configuration lies there says, as a user who owns nothing unless another one is named."""

    def __call__(self, path: Path, *, user: int = NOBODY) -> str: ...


def answer(call: Callable[[], object]) -> str:
    try:
        call()
    except PhysedgeError as error:
        return f"{error.identifier} {error.exit_status}"
    return "taken"


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_configurations_are_judged_alike(name: str, tmp_path: Path, native: Native) -> None:
    content, expected = CONFIGURATIONS[name]
    path = lay_out(tmp_path, content)
    assert answer(lambda: native.trust(device=path)) == expected
    assert answer(lambda: read_device_config(path)) == expected


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_revocations_are_judged_alike(name: str, tmp_path: Path, native: Native) -> None:
    content, expected = LISTS[name]
    (tmp_path / "revoked.txt").write_bytes(content)
    told = answer(lambda: native.trust(revoked=tmp_path / "revoked.txt"))
    assert told == (f"{expected} 4" if isinstance(expected, str) else "taken")


def test_a_revocation_counts_however_its_line_ends(
    tmp_path: Path, native: Native, write_tiny: Callable[..., Path]
) -> None:
    from physedge_runtime.bundle import read_bundle

    path = write_tiny()
    revoked = f"bundle {read_bundle(path).manifest_sha256}".encode()
    for content in (revoked, revoked + b"\r\n", b"# lost\r\n" + revoked, b"#" * (4 * 1024**2 - 73) + b"\n" + revoked):
        (tmp_path / "revoked.txt").write_bytes(content)
        with pytest.raises(IntegrityError, match="PE-SIGN-010"):
            native.read(path, native.trust(revoked=tmp_path / "revoked.txt"))


@pytest.mark.parametrize("encoded", [*DEGENERATE_KEYS, *MIXED_KEYS])
def test_degenerate_keys_are_refused(encoded: str, tmp_path: Path, native: Native) -> None:
    (tmp_path / "x.pub").write_bytes(pem(encoded))
    with pytest.raises(UsageError, match=r"PE-SIGN-002.*anybody could sign"):
        native.trust(tmp_path / "x.pub")
    trust = native.trust()
    for hexadecimal, status in ((encoded, 2), (PUBLISHED, 0)):
        key = (ctypes.c_uint8 * 32).from_buffer_copy(bytes.fromhex(hexadecimal))
        assert native.library.physedge_trust_add_key(trust, b"x", key, None, None) == status


@pytest.fixture(scope="session")
def device_trust(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program device_trust.cpp."""
    made = tmp_path_factory.mktemp("device") / "device_trust"
    sources = [SOURCE / f"src/{name}.cpp" for name in ("trust", "guarded_files", "hash", "patterns", "refusal")]
    flags = ["-std=c++17", "-O0", f"-I{SOURCE}/src", f"-I{SOURCE}/include"]
    flags += [f"-fsanitize={SANITIZERS}"] if SANITIZERS else []
    command = ["g++", *flags, str(Path(__file__).parent / "device_trust.cpp"), *map(str, sources), "-lsodium"]
    done = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def ask(device_trust: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """What a machine whose configuration lies there says, as a user who owns nothing."""
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        here = Path(name) / "device_trust"
        here.write_bytes(device_trust.read_bytes())
        here.chmod(0o755)

        def run(path: Path, *, user: int = NOBODY) -> str:
            done = subprocess.run([here, path, str(user)], capture_output=True, text=True, check=True)
            return done.stdout.strip()

        yield run


@pytest.fixture
def machine() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "physedge"
        folder.mkdir()
        yield folder / "device.toml"
        if folder.is_dir():
            folder.chmod(0o755)


def test_nothing_there_demands_nothing(ask: Ask, machine: Path) -> None:
    assert ask(machine) == "taken 0"
    machine.parent.rmdir()
    assert ask(machine) == "taken 0"


@pytest.mark.parametrize("form", ["folder", "dangling", "dangling folder", "file for a folder", "pipe", "circle"])
def test_what_is_there_and_no_file_is_refused(ask: Ask, machine: Path, form: str) -> None:
    match form:
        case "folder":
            machine.mkdir()
        case "dangling":
            machine.symlink_to(machine.parent / "absent")
        case "dangling folder":
            machine.parent.rmdir()
            machine.parent.symlink_to(machine.parent.parent / "absent")
        case "file for a folder":
            machine.parent.rmdir()
            machine.parent.write_bytes(b"")
        case "pipe":
            os.mkfifo(machine, 0o644)
        case "circle":
            machine.symlink_to(machine)
    assert ask(machine, user=os.geteuid()) == "PE-SIGN-014 4"


@pytest.mark.parametrize("mode", [0o000, 0o700, 0o755])
def test_what_may_not_be_looked_at_is_refused(ask: Ask, machine: Path, mode: int) -> None:
    machine.write_bytes(b"")
    machine.chmod(0o600 if os.geteuid() == 0 else 0o000)
    machine.parent.chmod(mode)
    assert ask(machine) == "PE-SIGN-014 4"


@needs_root
@pytest.mark.parametrize("name", ["device.toml", "maker.pub", "revoked.txt", "."])
def test_what_belongs_to_a_stranger_is_refused(ask: Ask, machine: Path, name: str) -> None:
    lay_out(machine.parent, CONFIGURATIONS["keys and revocations"][0])
    assert ask(machine) == "taken 1"
    os.chown(machine.parent / name, 12345, 12345)
    assert ask(machine) == "PE-SIGN-004 4"


@pytest.mark.parametrize("name", ["device.toml", "maker.pub", "revoked.txt", "."])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_what_others_may_write_to_is_refused(ask: Ask, machine: Path, name: str, mode: int) -> None:
    lay_out(machine.parent, CONFIGURATIONS["keys and revocations"][0])
    changed = machine.parent / name
    changed.chmod(changed.stat().st_mode | mode)
    assert ask(machine, user=os.geteuid()) == "PE-SIGN-004 4"


def test_a_link_in_an_open_folder_is_refused(ask: Ask, machine: Path) -> None:
    lay_out(machine.parent, '[trust]\nkeys = ["loose/key.pub"]\n')
    loose = machine.parent / "loose"
    loose.mkdir()
    (loose / "key.pub").symlink_to("../maker.pub")
    assert ask(machine, user=os.geteuid()) == "taken 1"
    loose.chmod(0o777)
    assert ask(machine, user=os.geteuid()) == "PE-SIGN-004 4"


def test_another_configuration_needs_to_be_allowed(ask: Ask, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = machine.parent / "other.toml"
    other.write_bytes(b"")
    monkeypatch.setenv(DEVICE_VARIABLE, str(other))
    lay_out(machine.parent, '[trust]\nkeys = ["maker.pub"]\n')
    assert ask(machine) == "PE-SIGN-016 2"
    lay_out(machine.parent, '[trust]\nkeys = ["maker.pub"]\n[allow]\noptions = ["device"]\n')
    assert ask(machine) == f"taken 0 PHYSEDGE_DEVICE={other}"
    machine.unlink()
    assert ask(machine) == "taken 0"
