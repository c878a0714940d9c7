"""Devices that an engine can be meant for; the facts and their sources stand in `profiles.toml` beside this file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from physedge_runtime.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """One family of devices.

    Attributes:
        name: As after `--profile`.
        title: For people.
        compute_capability: For example `8.9`.
        libraries: Kinds that build engines for it, the preferred one first.
        ahead_of_time: Whether an engine can be built without the device.
        precisions: That it runs, the default first.
        workspace_mib: Memory the builder may use.
        dla: Whether it has a deep-learning accelerator.
        notes: Sentences that a user must know.
        sources: Where the facts come from.
    """

    name: str
    title: str
    compute_capability: str
    libraries: tuple[str, ...]
    ahead_of_time: bool
    precisions: tuple[str, ...]
    workspace_mib: int
    dla: bool
    notes: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def sm(self) -> str:
        """`sm89` for compute capability 8.9: as files are named."""
        return "sm" + self.compute_capability.replace(".", "")

    def require(self, precision: str) -> None:
        """Refuse a precision that the profile does not offer.

        Raises:
            UsageError: PE-TRT-031.
        """
        if precision not in self.precisions:
            raise UsageError(
                "PE-TRT-031",
                found=f"--precision {precision} for {self.name}",
                expected=f"one of {', '.join(self.precisions)}",
                next_step="choose one of these",
            )


@lru_cache(maxsize=1)
def device_profiles() -> dict[str, DeviceProfile]:
    """All profiles by name, in the file's order."""
    text = (files("physedge_export.targets") / "profiles.toml").read_text(encoding="utf-8")
    profiles = {}
    for name, content in tomllib.loads(text).items():
        lists = {key: tuple(value) for key, value in content.items() if isinstance(value, list)}
        profiles[name] = DeviceProfile(name=name, **{**content, **lists})
    return profiles


def find_profile(name: str) -> DeviceProfile:
    """The profile of this name.

    Raises:
        UsageError: There is none (`PE-TRT-030`).
    """
    profiles = device_profiles()
    if name not in profiles:
        raise UsageError(
            "PE-TRT-030",
            found=f"the device profile {name!r}",
            expected=f"one of {', '.join(profiles)}",
            next_step="name one of these with --profile, or leave it out",
        )
    return profiles[name]
