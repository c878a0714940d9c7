"""Built engines on this device, each under a key of everything it depends on.

An engine is native code: whoever can write into the cache runs code here. So the folder must belong to this user and be
writable by nobody else, no link is followed, and an engine whose bytes are not those that were stored is refused.

TensorRT keeps what it built, OpenVINO what it compiled; `PHYSEDGE_CACHE` moves the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from physedge_runtime.errors import EnvironmentFault, IntegrityError

CACHE_VARIABLE = "PHYSEDGE_CACHE"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_LARGEST_ENGINE_BYTES = 4 << 30
_MOST_ENGINES = 32
"""A device that takes a release a month for years must not fill its disk: the engines used longest ago go first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKey:
    """Everything a built engine depends on; another value anywhere is another engine.

    One exception: an engine that was built for later versions of its library, too, runs there (`EngineCache.earlier`).

    Attributes:
        bundle_sha256: Of the manifest of the bundle that the graph came in; empty outside one.
        graph_sha256: Of the ONNX graph, weights included.
        recipe_sha256: Of the recipe or the options it was built with.
        builder: `tensorrt`, `tensorrt_rtx` or `openvino`.
        version: Of the library.
        architecture: For example `sm_89`, or a processor's instruction sets.
        device: Name of the GPU or processor.
        driver: CUDA version of the driver; empty for a processor.
    """

    bundle_sha256: str
    graph_sha256: str
    recipe_sha256: str
    builder: str
    version: str
    architecture: str
    device: str
    driver: str = ""

    @property
    def digest(self) -> str:
        """The name under which the engine is kept."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def __str__(self) -> str:
        driver = f", driver {self.driver}" if self.driver else ""
        return f"{self.device} {self.architecture}, {self.builder} {self.version}{driver}"


def default_cache() -> EngineCache:
    """The cache of this user: `PHYSEDGE_CACHE`, else `physedge` in the user's cache folder.

    Raises:
        EnvironmentFault: Neither is known (`PE-TRT-010`).
    """
    told, users = os.environ.get(CACHE_VARIABLE), os.environ.get("XDG_CACHE_HOME")
    try:
        base = Path(told) if told else (Path(users) if users else Path.home() / ".cache") / "physedge"
    except RuntimeError as error:
        raise EnvironmentFault(
            "PE-TRT-010",
            found="this user has no home folder for the engine cache",
            expected="a folder that this user may write",
            next_step=f"name one in {CACHE_VARIABLE}",
        ) from error
    return EngineCache(base / "engines")


class EngineCache:
    """Engines in a folder: `DIGEST.engine`, beside it `DIGEST.json` with its key and hash, and `DIGEST.jit`.

    Attributes:
        folder: Made on the first `store`, for this user alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: EngineKey) -> bytes | None:
        """The engine of this key; None where there is none.

        Raises:
            EnvironmentFault: Others can write into the folder (`PE-TRT-010`).
            IntegrityError: The engine is not the one that was stored (`PE-TRT-011`).
        """
        path = self._path(key, "engine")
        if not path.exists():
            return None
        self._require_private()
        with self._locked(fcntl.LOCK_SH):
            record = self._record(key)
            data = self._read(path)
        with contextlib.suppress(OSError):
            os.utime(path)
        if (
            record is None
            or record.get("sha256") != hashlib.sha256(data).hexdigest()
            or record.get("key") != asdict(key)
        ):
            raise IntegrityError(
                "PE-TRT-011",
                found=f"the engine {path} is not the one that was built here",
                expected="the bytes whose hash was kept beside it",
                next_step=f"remove {path} and build it again with: physedge export --build BUNDLE",
            )
        return data

    def note(self, key: EngineKey) -> dict[str, Any]:
        """What was said of the engine when it was stored; empty where there is none."""
        record = self._record(key) or {}
        note = record.get("note")
        return note if isinstance(note, dict) else {}

    def store(self, key: EngineKey, engine: bytes, *, note: Mapping[str, Any] | None = None) -> Path:
        """Keep an engine; it appears whole or not at all.

        Args:
            key: Of the engine.
            engine: Its bytes.
            note: What else to keep about it: how long it took, with which options.

        Raises:
            EnvironmentFault: The folder cannot be made, or others can write into it (`PE-TRT-010`).
        """
        self._make_private()
        record = {"sha256": hashlib.sha256(engine).hexdigest(), "key": asdict(key), "note": dict(note or {})}
        path = self._path(key, "engine")
        with self._locked(fcntl.LOCK_EX):
            # In this order a power cut leaves no engine, never an engine that does not fit its record.
            self.forget(key)
            self._write(self._path(key, "json"), (json.dumps(record, sort_keys=True, indent=2) + "\n").encode())
            self._write(path, engine)
            self._forget_the_oldest()
        return path

    def load_kernels(self, key: EngineKey) -> bytes | None:
        """What TensorRT-RTX compiled at an earlier start; it checks the content itself."""
        path = self._path(key, "jit")
        if not path.exists():
            return None
        self._require_private()
        return self._read(path)

    def store_kernels(self, key: EngineKey, kernels: bytes) -> None:
        """Keep what TensorRT-RTX compiled."""
        self._make_private()
        self._write(self._path(key, "jit"), kernels)

    def forget(self, key: EngineKey) -> None:
        """Remove everything under a key."""
        for suffix in ("engine", "json", "jit"):
            self._path(key, suffix).unlink(missing_ok=True)

    def earlier(self, key: EngineKey) -> EngineKey | None:
        """The key of an engine that an earlier version of the library built so that later ones run it, too; the latest.

        Args:
            key: That has no engine of its own.
        """
        fitting = [
            other
            for other in self._keys()
            if isinstance(other.version, str)
            and replace(other, version=key.version) == key
            and is_version_compatible(self.note(other))
            and _numbers(other.version) < _numbers(key.version)
        ]
        return max(fitting, key=lambda other: _numbers(other.version), default=None)

    def _keys(self) -> Iterator[EngineKey]:
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ():
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError, EnvironmentFault):
                yield EngineKey(**json.loads(self._read(path))["key"])

    def explain_miss(self, key: EngineKey) -> str:
        """Why there is no engine for this key, in words: what the nearest one was built for."""
        nearest: list[tuple[int, str]] = []
        for other in self._keys():
            different = [item.name for item in fields(key) if getattr(key, item.name) != getattr(other, item.name)]
            words = ", ".join(f"{name} was {getattr(other, name)}, is {getattr(key, name)}" for name in different[:3])
            nearest.append((len(different), words))
        if not nearest:
            return "no engine was built on this device yet"
        return f"the nearest engine was built for something else ({min(nearest)[1]})"

    @contextlib.contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        """Keep another process from exchanging an engine between its record and its bytes; the folder is the lock."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, kind)
            yield
        finally:
            os.close(handle)

    def _forget_the_oldest(self) -> None:
        engines = sorted(self.folder.glob("*.engine"), key=lambda path: path.stat().st_mtime_ns)
        for path in engines[:-_MOST_ENGINES]:
            for suffix in (".engine", ".json", ".jit"):
                path.with_suffix(suffix).unlink(missing_ok=True)

    def path(self, key: EngineKey) -> Path:
        """Where the engine of a key lies, or would."""
        return self._path(key, "engine")

    def _path(self, key: EngineKey, suffix: str) -> Path:
        return self.folder / f"{key.digest}.{suffix}"

    def _record(self, key: EngineKey) -> dict[str, object] | None:
        try:
            record = json.loads(self._read(self._path(key, "json")))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def _make_private(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise EnvironmentFault(
                "PE-TRT-010",
                found=f"the engine cache {self.folder} cannot be made ({error.strerror})",
                expected="a folder that this user may write",
                next_step=f"set {CACHE_VARIABLE} to another folder",
            ) from error
        self._require_private()

    def _require_private(self) -> None:
        status = self.folder.lstat()
        foreign = status.st_uid != os.geteuid()
        if stat.S_ISLNK(status.st_mode) or foreign or status.st_mode & _OTHERS_WRITE:
            what = "is a link" if stat.S_ISLNK(status.st_mode) else "belongs to another user" if foreign else "is open"
            raise EnvironmentFault(
                "PE-TRT-010",
                found=f"the engine cache {self.folder} {what}: others could put code there",
                expected="a folder of this user that nobody else can write",
                next_step=f"chmod go-w it, or set {CACHE_VARIABLE} to another folder",
            )

    def _read(self, path: Path) -> bytes:
        # A link in place of the file would lead out of the folder that was checked.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_WRITE:
                # It may have been put there while the folder was still open to others.
                raise EnvironmentFault(
                    "PE-TRT-010",
                    found=f"{path} belongs to another user, or others can write to it",
                    expected="a file of this user that nobody else can write",
                    next_step=f"remove {path}",
                )
            if status.st_size > _LARGEST_ENGINE_BYTES:
                raise EnvironmentFault(
                    "PE-TRT-010",
                    found=f"{path} is larger than {_LARGEST_ENGINE_BYTES >> 30} GiB",
                    expected="an engine",
                    next_step=f"remove {path}",
                )
            return file.read()

    def _write(self, path: Path, data: bytes) -> None:
        handle, temporary = tempfile.mkstemp(dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def is_version_compatible(note: Mapping[str, Any]) -> bool:
    """Whether an engine's note says that it was built for later versions of the library, too: true alone counts."""
    options = note.get("options")
    return isinstance(options, dict) and options.get("version_compatible") is True


def _numbers(version: str) -> tuple[int, ...]:
    """10.3.0 and 10.3.0.26 as numbers, so that 10.10 is later than 10.9."""
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
