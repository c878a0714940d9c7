"""Two slots, no way back, and one good slot at any instant."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import exhibits
import pytest

from physedge_runtime.bundle import read_bundle
from physedge_runtime.device_config import DEVICE_VARIABLE
from physedge_runtime.errors import GateFailed, IntegrityError, UsageError
from physedge_runtime.install import install, install_root, refuse_rollback, update_good
from physedge_runtime.keys import write_new_key
from physedge_runtime.net import Net
from physedge_runtime.signing import file_signer, sign_bundle
from physedge_runtime.slots import SlotState, locked, read_state, slot_path, write_state
from physedge_runtime.starting import start
from physedge_runtime.verdict import Verdict

Write = Callable[..., Path]
DRIVER = Path(__file__).parents[1] / "support/power_cut.py"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "device"


@pytest.fixture
def release(write_tiny: Write) -> Callable[[int], Path]:
    return lambda number: write_tiny(f"r{number}", release=number)


def running(root: Path) -> tuple[int, str, str]:
    started = start(root, engine="onnxruntime")
    with started.net:
        return started.bundle.manifest.release, started.slot, started.fell_back


def proved(root: Path) -> tuple[int, str, str]:
    """A start that live answers prove."""
    told = running(root)
    update_good(root, "tiny")
    return told


def log_events(root: Path) -> list[str]:
    lines = (root / "tiny/install.log").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["event"] for line in lines]


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.requirement("REQ-INSTALL-SLOTS")
def test_releases_take_the_slots_in_turn(root: Path, release: Callable[[int], Path]) -> None:
    first = install(release(1), root)
    assert (first.slot, first.replaced) == ("a", None)
    assert proved(root)[:2] == (1, "a")
    second = install(release(2), root)
    assert (second.slot, second.replaced) == ("b", 1)
    assert proved(root)[:2] == (2, "b")
    assert install(release(3), root).slot == "a"
    assert proved(root)[:2] == (3, "a")
    assert log_events(root) == ["installed", "proved"] * 3


@pytest.mark.requirement("REQ-INSTALL-POWER-CUT")
def test_a_power_cut_at_any_file_operation_leaves_one_good_slot(write_tiny: Write, tmp_path: Path) -> None:
    folder = tmp_path / "cuts"
    folder.mkdir()
    for number in (1, 2):
        write_tiny(str(number), release=number).replace(folder / f"{number}.physedge")
    ended = subprocess.run([sys.executable, str(DRIVER), str(folder)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    cuts = json.loads(ended.stdout)
    assert {cut["runs"] for cut in cuts} == {1, 2}
    assert all(cut["runs"] == cut["named"] for cut in cuts)
    assert [cut["runs"] for cut in cuts] == sorted(cut["runs"] for cut in cuts)
    assert all(cut["after_another_try"] == 2 and cut["leftovers"] == 0 for cut in cuts)
    kinds = Counter(cut["cut"] for cut in cuts)
    # Every file operation twice, before and after: slot, record, log, and the record and log of the first start.
    assert kinds["replace"] >= 8
    assert kinds["fsync"] >= 16
    assert kinds["write"] >= 10


@pytest.mark.requirement("REQ-INSTALL-NO-WAY-BACK")
def test_there_is_no_way_back_but_an_explicit_one(root: Path, release: Callable[[int], Path]) -> None:
    install(release(5), root)
    # Chosen but not started yet: an older one is refused already.
    with pytest.raises(IntegrityError, match=r"PE-INSTALL-001.*release 4.*release 5 or newer"):
        install(release(4), root)
    assert proved(root)[0] == 5
    with pytest.raises(IntegrityError, match="PE-INSTALL-001"):
        refuse_rollback(read_bundle(release(4)), root, allow_rollback=False)
    done = install(release(4), root, allow_rollback=True)
    assert done.is_rollback
    assert running(root)[0] == 4
    assert "rollback allowed" in log_events(root)
    # The floor has not moved.
    with pytest.raises(IntegrityError, match="PE-INSTALL-001"):
        install(release(3), root)
    assert read_state(root / "tiny").floor == 5
    assert not install(release(5), root).is_rollback


def test_the_same_release_may_be_installed_again(root: Path, release: Callable[[int], Path]) -> None:
    install(release(1), root)
    install(release(1), root)
    assert running(root)[0] == 1


@pytest.mark.requirement("REQ-INSTALL-FALL-BACK")
def test_a_slot_that_does_not_start_gives_way_to_the_one_before(root: Path, release: Callable[[int], Path]) -> None:
    install(release(1), root)
    proved(root)
    install(release(2), root)
    spoil(slot_path(root / "tiny", "b"))
    found, slot, reason = running(root)
    assert (found, slot) == (1, "a")
    assert "PE-INSTALL-007" in reason
    assert running(root) == (1, "a", "")
    assert log_events(root)[-1] == "fell back"
    # The maker's next release goes into the slot that failed.
    assert install(release(3), root).slot == "b"
    assert running(root)[0] == 3


def test_a_slot_that_decays_later_gives_way_too(root: Path, release: Callable[[int], Path]) -> None:
    for number in (1, 2):
        install(release(number), root)
        proved(root)
    slot_path(root / "tiny", "b").unlink()
    assert running(root)[:2] == (1, "a")
    slot_path(root / "tiny", "a").unlink()
    with pytest.raises(IntegrityError, match="PE-INSTALL-007"):
        start(root)


def test_another_valid_bundle_in_the_slot_is_not_what_was_installed(root: Path, release: Callable[[int], Path]) -> None:
    install(release(2), root)
    proved(root)
    slot_path(root / "tiny", "a").write_bytes(release(1).read_bytes())
    with pytest.raises(IntegrityError, match="PE-INSTALL-007"):
        start(root)


def test_a_slot_that_kills_its_process_is_given_up(
    root: Path, release: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(release(1), root)
    proved(root)
    install(release(2), root)

    class Killed(BaseException):
        """Stands for a crash in native code: nothing of ours runs any more."""

    with monkeypatch.context() as patch:

        def crash(*_: object) -> object:
            raise Killed

        patch.setattr(Net, "replay_golden", crash)
        for _ in range(3):
            with pytest.raises(Killed):
                start(root)
    found, slot, reason = running(root)
    assert (found, slot) == (1, "a")
    assert "PE-INSTALL-006" in reason


def test_the_proven_slot_is_never_the_one_that_is_overwritten(root: Path, release: Callable[[int], Path]) -> None:
    install(release(1), root)
    proved(root)
    install(release(2), root)
    assert install(release(3), root).slot == "b"
    spoil(slot_path(root / "tiny", "b"))
    assert running(root)[:2] == (1, "a")


def test_golden_frames_that_do_not_come_out_change_nothing(
    root: Path, release: Callable[[int], Path], write_tiny: Write
) -> None:
    from tiny_network import tiny_graph

    install(release(1), root)
    proved(root)
    before = read_state(root / "tiny")
    wrong = write_tiny("wrong", release=2, contents={"model.onnx": tiny_graph(bias=1.0)})
    with pytest.raises(IntegrityError, match="PE-BUNDLE-020"):
        install(wrong, root)
    with pytest.raises(GateFailed, match="PE-BUNDLE-012"):
        install(write_tiny("rejected", release=2, verdict=Verdict.REJECT), root)
    assert read_state(root / "tiny") == before
    assert not slot_path(root / "tiny", "b").exists()
    assert running(root)[0] == 1


def test_the_signature_counts_at_installation_and_at_every_start(
    root: Path, release: Callable[[int], Path], tmp_path: Path
) -> None:
    public, _ = write_new_key(tmp_path / "maker.pem")
    path = release(1)
    with pytest.raises(IntegrityError, match="PE-SIGN-005"):
        install(path, root, trust=public)
    assert not root.exists()
    sign_bundle(path, file_signer(tmp_path / "maker.pem"), release=7)
    assert install(path, root, trust=public).bundle.manifest.release == 7
    with start(root, trust=public).net as net:
        assert net.bundle_trust.startswith("signed by maker")
    stranger, _ = write_new_key(tmp_path / "stranger.pem")
    with pytest.raises(IntegrityError, match="PE-SIGN-007"):
        start(root, trust=stranger)


def test_the_slot_in_use_is_not_overwritten(root: Path, release: Callable[[int], Path]) -> None:
    install(release(1), root, slot="b")
    with pytest.raises(UsageError, match="PE-INSTALL-003"):
        install(release(2), root, slot="b")
    assert install(release(2), root, slot="a").slot == "a"


def test_two_at_a_time_are_refused(root: Path, release: Callable[[int], Path]) -> None:
    with locked(root / "tiny"), pytest.raises(UsageError, match=r"PE-INSTALL-002.*another process"):
        install(release(1), root)
    (root / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="PE-INSTALL-002"):
        install(release(1), root / "file")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"active": "c"}', b"\xff", b"x" * 70000])
def test_a_record_that_cannot_be_used_is_not_forgotten(
    root: Path, release: Callable[[int], Path], content: bytes
) -> None:
    install(release(1), root)
    (root / "tiny/state.json").write_bytes(content)
    for action in (lambda: install(release(2), root), lambda: start(root)):
        with pytest.raises(IntegrityError, match="PE-INSTALL-004"):
            action()


def test_others_may_not_change_the_record(root: Path, release: Callable[[int], Path]) -> None:
    install(release(1), root)
    (root / "tiny/state.json").chmod(0o666)
    with pytest.raises(IntegrityError, match="PE-SIGN-004"):
        start(root)


def test_what_is_not_installed_is_said(root: Path, release: Callable[[int], Path]) -> None:
    with pytest.raises(UsageError, match="PE-INSTALL-005"):
        start(root)
    with pytest.raises(UsageError, match="PE-INSTALL-005"):
        start(root, "tiny")
    install(release(1), root)
    (root / "other").mkdir()
    write_state(root / "other", SlotState())
    with pytest.raises(UsageError, match=r"PE-INSTALL-005.*other, tiny"):
        start(root)


def test_a_lie_about_an_engine_is_no_reason_to_fall_back(root: Path, release: Callable[[int], Path]) -> None:
    for number in (1, 2):
        install(release(number), root)
        proved(root)
    with pytest.raises(UsageError):
        start(root, engine="conjured")
    assert running(root)[:2] == (2, "b")


def test_where_bundles_are_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert install_root() == tmp_path / "state/physedge"
    (tmp_path / "device.toml").write_text('[install]\nroot = "var"\n', encoding="utf-8")
    monkeypatch.setenv(DEVICE_VARIABLE, str(tmp_path / "device.toml"))
    assert install_root() == tmp_path / "var"
    monkeypatch.delenv(DEVICE_VARIABLE)
    assert install_root(tmp_path / "named") == tmp_path / "named"


def test_the_log_stays_bounded(root: Path, release: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from physedge_runtime import slots

    monkeypatch.setattr(slots, "_LARGEST_LOG_BYTES", 10)
    install(release(1), root)
    install(release(2), root)
    assert sorted(path.name for path in (root / "tiny").glob("install.log*")) == ["install.log", "install.log.1"]


def test_a_release_that_computes_otherwise_does_not_start_where_that_is_asked(root: Path, tmp_path: Path) -> None:
    install(exhibits.reduced(tmp_path / "good.physedge"), root)
    with start(root, engine="onnxruntime", only_as_exported=True).net as net:
        assert net.computes_as_exported is True
    install(exhibits.reduced(tmp_path / "odd.physedge", bias=0.02), root)
    started = start(root, engine="onnxruntime", only_as_exported=True)
    with started.net as net:
        assert net.computes_as_exported is True
    assert "PE-BUNDLE-020" in started.fell_back
