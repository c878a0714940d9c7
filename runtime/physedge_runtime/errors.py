"""Every error of the world that physedge can meet, and the exit status each ends in.

    PhysedgeError
     +-- GateFailed         1  accuracy, latency or parity below its bound; verdict not ACCEPT
     +-- UsageError         2  an option, a configuration or a named folder that cannot be used
     +-- EnvironmentFault   3  a package, library or device that is not here
     +-- IntegrityError     4  a bundle, signature, hash or golden frame that does not hold
     +-- SourceError        5  a source of frames that never opened or ended for good
     +-- BuildError         6  a trace, a quantisation or an engine build that failed
     +-- SafeState          7  a stream that ended because it could not go on safely

Each error carries a stable identifier (listed in `docs/errors.md`) and says in one sentence what was found,
what was expected and what to do next. A bug is none of these: it stays a `TypeError`, `ValueError` or assert.
"""

from __future__ import annotations

from typing import ClassVar


class PhysedgeError(Exception):
    """An error of the world, told in one sentence.

    Attributes:
        identifier: Stable, `PE-<AREA>-<three digits>`.
        found: What was found, without a full stop.
        expected: What was expected, without a full stop.
        next_step: What to do or type next, without a full stop.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, identifier: str, *, found: str, expected: str, next_step: str) -> None:
        self.identifier = identifier
        self.found = found
        self.expected = expected
        self.next_step = next_step
        super().__init__(identifier, found, expected, next_step)

    def __str__(self) -> str:
        return f"{self.identifier}: {self.found}; expected {self.expected}; {self.next_step}."

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.identifier, self.found, self.expected, self.next_step)


def _rebuild(kind: type[PhysedgeError], identifier: str, found: str, expected: str, next_step: str) -> PhysedgeError:
    return kind(identifier, found=found, expected=expected, next_step=next_step)


class GateFailed(PhysedgeError):
    """Accuracy, latency or parity is below its bound, or too little was measured to say."""

    exit_status = 1


class UsageError(PhysedgeError):
    """An option, a configuration file or a named folder cannot be used as it is."""

    exit_status = 2


class EnvironmentFault(PhysedgeError):
    """A package, a library or a device that is needed is not here."""

    exit_status = 3


class IntegrityError(PhysedgeError):
    """A bundle, a signature, a hash or a golden frame does not hold."""

    exit_status = 4


class SourceError(PhysedgeError):
    """A source of frames never opened, or ended for good."""

    exit_status = 5


class BuildError(PhysedgeError):
    """A trace, a quantisation or an engine build failed."""

    exit_status = 6


class SafeState(PhysedgeError):
    """A stream ended because it could not go on safely."""

    exit_status = 7


def install_command(extra: str) -> str:
    """How an extra is installed: from the wheel that `make dist` builds, since physedge is on no package index."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("physedge")
    except PackageNotFoundError:
        number = "VERSION"
    return f"pip install 'physedge-{number}-py3-none-any.whl[{extra}]'"


def missing_extra(package: str, extra: str) -> EnvironmentFault:
    """The error for an optional package that is not installed: one sentence that names the extra."""
    return EnvironmentFault(
        "PE-ENV-001",
        found=f"the package {package} is not installed",
        expected=f"the extra '{extra}'",
        next_step=f"install it from the wheel (make dist): {install_command(extra)}",
    )
