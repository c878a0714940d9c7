"""What a synthetic data set is made from, and what came out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from physedge.data.scene_files import SequenceJob
from physedge.physics.scenes import SCENES
from physedge_runtime.errors import UsageError

LONGEST_VIDEO_FRAMES = 300

# Scene numbers of one --seed; the film of the video is taken from the far end of them.
_SCENES_PER_SEED = 2**20
_VIDEO_CANDIDATES = 16
# Frames of a film that are kept, 1/5 s apart: neighbours at 30 frames a second teach a network nothing new.
_FRAME_STRIDE = 6
_PREFIXES = {"ultrasound": "us", "endoscopy": "endo"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisRequest:
    """What a data set is made from; two equal requests give the same bytes.

    Attributes:
        kind: A key of the table of scenes.
        frames: Frames in both splits together.
        seed: Chooses the scenes; two seeds share none.
        val_fraction: Share of the scenes that validate, 0 to 0.9.
        sequence_length: Frames kept of each scene's film.
        height_px: Picture height, even.
        width_px: Picture width, even.
        video: Whether a video is made too.
    """

    kind: str
    frames: int
    seed: int
    val_fraction: float
    sequence_length: int
    height_px: int
    width_px: int
    video: bool

    def __post_init__(self) -> None:
        if self.kind not in SCENES:
            raise UsageError(
                "PE-SYNTH-001",
                found=f"there is no scene '{self.kind}'",
                expected=f"one of {', '.join(SCENES)}",
                next_step="name one of these",
            )
        _expect(1 <= self.frames < _SCENES_PER_SEED // 2, "frames", self.frames, "1 to 524287")
        _expect(0 <= self.seed < 2**40, "seed", self.seed, "0 to 2^40 - 1")
        _expect(0.0 <= self.val_fraction <= 0.9, "val_fraction", self.val_fraction, "0 to 0.9")
        _expect(self.sequence_length >= 1, "sequence_length", self.sequence_length, "1 or more")
        for name, size in (("height", self.height_px), ("width", self.width_px)):
            _expect(64 <= size <= 4096 and size % 2 == 0, name, size, "an even number of pixels, 64 to 4096")

    @property
    def video_frames(self) -> int:
        """Frames of the video: as many as the data set has, at most 300; 0 without a video."""
        return min(self.frames, LONGEST_VIDEO_FRAMES) if self.video else 0

    def scene_seed(self, number: int) -> int:
        """Seed of a scene: pairs of (seed, number) never meet, since numbers stay below their stride."""
        return self.seed * _SCENES_PER_SEED + number

    def video_seeds(self) -> list[int]:
        """Seeds of the scenes that may be filmed; none of them stands in a split."""
        return [self.scene_seed(_SCENES_PER_SEED - 1 - number) for number in range(_VIDEO_CANDIDATES)]

    def jobs(self, out: Path) -> Iterator[SequenceJob]:
        """The sequences of both splits, in order; validation scenes are spread evenly among the others."""
        # Two sequences at least, so that both splits have one.
        length = min(self.sequence_length, -(-self.frames // 2))
        count = -(-self.frames // length)
        validating = min(max(round(count * self.val_fraction), 1), count - 1) if self.val_fraction else 0
        val = {int((place + 0.5) * count / validating) for place in range(validating)}
        for number in range(count):
            yield SequenceJob(
                kind=self.kind,
                scene_seed=self.scene_seed(number),
                name=f"{_PREFIXES.get(self.kind, self.kind)}_s{number:04d}",
                folder=out / ("val" if number in val else "train"),
                indices=tuple(_FRAME_STRIDE * step for step in range(min(length, self.frames - number * length))),
                height_px=self.height_px,
                width_px=self.width_px,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisSummary:
    """What stands in the folder.

    Attributes:
        out: The data set's root.
        request: What it was made from.
        train_frames: Frames in `train/`.
        val_frames: Frames in `val/`.
        scenes: Scenes in both.
        frames_without_lesion: Frames of both whose mask is empty.
        video: The video, None where none was asked for.
        video_frames: Its frames.
        reused: The folder already held exactly this data set; nothing was written.
    """

    out: Path
    request: SynthesisRequest
    train_frames: int
    val_frames: int
    scenes: int
    frames_without_lesion: int
    video: Path | None
    video_frames: int
    reused: bool


def _expect(holds: bool, name: str, value: float, expected: str) -> None:
    if not holds:
        raise UsageError(
            "PE-SYNTH-002",
            found=f"{name} is {value}",
            expected=expected,
            next_step="change the number",
        )
