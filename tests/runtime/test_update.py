"""What an update may and may not do to a device: what counts against a release, what proves it."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from other_user import as_nobody, needs_root
from update_device import Write, events, everything, opened, running

from physedge_runtime import slots
from physedge_runtime.bundle import Bundle, read_bundle
from physedge_runtime.device_config import DEVICE_VARIABLE
from physedge_runtime.errors import EnvironmentFault, IntegrityError, PhysedgeError, UsageError
from physedge_runtime.frame import Frame
from physedge_runtime.install import install, update_ended, update_good
from physedge_runtime.keys import TrustedKey, TrustStore, read_public_key, write_new_key
from physedge_runtime.net import Net
from physedge_runtime.results import Result, Signal, StageTimes
from physedge_runtime.signing import file_signer, sign_bundle
from physedge_runtime.slots import SlotState, read_state, slot_path
from physedge_runtime.starting import start
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo
from physedge_runtime.update.proving import ProvingSink


@pytest.fixture
def break_release(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, Exception | None], None]]:
    """Makes the golden frames of one release fail, or come out again."""
    failures: dict[int, Exception] = {}
    replay = Net.replay_golden

    def failing(self: Net, bundle: Bundle) -> object:
        if bundle.manifest.release in failures:
            raise failures[bundle.manifest.release]
        return replay(self, bundle)

    def choose(number: int, error: Exception | None) -> None:
        failures.pop(number, None)
        if error is not None:
            failures[number] = error

    monkeypatch.setattr(Net, "replay_golden", failing)
    yield choose


WRONG = IntegrityError("PE-BUNDLE-020", found="a wrong answer", expected="the right one", next_step="look")


class TestWhatAFailureIsAbout:
    """An option, a key, the clock or a package change no record; what fails by itself counts."""

    @pytest.fixture
    def signed(self, root: Path, release: Callable[[int], Path], tmp_path: Path) -> Path:
        public, _ = write_new_key(tmp_path / "maker.pem")
        for number in (1, 2):
            path = release(number)
            sign_bundle(path, file_signer(tmp_path / "maker.pem"))
            install(path, root, trust=public)
            running(root, trust=public)
            update_good(root, "tiny")
        return public

    def test_another_key(self, root: Path, signed: Path, tmp_path: Path) -> None:
        stranger, _ = write_new_key(tmp_path / "stranger.pem")
        before = everything(root)
        with pytest.raises(IntegrityError, match="PE-SIGN-007"):
            start(root, trust=stranger)
        assert everything(root) == before
        assert running(root, trust=signed)[:2] == (2, "b")

    def test_an_expired_and_a_revoked_key(self, root: Path, signed: Path) -> None:
        key = read_public_key(signed)
        before = everything(root)
        old = TrustedKey(name="maker", public=key.public, not_after=date(2020, 1, 1))
        for identifier, store in {
            "PE-SIGN-009": TrustStore(keys=(old,)),
            "PE-SIGN-010": TrustStore(keys=(key,), revoked_keys=frozenset({key.key_id})),
        }.items():
            with pytest.raises(IntegrityError, match=identifier):
                start(root, trust=store)
        assert everything(root) == before

    @pytest.mark.parametrize("engine", ["tensorrt", "conjured"])
    def test_another_engine(self, two: Path, engine: str) -> None:
        before = everything(two)
        with pytest.raises(PhysedgeError):
            start(two, engine=engine)
        assert everything(two) == before
        assert running(two)[:2] == (2, "b")

    def test_a_package_that_is_missing(self, two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from physedge_runtime import net
        from physedge_runtime.errors import missing_extra

        def missing(*_: object) -> object:
            raise missing_extra("onnxruntime", "export")

        before = everything(two)
        with monkeypatch.context() as patch:
            patch.setattr(net, "open_engine", missing)
            with pytest.raises(EnvironmentFault):
                start(two)
        assert everything(two) == before

    def test_an_option_that_a_new_release_does_not_take_is_no_failed_start(
        self, trial: Path, break_release: Callable[[int, Exception | None], None]
    ) -> None:
        break_release(2, WRONG)
        before = everything(trial)
        for _ in range(4):
            assert running(trial, engine="onnxruntime")[:2] == (1, "a")
        assert everything(trial) == before

    def test_what_fails_by_itself_is_left_after_three_times_in_a_row(
        self, two: Path, break_release: Callable[[int, Exception | None], None]
    ) -> None:
        break_release(2, WRONG)
        assert [running(two)[0] for _ in range(2)] == [1, 1]
        assert read_state(two / "tiny").active == "b"
        break_release(2, None)
        assert running(two) == (2, "b", "")
        break_release(2, WRONG)
        assert [running(two)[0] for _ in range(2)] == [1, 1]
        assert read_state(two / "tiny").active == "b"
        assert running(two)[0] == 1
        assert read_state(two / "tiny").active == "a"
        assert events(two)[-1] == "fell back"
        assert events(two).count("fell back for this start") == 4

    def test_a_disk_that_cannot_be_read_counts_and_the_other_slot_runs(
        self, two: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = Path.read_bytes

        def failing(path: Path) -> bytes:
            if path.name == "b.physedge":
                raise OSError(errno.EIO, "Input/output error")
            return read(path)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", failing)
            assert running(two)[:2] == (1, "a")
        assert read_state(two / "tiny").starts == 1
        assert running(two) == (2, "b", "")
        assert read_state(two / "tiny").starts == 0

    def test_the_floor_outlives_a_fall_back(self, two: Path, release: Callable[[int], Path]) -> None:
        slot_path(two / "tiny", "b").unlink()
        assert running(two)[:2] == (1, "a")
        assert read_state(two / "tiny").floor == 2
        with pytest.raises(IntegrityError, match="PE-INSTALL-001"):
            install(release(1), two)

    def test_what_runs_below_the_floor_says_so_in_every_result(self, two: Path) -> None:
        slot_path(two / "tiny", "b").unlink()
        with start(two).net as net:
            told = net.infer(np.zeros((8, 8, 3), np.uint8)).bundle_trust
        assert told == "unsigned; weakened by fall-back to release 1, below 2"
        with start(two).net as net:
            assert net.bundle_trust == "unsigned; weakened by release 1, below 2"


class TestProof:
    """A golden frame that comes out proves nothing; live answers do."""

    def test_a_start_alone_raises_no_floor(self, root: Path, folder: Path, release: Callable[[int], Path]) -> None:
        install(release(5), root)
        assert opened(root).on_trial
        state = read_state(folder)
        assert (state.on_trial, state.floor, state.starts) == (True, 0, 1)
        assert update_good(root, "tiny") == 5
        state = read_state(folder)
        assert (state.on_trial, state.floor, state.starts) == (False, 5, 0)
        assert not opened(root).on_trial
        assert update_good(root, "tiny") == 5
        assert events(root) == ["installed", "proved"]

    def test_only_what_has_answered_is_proven(self, trial: Path, release: Callable[[int], Path]) -> None:
        with pytest.raises(IntegrityError, match="PE-INSTALL-012"):
            update_good(trial, "tiny", sha256=read_bundle(release(1)).sha256)
        assert read_state(trial / "tiny").floor == 1
        assert update_good(trial, "tiny", sha256=read_bundle(release(2)).sha256) == 2

    def test_a_release_that_never_proves_itself_is_left(self, trial: Path) -> None:
        assert [running(trial)[0] for _ in range(4)] == [2, 2, 2, 1]
        assert read_state(trial / "tiny") == SlotState(
            active="a", floor=1, slots={"a": read_state(trial / "tiny").slots["a"]}
        )

    def test_a_start_that_ended_before_it_could_prove_anything_does_not_count(self, trial: Path) -> None:
        for _ in range(5):
            started = opened(trial)
            assert started.slot == "b"
            update_ended(trial, "tiny", sha256=started.bundle.sha256)
        assert read_state(trial / "tiny").starts == 0
        update_ended(trial, "tiny", sha256="0" * 64)

    def test_an_unproven_release_before_stays_unproven(self, root: Path, release: Callable[[int], Path]) -> None:
        install(release(1), root)
        install(release(2), root)
        slot_path(root / "tiny", "b").unlink()
        assert running(root)[0] == 1
        assert read_state(root / "tiny").on_trial

    INFO = StreamInfo(source="x", live=True, period_ns=None, engine="e")

    def item(self, second: float, *, answered: bool = True, signal: Signal = Signal.LIVE) -> StreamedFrame:
        at_ns = int(second * 1e9)
        result = Result(frame_id=0, captured_ns=at_ns, age_ms=0.0, stages=StageTimes()) if answered else None
        frame = Frame(pixels=np.zeros((2, 2), np.uint8), captured_ns=at_ns)
        return StreamedFrame(frame=frame, result=result, signal=signal, captured_ns=at_ns, at_ns=at_ns, age_ms=0.0)

    def test_enough_live_answers_over_enough_time(self) -> None:
        calls: list[int] = []
        sink = ProvingSink(lambda: calls.append(1), answers=5, seconds=2.0)
        sink.open(self.INFO)
        for number in range(6):  # many, in a short time
            sink.write(self.item(number / 10))
        assert not calls
        assert not sink.had_its_chance
        sink.write(self.item(2.0))
        assert calls == [1]
        assert sink.is_proven
        sink.write(self.item(3.0))
        assert calls == [1]

    def test_a_few_answers_over_a_long_time_are_not_enough(self) -> None:
        sink = ProvingSink(lambda: None, answers=5, seconds=2.0)
        sink.open(self.INFO)
        for second in range(4):
            sink.write(self.item(10.0 * second))
        assert not sink.is_proven

    @pytest.mark.parametrize("withheld", ["answer", "signal", "live"])
    def test_what_is_not_shown_or_not_live_proves_nothing(self, withheld: str) -> None:
        sink = ProvingSink(lambda: None, answers=5, seconds=2.0)
        sink.open(StreamInfo(source="x", live=withheld != "live", period_ns=None, engine="e"))
        for second in range(20):
            signal = Signal.FROZEN if withheld == "signal" else Signal.LIVE
            sink.write(self.item(second, answered=withheld != "answer", signal=signal))
        assert not sink.is_proven
        # A good release would have been proven by these pictures: the start counts against this one.
        assert sink.had_its_chance is (withheld == "answer")

    def test_a_record_that_cannot_be_written_does_not_end_the_stream(self) -> None:
        def full() -> None:
            raise OSError(errno.ENOSPC, "no space")

        sink = ProvingSink(full, answers=1, seconds=0.0)
        sink.open(self.INFO)
        sink.write(self.item(0.0))
        assert not sink.is_proven


class TestWhereNothingCanBeWritten:
    @pytest.fixture
    def shared(self, tmp_path: Path, release: Callable[[int], Path]) -> Iterator[Path]:
        """A place that every user can read and only its owner may write to."""
        import tempfile

        with tempfile.TemporaryDirectory() as name:
            Path(name).chmod(0o755)
            for number in (1, 2):
                shutil.copy(release(number), Path(name) / f"{number}.physedge")
            yield Path(name)

    def start_as_operator(self, root: Path) -> list[str]:
        told = as_nobody(
            "from pathlib import Path\nfrom physedge_runtime.starting import start\n"
            "from physedge_runtime.bundle import read_bundle\n"
            "read_bundle(Path(sys.argv[2])).open(engine='fake').close()  # all that is imported late",
            "started = start(Path(sys.argv[1]), 'tiny', engine='fake')\n"
            "print(started.bundle.manifest.release, started.slot, started.fell_back[:14])",
            root,
            root.parent / "1.physedge",
        )
        return told.split()

    @needs_root
    def test_an_operator_runs_what_the_installer_installed(self, shared: Path) -> None:
        root = shared / "root"
        install(shared / "1.physedge", root, engine="fake")
        before = everything(root)
        assert self.start_as_operator(root) == ["1", "a"]  # on trial, and nothing else is there
        update_good(root, "tiny")
        assert self.start_as_operator(root) == ["1", "a"]
        install(shared / "2.physedge", root, engine="fake")
        assert self.start_as_operator(root) == ["1", "a", "PE-INSTALL-010"]
        update_good(root, "tiny")
        assert self.start_as_operator(root) == ["2", "b"]
        assert before.keys() <= everything(root).keys()

    @needs_root
    def test_an_operator_changes_nothing(self, shared: Path) -> None:
        root = shared / "root"
        for number in (1, 2):
            install(shared / f"{number}.physedge", root, engine="fake")
        before = everything(root)
        self.start_as_operator(root)
        assert everything(root) == before
        told = as_nobody(
            "from pathlib import Path\nfrom physedge_runtime.install import update_good\n"
            "from physedge_runtime.errors import PhysedgeError",
            "try:\n    update_good(Path(sys.argv[1]), 'tiny')\n"
            "except PhysedgeError as error:\n    print(error.identifier)",
            root,
        )
        assert told == "PE-INSTALL-002"

    def full(self, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def test_a_full_disk_before_a_first_start_starts_the_good_slot(
        self, trial: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(slots, "write_record", self.full)
            patch.setattr("physedge_runtime.starting.log", self.full)
            release, slot, why = running(trial)
        assert (release, slot) == (1, "a")
        assert "PE-INSTALL-010" in why
        assert running(trial)[:2] == (2, "b")

    def test_a_full_disk_before_the_very_first_start(
        self, root: Path, release: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install(release(1), root)
        monkeypatch.setattr(slots, "write_record", self.full)
        assert running(root)[:2] == (1, "a")

    def test_a_proven_slot_starts_without_a_write(self, two: Path) -> None:
        before = {path: path.stat().st_mtime_ns for path in two.rglob("*") if path.is_file()}
        running(two)
        assert {path: path.stat().st_mtime_ns for path in two.rglob("*") if path.is_file()} == before

    def test_a_full_disk_ends_an_installation_in_one_sentence(
        self, two: Path, release: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = everything(two)
        monkeypatch.setattr("physedge_runtime.install.write_atomically", self.full)
        with pytest.raises(UsageError, match=r"PE-INSTALL-002.*No space left"):
            install(release(3), two)
        assert everything(two) == before


class TestInstallation:
    def test_a_refused_one_leaves_the_spare_slot_alone(self, two: Path, write_tiny: Write) -> None:
        from tiny_network import tiny_graph

        wrong = write_tiny("wrong", release=3, contents={"model.onnx": tiny_graph(bias=1.0)})
        before = everything(two)
        with pytest.raises(IntegrityError, match="PE-BUNDLE-020"):
            install(wrong, two)
        assert everything(two) == before
        slot_path(two / "tiny", "b").unlink()
        assert running(two)[:2] == (1, "a")

    def test_a_refused_one_does_not_end_a_trial(self, trial: Path, write_tiny: Write) -> None:
        from tiny_network import tiny_graph

        before = everything(trial)
        wrong = write_tiny("wrong", release=3, contents={"model.onnx": tiny_graph(bias=1.0)})
        with pytest.raises(IntegrityError, match="PE-BUNDLE-020"):
            install(wrong, trial)
        assert everything(trial) == before

    def test_what_was_written_is_read_back(
        self, two: Path, release: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other, before = release(4).read_bytes(), everything(two)
        monkeypatch.setattr("physedge_runtime.install.write_atomically", lambda path, _: path.write_bytes(other))
        with pytest.raises(IntegrityError, match="PE-INSTALL-007"):
            install(release(3), two)
        assert everything(two) == before

    def test_a_step_that_is_too_long(
        self, two: Path, release: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(IntegrityError, match=r"PE-INSTALL-009.*release 20261130.*at most 100 more"):
            install(release(20261130), two, max_step=100)
        (tmp_path / "device.toml").write_text(f'[install]\nroot = "{two}"\nmax_step = 5\n', encoding="utf-8")
        monkeypatch.setenv(DEVICE_VARIABLE, str(tmp_path / "device.toml"))
        with pytest.raises(IntegrityError, match=r"PE-INSTALL-009.*at most 5 more"):
            install(release(8), two, max_step=100)
        install(release(7), two)

    @pytest.mark.parametrize("name", ["/etc", "../device", "Tiny", "", ".", "tiny/../tiny"])
    def test_a_name_is_never_a_path(self, two: Path, name: str) -> None:
        with pytest.raises(UsageError, match="PE-INSTALL-005"):
            start(two, name)
