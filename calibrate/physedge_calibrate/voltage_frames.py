"""Voltages with the image that is true of them, on disk: `.npz` parts of many samples each. Nothing of torch.

DIR/voltages.json          the declared form of the voltages
DIR/train/part_00000.npz   voltages float32 (sample, 2, voltage), images float16 (sample, height, width), and
DIR/val/part_00000.npz     numbers int64 (sample,), bodies int64 (sample,): the samples of one body stay together
"""

from __future__ import annotations

import functools
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import UsageError
from physedge_runtime.frame import VoltageSpec

PARTS = "part_*.npz"
DECLARATION = "voltages.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class VoltagePart:
    """The samples of one file.

    Attributes:
        voltages: float32 (sample, 2, voltage): reference and frame.
        images: float16 (sample, height, width): ln of the conductivity's change.
        numbers: int64 (sample,): of the sample in its set.
        bodies: int64 (sample,): of the body it was measured on.
    """

    voltages: NDArray[np.float32]
    images: NDArray[np.float16]
    numbers: NDArray[np.int64]
    bodies: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class VoltageSample:
    """A measurement whose image is known.

    Attributes:
        image_path: The file that holds it, with others.
        place: In the file.
        name: For people and reports.
        group: The body; its samples share electrodes and reference.
        stratum: Empty: there is one kind only.
    """

    image_path: Path
    place: int
    name: str
    group: str
    stratum: str = ""

    def picture(self) -> NDArray[np.float32]:
        """float32 (2, voltage): reference and frame."""
        voltages: NDArray[np.float32] = read_part(self.image_path).voltages[self.place]
        return voltages

    def truth(self) -> NDArray[np.float32]:
        """float32 (height, width)."""
        image: NDArray[np.float32] = read_part(self.image_path).images[self.place].astype(np.float32)
        return image


@functools.lru_cache(maxsize=64)
def read_part(path: Path) -> VoltagePart:
    """Read a file; the last ones are kept.

    Raises:
        UsageError: It is damaged or holds something else (`PE-DATA-021`).
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("voltages", "images", "numbers", "bodies")}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, str(error)) from error
    count = len(arrays["voltages"])
    if arrays["voltages"].ndim != 3 or arrays["images"].ndim != 3 or any(len(a) != count for a in arrays.values()):
        raise _damaged(path, "its arrays do not belong together")
    return VoltagePart(**arrays)


def write_part(path: Path, part: VoltagePart) -> None:
    """Write a file whole or not at all; the same samples give the same bytes."""
    scratch = path.with_name(f".{path.name}")
    with scratch.open("wb") as stream:
        np.savez(stream, voltages=part.voltages, images=part.images, numbers=part.numbers, bodies=part.bodies)
    scratch.replace(path)


def read_voltage_samples(folder: Path, spec: VoltageSpec) -> list[VoltageSample]:
    """Every sample of a folder, in order.

    Args:
        folder: Holds the parts.
        spec: What the network takes in; the samples must be of this form.

    Raises:
        UsageError: No such folder or no part in it (`PE-DATA-020`), a damaged part (`PE-DATA-021`), or voltages of
            another form (`PE-DATA-022`).
    """
    paths = sorted(folder.glob(PARTS))
    if not paths:
        raise UsageError(
            "PE-DATA-020",
            found=f"{folder} holds no voltages with images",
            expected=f"files {PARTS}, as `physedge synth eit` writes them",
            next_step="check the folder, or make a set with physedge synth eit",
        )
    samples = []
    for path in paths:
        part = read_part(path)
        if part.voltages.shape[1:] != (2, spec.count):
            raise UsageError(
                "PE-DATA-022",
                found=f"{path.name} holds {part.voltages.shape[2]} voltages a frame",
                expected=f"{spec.count}, the '{spec.protocol}' protocol with {spec.electrodes} electrodes",
                next_step="give data of the protocol that the network was made for",
            )
        samples += [
            VoltageSample(image_path=path, place=place, name=f"sample_{number:06d}", group=f"body_{body:06d}")
            for place, (number, body) in enumerate(zip(part.numbers, part.bodies, strict=True))
        ]
    return samples


def read_arrays(samples: Sequence[VoltageSample]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Voltages float32 (sample, 2, voltage) and images float32 (sample, height, width), all at once."""
    voltages = np.stack([sample.picture() for sample in samples])
    return voltages, np.stack([sample.truth() for sample in samples])


def read_declaration(folder: Path) -> VoltageSpec:
    """What the voltages of a set are.

    Raises:
        UsageError: The file is missing or does not say it (`PE-DATA-023`).
    """
    path = folder / DECLARATION
    try:
        return VoltageSpec(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            "PE-DATA-023",
            found=f"{path} does not say what the voltages are ({error})",
            expected="the file that `physedge synth eit` writes",
            next_step="name a folder of that command with --data",
        ) from error


def write_declaration(folder: Path, spec: VoltageSpec) -> None:
    """Say what the voltages of a set are."""
    (folder / DECLARATION).write_text(json.dumps(asdict(spec), indent=2) + "\n", encoding="utf-8")


def _damaged(path: Path, why: str) -> UsageError:
    return UsageError(
        "PE-DATA-021",
        found=f"{path} cannot be read ({why})",
        expected="voltages, images, numbers and bodies of equal length",
        next_step="make the set again",
    )
