"""The release floor: in two places, by whatever way a bundle is opened, lowered by a signed reset alone; the clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from update_device import Write, events, everything, running

from physedge_runtime import slots
from physedge_runtime.bundle import read_bundle
from physedge_runtime.device_config import DEVICE_VARIABLE
from physedge_runtime.errors import IntegrityError, PhysedgeError, UsageError
from physedge_runtime.install import install, update_good
from physedge_runtime.keys import TrustStore, read_public_key, write_new_key
from physedge_runtime.signing import file_signer, sign_bundle
from physedge_runtime.slots import SlotState, raise_floor, read_state, slot_path
from physedge_runtime.starting import start
from physedge_runtime.update import clock
from physedge_runtime.update.floor import FloorRecord, floor_path, read_floor, write_floor
from physedge_runtime.update.reset import apply_reset, write_reset


class TestTwoPlaces:
    """The floor stands in state.json and beside the folder; what disagrees is refused, and there is a way out."""

    def remove(self, path: Path) -> None:
        path.unlink()

    def empty(self, path: Path) -> None:
        path.write_bytes(b"")

    def link(self, path: Path) -> None:
        kept = path.with_name("kept")
        path.replace(kept)
        path.symlink_to(kept)

    def dangle(self, path: Path) -> None:
        path.unlink()
        path.symlink_to(path.with_name("absent"))

    def exchange(self, path: Path) -> None:
        path.unlink()
        path.mkdir()

    @pytest.mark.parametrize("change", ["remove", "empty", "link", "dangle", "exchange"])
    @pytest.mark.parametrize("place", ["state.json", "floor"])
    def test_one_that_was_changed_is_refused_and_mended(
        self, two: Path, place: str, change: str, release: Callable[[int], Path]
    ) -> None:
        path = two / "tiny/state.json" if place == "state.json" else floor_path(two / "tiny")
        getattr(self, change)(path)
        identifier = "PE-INSTALL-008" if change == "remove" else "PE-INSTALL-004"
        for action in (
            lambda: start(two),
            lambda: start(two, "tiny"),
            lambda: install(release(3), two),
            lambda: update_good(two, "tiny"),
        ):
            with pytest.raises(IntegrityError, match=identifier):
                action()
        if change == "exchange":
            path.rmdir()
        with pytest.raises(IntegrityError, match="PE-INSTALL-001"):
            install(release(1), two, mend=True)
        install(release(2), two, mend=True)
        assert running(two)[0] == 2
        assert read_state(two / "tiny").floor == 2
        assert "record begun anew" in events(two)

    @pytest.mark.parametrize("place", ["state.json", "floor"])
    def test_an_older_copy_is_refused(self, trial: Path, place: str) -> None:
        path = trial / "tiny/state.json" if place == "state.json" else floor_path(trial / "tiny")
        kept = path.read_bytes()
        update_good(trial, "tiny")
        install_three = read_state(trial / "tiny")
        assert install_three.floor == 2
        if place == "state.json":
            state = SlotState.model_validate_json(kept)
            kept = kept.replace(b'"on_trial":true', b'"on_trial":false')
            assert state.floor == 1
        path.write_bytes(kept)
        with pytest.raises(IntegrityError, match="PE-INSTALL-008"):
            start(trial)

    def test_both_lost_are_mended_from_the_log(self, two: Path, release: Callable[[int], Path]) -> None:
        (two / "tiny/state.json").write_bytes(b"")
        floor_path(two / "tiny").unlink()
        with pytest.raises(IntegrityError, match="PE-INSTALL-001"):
            install(release(1), two, mend=True)

    def test_a_cut_between_the_two_is_no_disagreement(self, trial: Path) -> None:
        folder = trial / "tiny"
        write_floor(folder, FloorRecord(floor=2))  # the first of the two writes of a proof
        assert (read_state(folder).floor, read_state(folder).on_trial) == (2, True)
        assert running(trial)[0] == 2
        assert update_good(trial, "tiny") == 2
        assert (folder / "state.json").read_bytes().count(b'"floor":2') == 1

    def test_others_may_not_change_the_second_place(self, two: Path) -> None:
        floor_path(two / "tiny").chmod(0o666)
        with pytest.raises(IntegrityError, match="PE-SIGN-004"):
            start(two)

    def test_a_record_that_names_a_slot_without_content(self, two: Path) -> None:
        path = two / "tiny/state.json"
        path.write_bytes(
            path.read_bytes().replace(
                b'"active":"b","floor":2,"on_trial":false,"previous":"a"',
                b'"active":"b","floor":2,"on_trial":false,"previous":"b"',
            )
        )
        with pytest.raises(IntegrityError, match="PE-INSTALL-004"):
            start(two)


class TestReset:
    @pytest.fixture
    def keys(self, tmp_path: Path) -> tuple[Path, Path]:
        write_new_key(tmp_path / "maker.pem")
        write_new_key(tmp_path / "other.pem")
        return tmp_path / "maker.pem", tmp_path / "other.pem"

    @pytest.fixture
    def wrong(self, root: Path, release: Callable[[int], Path]) -> Path:
        install(release(5), root)
        update_good(root, "tiny")
        install(release(20261130), root)
        update_good(root, "tiny")
        return root

    def made(self, path: Path, key: Path, **changes: object) -> Path:
        told = {"network": "tiny", "wrong": 20261130, "floor": 5, **changes}
        write_reset(path, file_signer(key), **told)  # type: ignore[arg-type]
        return path

    def test_it_lowers_the_floor_once(
        self, wrong: Path, keys: tuple[Path, Path], tmp_path: Path, release: Callable[[int], Path]
    ) -> None:
        public = keys[0].with_suffix(".pub")
        path = self.made(tmp_path / "x.reset", keys[0])
        assert apply_reset(path, wrong, trust=public) == ("tiny", 5)
        assert read_state(wrong / "tiny").floor == 5
        with pytest.raises(IntegrityError, match="PE-INSTALL-001"):
            install(release(4), wrong)
        with pytest.raises(IntegrityError, match=r"PE-INSTALL-001.*withdrawn"):
            install(release(20261130), wrong)
        assert running(wrong)[0] == 20261130  # what is wrong is its number
        install(release(6), wrong)
        assert update_good(wrong, "tiny") == 6
        # Where the newer one fails, the wrongly numbered one runs again, and its number raises nothing.
        slot_path(wrong / "tiny", read_state(wrong / "tiny").active or "a").unlink()
        assert running(wrong)[0] == 20261130
        assert update_good(wrong, "tiny") == 6
        with pytest.raises(IntegrityError, match=r"PE-INSTALL-011.*has the floor 6"):
            apply_reset(path, wrong, trust=public)
        assert "floor reset" in events(wrong)

    def test_it_is_used_up(self, wrong: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
        public = keys[0].with_suffix(".pub")
        path = self.made(tmp_path / "x.reset", keys[0])
        apply_reset(path, wrong, trust=public)
        folder = wrong / "tiny"
        kept = read_floor(folder)
        assert kept is not None
        state = read_state(folder).model_copy(update={"floor": 20261130})
        slots.write_state(folder, state, kept.model_copy(update={"floor": 20261130, "withdrawn": ()}))
        with pytest.raises(IntegrityError, match=r"PE-INSTALL-011.*applied here before"):
            apply_reset(path, wrong, trust=public)

    def test_a_cut_in_it_is_no_disagreement(self, wrong: Path) -> None:
        write_floor(wrong / "tiny", FloorRecord(floor=5, withdrawn=(20261130,)))
        assert read_state(wrong / "tiny").floor == 5

    @pytest.mark.parametrize("kind", ["key", "no key", "floor", "network", "expired", "bytes", "form", "revoked"])
    def test_what_is_not_right_lowers_nothing(
        self, wrong: Path, keys: tuple[Path, Path], tmp_path: Path, kind: str
    ) -> None:
        key = read_public_key(keys[0].with_suffix(".pub"))
        trust: TrustStore | None = TrustStore(keys=(key,))
        path, identifier = tmp_path / "x.reset", "PE-INSTALL-011"
        match kind:
            case "key":
                self.made(path, keys[1])
                identifier = "PE-SIGN-007"
            case "no key":
                self.made(path, keys[0])
                trust = None
            case "floor":
                self.made(path, keys[0], wrong=20261129)
            case "network":
                self.made(path, keys[0], network="large")
                identifier = "PE-INSTALL-005"
            case "expired":
                self.made(path, keys[0], not_after=date(2020, 1, 1))
                identifier = "PE-SIGN-009"
            case "bytes":
                self.made(path, keys[0])
                path.write_bytes(path.read_bytes().replace(b'"floor":5', b'"floor":0'))
                identifier = "PE-SIGN-008"
            case "form":
                self.made(path, keys[0])
                path.write_bytes(path.read_bytes() + b"\n")
            case "revoked":
                self.made(path, keys[0])
                trust = TrustStore(keys=(key,), revoked_keys=frozenset({key.key_id}))
                identifier = "PE-SIGN-010"
        before = everything(wrong)
        with pytest.raises(PhysedgeError, match=identifier):
            apply_reset(path, wrong, trust=trust)
        assert everything(wrong) == before

    def test_a_reset_only_lowers(self, keys: tuple[Path, Path], tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="PE-SIGN-015"):
            self.made(tmp_path / "x.reset", keys[0], floor=20261130)


class TestClock:
    def at(self, monkeypatch: pytest.MonkeyPatch, day: date) -> None:
        monkeypatch.setattr(clock, "machine_day", lambda: day)

    def test_a_clock_that_goes_back_revives_no_key(
        self, root: Path, release: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        public, _ = write_new_key(tmp_path / "maker.pem")
        path, last_day = release(1), date(2031, 5, 4)
        self.at(monkeypatch, last_day)
        sign_bundle(path, file_signer(tmp_path / "maker.pem"), not_after=last_day)
        install(path, root, trust=public)
        running(root, trust=public)
        self.at(monkeypatch, last_day + timedelta(days=1))
        with pytest.raises(IntegrityError, match="PE-SIGN-009"):
            start(root, trust=public)
        self.at(monkeypatch, date(1970, 1, 1))
        with pytest.raises(IntegrityError, match=r"PE-SIGN-009.*2031-05-05"):
            start(root, trust=public)

    def test_it_counts_wherever_a_bundle_is_read_on_a_device(
        self, root: Path, release: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        public, _ = write_new_key(tmp_path / "maker.pem")
        path = release(1)
        sign_bundle(path, file_signer(tmp_path / "maker.pem"), not_after=date(2031, 5, 4))
        (tmp_path / "device.toml").write_text(f'[trust]\nkeys = ["{public}"]\n[install]\nroot = "{root}"\n', "utf-8")
        monkeypatch.setenv(DEVICE_VARIABLE, str(tmp_path / "device.toml"))
        root.mkdir()
        assert read_bundle(path).trust.startswith("signed by maker")
        self.at(monkeypatch, date(2031, 5, 5))
        clock.note_day(root)
        self.at(monkeypatch, date(2026, 1, 1))
        clock.note_day(root)  # the newest one stays
        with pytest.raises(IntegrityError, match="PE-SIGN-009"):
            read_bundle(path)
        clock.clock_path(root).write_bytes(b"")
        with pytest.raises(IntegrityError, match="PE-INSTALL-004"):
            read_bundle(path)


class TestDevice:
    """On a device with a configuration the floor is looked at wherever a bundle is opened."""

    @pytest.fixture
    def configure(self, two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        def write(*allowed: str) -> None:
            options = ", ".join(f'"{name}"' for name in allowed)
            text = f'[install]\nroot = "{two}"\n[allow]\noptions = [{options}]\n'
            (tmp_path / "device.toml").write_text(text, encoding="utf-8")
            monkeypatch.setenv(DEVICE_VARIABLE, str(tmp_path / "device.toml"))

        return write

    def test_an_older_file_does_not_open(self, configure: Callable[..., None], release: Callable[[int], Path]) -> None:
        configure()
        with pytest.raises(IntegrityError, match=r"PE-INSTALL-001.*release 2 or newer"):
            read_bundle(release(1)).open()
        read_bundle(release(2)).open().close()

    def test_the_environment_does_not_move_the_floor(
        self, configure: Callable[..., None], release: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure()
        monkeypatch.setenv("XDG_STATE_HOME", "/nowhere")
        with pytest.raises(IntegrityError, match="PE-INSTALL-001"):
            read_bundle(release(1)).open()

    def test_a_place_that_is_not_named_is_not_the_environments(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from physedge_runtime.install import install_root

        (tmp_path / "device.toml").write_bytes(b"")
        monkeypatch.setenv(DEVICE_VARIABLE, str(tmp_path / "device.toml"))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        assert install_root() == Path("/var/lib/physedge")

    def test_another_place(
        self, configure: Callable[..., None], two: Path, tmp_path: Path, release: Callable[[int], Path]
    ) -> None:
        other = tmp_path / "other"
        configure()
        for action in (lambda: install(release(3), other), lambda: start(other, "tiny")):
            with pytest.raises(UsageError, match=r"PE-SIGN-016.*--root"):
                action()
        configure("root")
        install(release(3), other)
        with start(other).net as net:
            assert net.bundle_trust == f"unsigned; weakened by --root {other}"
        assert running(two)[0] == 2

    def test_going_back(self, configure: Callable[..., None], two: Path, release: Callable[[int], Path]) -> None:
        configure()
        with pytest.raises(UsageError, match=r"PE-SIGN-016.*--allow-rollback"):
            install(release(1), two, allow_rollback=True)
        configure("rollback")
        install(release(1), two, allow_rollback=True)
        with start(two).net as net:
            assert net.bundle_trust == "unsigned; weakened by release 1, below 2"

    def test_a_fall_back_below_the_floor(self, configure: Callable[..., None], two: Path) -> None:
        configure()
        slot_path(two / "tiny", "b").unlink()
        before = everything(two)
        with pytest.raises(IntegrityError, match="PE-INSTALL-007"):
            start(two)
        assert events(two)[-1] == "stays"
        assert {name for name, data in everything(two).items() if before[name] != data} == {"tiny/state.json"}
        assert read_state(two / "tiny").active == "b"
        configure("fall-back")
        with start(two).net as net:
            assert net.bundle_trust == "unsigned; weakened by fall-back to release 1, below 2"

    def test_a_rejected_bundle(self, configure: Callable[..., None], write_tiny: Write) -> None:
        from physedge_runtime.verdict import Verdict

        path = write_tiny("rejected", release=2, verdict=Verdict.REJECT)
        configure()
        with pytest.raises(UsageError, match=r"PE-SIGN-016.*--allow-rejected"):
            read_bundle(path).open(allow_rejected=True)
        configure("rejected")
        with read_bundle(path).open(allow_rejected=True) as net:
            assert net.bundle_trust == "unsigned; weakened by --allow-rejected"

    def test_a_trial_falls_back_within_the_floor(
        self, configure: Callable[..., None], two: Path, release: Callable[[int], Path]
    ) -> None:
        configure()
        install(release(3), two)
        slot_path(two / "tiny", "a").unlink()
        assert running(two)[:2] == (2, "b")


def test_the_floor_never_falls(root: Path, folder: Path, release: Callable[[int], Path]) -> None:
    install(release(5), root)
    update_good(root, "tiny")
    install(release(4), root, allow_rollback=True)
    assert raise_floor(folder, read_state(folder)).floor == 5
