"""The C++ core of a stream makes the decisions of the Python core: recorded traces, replayed call by call."""

from __future__ import annotations

import io
import json
import random
import subprocess
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from physedge_runtime.frame import Colour, Frame
from physedge_runtime.results import Reconstruction, Result, Segmentation, StageTimes, Trust, TrustState
from physedge_runtime.stream.clock import NS_PER_MS
from physedge_runtime.stream.events import EventKind
from physedge_runtime.stream.health import HealthLimits
from physedge_runtime.stream.look import look_at
from physedge_runtime.stream.record import RecordedCore
from physedge_runtime.stream.recording import MAGIC, Record, write_record
from physedge_runtime.stream.safety import EngineFault, SafetyLimits
from physedge_runtime.stream.slot import Drop

TRACES = 2000
CALLS = 40


class StraightWriter:
    """A recording without a thread: what a trace was told goes straight into the file."""

    failure = ""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def put(self, record: Record, pixels: NDArray[Any] | None = None) -> None:
        write_record(self._file, record, pixels)


class Trace:
    """One stream that lives through a few seconds of anything."""

    def __init__(self, generator: random.Random, pictures: list[NDArray[Any]], file: IO[bytes]) -> None:
        self.random, self.pictures = generator, pictures
        chance = generator.random
        live = chance() < 0.75
        policy = generator.choice(list(Drop))
        health = HealthLimits(good_frames=generator.randint(1, 4)) if live else HealthLimits.for_file()
        safety = SafetyLimits(
            max_age_ns=generator.choice([None, 300 * NS_PER_MS, 60 * NS_PER_MS]),
            deadline_ns=generator.choice([None, 50 * NS_PER_MS, 120 * NS_PER_MS]),
            hang_ns=generator.choice([5000, 400]) * NS_PER_MS,
            deadline_misses=generator.randint(1, 6),
            engine_errors=generator.randint(1, 3),
            not_finite=generator.randint(1, 3),
        )
        self.core = RecordedCore(
            StraightWriter(file),  # type: ignore[arg-type]
            policy=policy,
            health=health,
            safety=safety,
            period_ns=generator.choice([None, 33 * NS_PER_MS, 2_000 * NS_PER_MS]),
            engine="fake",
            area_limit=generator.choice([None, 0.8, 0.8, 0.3]),
        )
        self.share = generator.choice([0, 0.1, 0.5])
        self.now_ns = generator.choice([0, 10**6, 5 * 10**15])
        self.period_ns = generator.choice([8, 33, 33, 100, 500]) * NS_PER_MS
        self.next_id = 0
        self.taken: Frame | None = None
        self.picture = 0
        self.is_slow = chance() < 0.04  # so slow that every answer is too old
        self.is_steady = not self.is_slow and chance() < 0.1  # many answers are shown, one after the other
        if self.is_steady:
            self.period_ns = 33 * NS_PER_MS

    def live_on(self) -> None:
        weights = [30, 30, 30, 1, 0, 0, 1] if self.is_steady else [30, 22, 22, 22, 1, 0.3, 2]
        for _ in range(6 * CALLS if self.is_slow or self.is_steady else CALLS):
            step = self.random.choices(
                [self.frame, self.take, self.answer, self.tick, self.lost, self.fail, self.note], weights
            )[0]
            step()
            if self.random.random() < 0.97:
                self.core.drain()
        self.core.drain()

    def frame(self) -> None:
        chance = self.random.random
        self.now_ns += round(self.period_ns * self.random.choice([0.5, 1, 1, 1, 1.01, 3]))
        if not self.is_steady and chance() < 0.02:  # a clock that is none
            self.now_ns = max(0, self.now_ns - self.random.randint(1, 3000) * NS_PER_MS)
        if not self.core.has_room:
            return
        if self.is_steady or chance() < 0.7:  # a fit picture, another than the last
            self.picture = (self.picture + 1) % 6
        elif chance() < 0.5:
            self.picture = self.random.randrange(len(self.pictures))
        frame_id = self.next_id + (self.random.randint(-2, 4) if chance() < 0.1 else 0)
        captured_ns = self.now_ns - (self.random.randint(0, 80 * NS_PER_MS) if chance() < 0.4 else 0)
        if chance() < 0.03:
            captured_ns = self.now_ns + self.random.randint(1, 10**12)
        stamp_ns = None
        if chance() < 0.5:
            stamp_ns = captured_ns + self.random.choice([0, 10**6, -(10**7), 7 * 10**9 if chance() < 0.1 else 0])
        pixels = self.pictures[self.picture]
        colour = Colour.GREY if pixels.ndim == 2 else Colour.RGB
        frame = Frame(
            pixels=pixels,
            frame_id=max(0, frame_id),
            captured_ns=captured_ns,
            colour=colour,
            source_stamp_ns=stamp_ns,
            frozen_by_operator=chance() < 0.03,
        )
        self.next_id = max(self.next_id, frame.frame_id) + 1
        self.core.frame(frame, look_at(frame), self.now_ns)

    def take(self) -> None:
        if self.taken is None:
            self.taken = self.core.take(self.now_ns)

    def answer(self) -> None:
        if self.taken is None:
            return
        taken, self.taken = self.taken, None
        self.now_ns += (
            self.random.choice([400] if self.is_slow else [1, 10] if self.is_steady else [1, 10, 30, 70, 200])
            * NS_PER_MS
        )
        chance = self.random.random() if not self.is_slow else 1.0
        if self.is_steady:
            chance = 0.25 if chance < 0.3 else 1.0  # doubtful or good
        if chance < 0.12:
            self.core.answered(EngineFault("it broke", is_out_of_memory=chance < 0.01), self.now_ns)
            return
        state = TrustState.VOID if chance < 0.2 else TrustState.DOUBTFUL if chance < 0.3 else TrustState.OK
        trust = Trust(state=state, reason=self.random.choice(["", "entropy"]) if state is not TrustState.OK else "")
        frame_id = taken.frame_id + (1 if 0.3 < chance < 0.33 else 0)
        values = np.full((1, 1, 1), np.nan if 0.33 < chance < 0.42 else 0.5, np.float32)
        self.core.answered(self.result(frame_id, taken.captured_ns, trust, values), self.now_ns)

    def result(self, frame_id: int, captured_ns: int, trust: Trust, values: NDArray[np.float32]) -> Result:
        """Mostly a mask whose area wavers, and jumps now and then."""
        head: dict[str, Any] = {"frame_id": frame_id, "captured_ns": captured_ns, "age_ms": 0.0}
        head |= {"stages": StageTimes(), "trust": trust}
        if self.random.random() < 0.1:
            return Reconstruction(**head, image=values[0], unit="1")
        share = self.random.random() if self.random.random() < 0.2 else self.share
        mask = np.zeros((8, 9), np.uint8)
        mask.flat[: min(72, round(72 * share) + self.random.randint(0, 3))] = 1
        return Segmentation(**head, mask=mask, probability=values, classes=("", "lesion"), frame_shape=(8, 9))

    def tick(self) -> None:
        self.now_ns += self.random.choice([1, 5, 20, 120, 600, 11_000]) * NS_PER_MS
        self.core.tick(self.now_ns)

    def lost(self) -> None:
        self.core.lost("the cable is out", self.now_ns)

    def fail(self) -> None:
        self.core.fail("the disk is full", self.now_ns)

    def note(self) -> None:
        kind = self.random.choice(list(EventKind))
        for _ in range(self.random.choice([1, 1, 25])):
            self.core.note(kind, "said by the shell", self.now_ns)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thousands of traces in one file."""
    pictures: list[NDArray[Any]] = [
        np.random.default_rng(seed).integers(20, 240, (8, 9, 3), dtype=np.uint8) for seed in range(6)
    ]
    pictures += [np.zeros((8, 9, 3), np.uint8), np.full((8, 9, 3), 255, np.uint8)]
    pictures += [np.full((8, 9), 100, np.uint8), np.linspace(-1, 1, 7, dtype=np.float32), np.zeros(7, np.float32)]
    file = io.BytesIO()
    file.write(MAGIC)
    for seed in range(TRACES):
        Trace(random.Random(seed), pictures, file).live_on()
    path = tmp_path_factory.mktemp("traces") / "traces.physedge-raw"
    path.write_bytes(file.getvalue())
    return path


def replayed(native_build: Path, path: Path) -> tuple[int, dict[str, Any]]:
    done = subprocess.run([native_build / "physedge_replay", path], capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


@pytest.mark.requirement("REQ-NATIVE-DECISIONS")
def test_thousands_of_traces_lead_to_the_same_decisions(native_build: Path, recording: Path) -> None:
    status, report = replayed(native_build, recording)
    assert report["first_difference"] == ""
    assert (status, report["identical"], report["streams"]) == (0, True, TRACES)
    assert report["frames"] > 5 * TRACES
    assert report["decisions"] > 5 * TRACES


@pytest.mark.requirement("REQ-NATIVE-DECISIONS")
def test_the_traces_meet_every_state(recording: Path) -> None:
    """A comparison of what never happens would show nothing."""
    data = recording.read_bytes()
    for signal in ("LIVE", "STALE", "FROZEN", "BLACK", "SATURATED", "LOST", "RECOVERING"):
        assert data.count(f'"signal":"{signal}"'.encode()) > 50, signal
    for withdrawn in ("signal", "late", "old", "void", "not_finite", "engine", "other_frame", "safe_state"):
        assert data.count(f'"withdrawn":"{withdrawn}"'.encode()) > 20, withdrawn
    for drop in ("superseded", "queue_full", "source_gap", "overtaken"):
        assert data.count(f'"{drop}":'.encode()) > 20, drop
    for text in (
        b"lines like the last one",
        b"own clock jumped",
        b"lies",
        b"in a row were too old",
        b"has not come back",
        b'"trust":"doubtful the area left its running median (area 0.',
        b'"trust":"doubtful entropy; the area left its running median (area 0.',
    ):
        assert text in data, text


def test_a_decision_that_was_changed_is_named(native_build: Path, recording: Path, tmp_path: Path) -> None:
    data = recording.read_bytes()
    path = tmp_path / "changed.physedge-raw"
    path.write_bytes(data.replace(b'"signal":"STALE"', b'"signal":"STOLE"', 1))
    status, report = replayed(native_build, path)
    assert status == 4
    assert "was STOLE, is STALE" in report["first_difference"]


@pytest.mark.parametrize(
    "change", [lambda d: d[3:], lambda d: d[:8] + b"\xff" * 8 + d[16:], lambda d: d[:30] + b"}" + d[31:]]
)
def test_a_damaged_recording_is_refused(change: Any, native_build: Path, recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.physedge-raw"
    path.write_bytes(change(recording.read_bytes()[:100_000]))
    status, report = replayed(native_build, path)
    assert status == 4
    assert "PE-STREAM-006" in report["error"]


def test_a_recording_that_breaks_off_is_read_to_its_last_whole_record(
    native_build: Path, recording: Path, tmp_path: Path
) -> None:
    path = tmp_path / "short.physedge-raw"
    path.write_bytes(recording.read_bytes()[:50_001])
    assert replayed(native_build, path)[0] == 0
