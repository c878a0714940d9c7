"""What the C library does to the record of a device: the floor, the proof, the newest day, as Python does it."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from native_library import Native
from update_device import running

from physedge_runtime.bundle import read_bundle
from physedge_runtime.device_config import DEVICE_VARIABLE
from physedge_runtime.errors import IntegrityError, PhysedgeError, UsageError
from physedge_runtime.install import install, update_good
from physedge_runtime.keys import write_new_key
from physedge_runtime.signing import file_signer, sign_bundle
from physedge_runtime.slots import read_state
from physedge_runtime.update import clock
from physedge_runtime.update.clock import ClockRecord, clock_path
from physedge_runtime.update.floor import FloorRecord, floor_path, write_floor
from physedge_runtime.update.records import write_record
from physedge_runtime.verdict import Verdict

Release = Callable[[int], Path]


def native_good(native: Native, root: Path | None, sha256: str, network: str = "tiny") -> int:
    floor = ctypes.c_uint64(0)
    place = None if root is None else bytes(root)
    good = native.library.physedge_update_good
    native.check(lambda error: good(place, network.encode(), sha256.encode(), ctypes.byref(floor), error))
    return floor.value


def answer(call: Callable[[], object]) -> str:
    try:
        call()
    except PhysedgeError as error:
        return f"{error.identifier} {error.exit_status}"
    return "taken"


@pytest.fixture
def configure(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def write(*allowed: str, more: str = "") -> None:
        options = ", ".join(f'"{name}"' for name in allowed)
        text = f'{more}[install]\nroot = "{root}"\n[allow]\noptions = [{options}]\n'
        (tmp_path / "device.toml").write_text(text, encoding="utf-8")
        monkeypatch.setenv(DEVICE_VARIABLE, str(tmp_path / "device.toml"))

    return write


def test_a_proof_is_recorded_as_python_records_it(
    root: Path, folder: Path, release: Release, native: Native, tmp_path: Path
) -> None:
    for number in (1, 2):
        install(release(number), root)
        update_good(root, "tiny")
    install(release(7), root)
    running(root)
    sha256 = read_bundle(release(7)).sha256
    before = {path: path.read_bytes() for path in (folder / "state.json", floor_path(folder))}
    assert native_good(native, root, sha256) == 7
    ours = {path: path.read_bytes() for path in before}
    for path, data in before.items():
        path.write_bytes(data)
    assert update_good(root, "tiny", sha256=sha256) == 7
    assert ours == {path: path.read_bytes() for path in before}
    lines = [json.loads(line) for line in (folder / "install.log").read_text("utf-8").splitlines()]
    assert [{**line, "utc": ""} for line in lines[-2:]] == [{**lines[-1], "utc": ""}] * 2
    assert native_good(native, root, sha256) == 7
    assert running(root)[0] == 7


def test_a_proof_that_is_none(root: Path, trial: Path, release: Release, native: Native) -> None:
    sha256 = read_bundle(release(2)).sha256
    with pytest.raises(IntegrityError, match="PE-INSTALL-012"):
        native_good(native, root, read_bundle(release(1)).sha256)
    for network in ("../tiny", "large", ""):
        with pytest.raises(UsageError, match="PE-INSTALL-005"):
            native_good(native, root, sha256, network)
    with pytest.raises(UsageError, match="PE-NATIVE-001"):
        native_good(native, None, sha256)
    from physedge_runtime.slots import locked

    with locked(root / "tiny"), pytest.raises(UsageError, match=r"PE-INSTALL-002.*another process"):
        native_good(native, root, sha256)
    assert read_state(root / "tiny").floor == 1


def test_an_older_file_does_not_open_on_a_device(
    two: Path, configure: Callable[..., None], release: Release, native: Native
) -> None:
    native.open(release(1), engine=b"fake").close()
    configure()
    with pytest.raises(IntegrityError, match=r"PE-INSTALL-001.*release 2 or newer"):
        native.open(release(1), engine=b"fake")
    native.open(release(2), engine=b"fake").close()


def test_a_rejected_bundle_needs_the_devices_permission(
    two: Path, configure: Callable[..., None], write_tiny: Callable[..., Path], native: Native
) -> None:
    path = write_tiny("rejected", release=2, verdict=Verdict.REJECT)
    configure()
    with pytest.raises(UsageError, match="PE-SIGN-016"):
        native.open(path, engine=b"fake", allow_rejected=1)
    configure("rejected")
    with native.open(path, engine=b"fake", allow_rejected=1) as net:
        assert net.info.bundle_trust == b"unsigned; weakened by --allow-rejected"


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def link(path: Path) -> None:
    path.symlink_to(path.rename(path.with_name("kept")))


def dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("absent"))


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def open_to_others(path: Path) -> None:
    path.chmod(0o666)


def raise_it(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"floor":2', b'"floor":9'))


def lower_it(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"floor":2', b'"floor":1'))


def respell(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"floor":2', b'"floor": 2'))


def add_a_member(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"{", b'{"a":1,', 1))


def beyond_a_word(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"floor":2', b'"floor":9223372036854775808'))


def name_an_empty_slot(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"previous":"a"', b'"previous":"b"'))


CHANGES = [
    *(remove, empty, link, dangle, folder_instead, open_to_others, raise_it, lower_it, respell, add_a_member),
    *(beyond_a_word, name_an_empty_slot),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("place", ["state.json", "floor"])
def test_records_are_judged_alike(
    two: Path,
    configure: Callable[..., None],
    release: Release,
    native: Native,
    place: str,
    change: Callable[[Path], None],
) -> None:
    configure()
    change(two / "tiny/state.json" if place == "state.json" else floor_path(two / "tiny"))
    path = release(2)
    python = answer(lambda: read_bundle(path).open(engine="fake").close())
    assert answer(lambda: native.open(path, engine=b"fake").close()) == python
    assert answer(lambda: native_good(native, two, read_bundle(path).sha256)) == python
    assert (python == "taken") is (change is name_an_empty_slot and place == "floor")


@pytest.mark.parametrize("kept", [FloorRecord(floor=2), FloorRecord(floor=0, withdrawn=(1,)), FloorRecord(floor=3)])
def test_cuts_between_two_writes_are_judged_alike(
    trial: Path, configure: Callable[..., None], release: Release, native: Native, kept: FloorRecord
) -> None:
    configure()
    write_floor(trial / "tiny", kept)
    path = release(2)
    python = answer(lambda: read_bundle(path).open(engine="fake").close())
    assert python == ("PE-INSTALL-008 4" if kept.floor == 3 else "taken")
    assert answer(lambda: native.open(path, engine=b"fake").close()) == python


def test_a_withdrawn_release_raises_no_floor(trial: Path, release: Release, native: Native) -> None:
    write_floor(trial / "tiny", FloorRecord(floor=1, withdrawn=(2,)))
    assert native_good(native, trial, read_bundle(release(2)).sha256) == 1
    assert not read_state(trial / "tiny").on_trial


def test_a_clock_that_goes_back_revives_no_key(
    root: Path, configure: Callable[..., None], release: Release, native: Native, tmp_path: Path
) -> None:
    public, _ = write_new_key(tmp_path / "maker.pem")
    path, last_day = release(1), date(2999, 5, 4)
    sign_bundle(path, file_signer(tmp_path / "maker.pem"), not_after=last_day)
    configure(more=f'[trust]\nkeys = ["{public}"]\n')
    root.mkdir()
    native.free(native.read(path))
    write_record(clock_path(root), ClockRecord(newest_day=date(2999, 5, 5)))
    for read in (lambda: read_bundle(path), lambda: native.read(path)):
        with pytest.raises(IntegrityError, match=r"PE-SIGN-009.*2999-05-05"):
            read()
    clock_path(root).write_bytes(b"{}")
    for read in (lambda: read_bundle(path), lambda: native.read(path)):
        with pytest.raises(IntegrityError, match="PE-INSTALL-004"):
            read()


def test_a_proof_keeps_the_day(trial: Path, release: Release, native: Native) -> None:
    clock_path(trial).unlink()
    native_good(native, trial, read_bundle(release(2)).sha256)
    data = clock_path(trial).read_bytes()
    clock_path(trial).unlink()
    clock.note_day(trial)
    assert clock_path(trial).read_bytes() == data
