"""`NAME.physedge`: one file, written reproducibly and read with distrust. `docs/bundle.md` is its specification."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from physedge_runtime.archive import (
    LARGEST_BUNDLE_BYTES,
    MANIFEST,
    SIGNATURE,
    canonical_zip,
    read_archive,
    refused,
)
from physedge_runtime.errors import UsageError
from physedge_runtime.verdict import Verdict

if TYPE_CHECKING:
    from physedge_runtime.keys import TrustLike, TrustStore
    from physedge_runtime.manifest import Manifest, OwnAnswers
    from physedge_runtime.net import Net

__all__ = ["MANIFEST", "SIGNATURE", "Bundle", "canonical_zip", "read_bundle", "write_atomically", "write_bundle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that was read and whose every byte agrees with its manifest.

    Attributes:
        path: Where it was read from.
        manifest: What it says of itself.
        sha256: Of the whole file.
        trust: Who vouches for it, in words: `unsigned`, `signature not checked`, or `signed by` the key that did.
        contents: Entry name to bytes.
    """

    path: Path
    manifest: Manifest
    sha256: str
    trust: str
    contents: Mapping[str, bytes] = field(repr=False)

    def read(self, entry: str) -> bytes:
        """The bytes of an entry."""
        return self.contents[entry]

    @property
    def manifest_sha256(self) -> str:
        """What stays the same when the bundle is signed, signed anew, or stripped of its signature."""
        return hashlib.sha256(self.contents[MANIFEST]).hexdigest()

    def open(
        self,
        *,
        engine: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
        allow_rejected: bool = False,
        only_as_exported: bool = False,
        isolate: bool = False,
    ) -> Net:
        """Open the graph that ships for an engine, and replay the golden frames.

        Args:
            engine: A name of `physedge_runtime.engines.ENGINES`, or `auto`: the one the export was asked for, if it
                is here.
            precision: `fp32`, `fp16` or `int8` instead of what ships for the engine.
            threads: Threads of the engine; its own choice where None.
            allow_rejected: Open although the verdict is REJECT or INCONCLUSIVE.
            only_as_exported: Refuse a reduced graph that does not compute here as it did at export; see
                `Net.computes_as_exported`.
            isolate: Open it in a child process first, so that a graph which makes an engine crash is an error here.

        Raises:
            GateFailed: The bundle was not accepted and nobody allowed it (`PE-BUNDLE-012`).
            UsageError: There is no such engine or precision, or the device's configuration does not allow a rejected
                bundle (`PE-SIGN-016`).
            EnvironmentFault: The engine's package is not installed.
            IntegrityError: The golden frames do not come out (`PE-BUNDLE-020`); the engine crashed in the child
                process (`PE-ENGINE-004`); the bundle is older than what was proven on a device with a configuration
                (`PE-INSTALL-001`).
        """
        from physedge_runtime.device_config import device_config
        from physedge_runtime.install import refuse_below_floor
        from physedge_runtime.net import open_accepted

        config = device_config()
        refuse_below_floor(self)
        weakened: tuple[str, ...] = ()
        if allow_rejected and self.manifest.verdict in (Verdict.REJECT, Verdict.INCONCLUSIVE):
            weakened = config.weaken("rejected", "--allow-rejected")
        return open_accepted(
            self,
            engine=engine,
            precision=precision,
            threads=threads,
            allow_rejected=allow_rejected,
            only_as_exported=only_as_exported,
            isolate=isolate,
            weakened=weakened,
        )


def write_bundle(path: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> Manifest:
    """Write a bundle atomically; the same arguments give the same bytes.

    Args:
        path: The file; its folder is made.
        manifest: Its `entries` are filled in here.
        contents: Every entry but the manifest.

    Returns:
        The manifest as written.
    """
    from physedge_runtime.manifest import Entry

    entries = {
        name: Entry(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
        for name, data in sorted(contents.items())
        if name != SIGNATURE
    }
    manifest = type(manifest).model_validate({**manifest.model_dump(), "entries": entries})
    write_atomically(path, canonical_zip({**contents, MANIFEST: manifest.canonical_bytes()}))
    return manifest


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old one or the whole new one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_bundle(path: Path, *, trust: TrustLike | TrustStore | None = None) -> Bundle:
    """Read a bundle; nothing of it is believed before it was checked.

    Order: size, zip form, entry names, byte-for-byte canonical form, signature, manifest, hash of every entry. No
    parser but that of the zip directory sees a byte before the signature holds, and none but those two and the
    manifest's before the hashes do. Memory: the file and a copy of it, and 64 MB.

    Args:
        path: The file.
        trust: Public key files, one of which must have signed; `physedge_runtime.keys.ANYBODY` accepts every bundle.
            Where None, the keys of the device's configuration count; without any, unsigned bundles are accepted, and
            `Bundle.trust` says so.

    Raises:
        UsageError: There is no such file (`PE-BUNDLE-001`), or no such key.
        IntegrityError: No trusted key vouches for it (`PE-SIGN-005` to `PE-SIGN-010`), or anything else is not as it
            must be (`PE-BUNDLE-002` to `PE-BUNDLE-015`).
    """
    from physedge_runtime.keys import trust_store
    from physedge_runtime.manifest import parse_manifest
    from physedge_runtime.signature import check_signature

    believed = trust_store(trust)
    data = _read_file(path)
    contents = read_archive(data, path.name)
    if MANIFEST not in contents:
        raise refused("PE-BUNDLE-011", f"{path.name} has no {MANIFEST}", f"an entry {MANIFEST}")
    vouched = check_signature(
        contents[MANIFEST], contents.get(SIGNATURE), believed, origin=path.name, today=believed.today
    )
    manifest = parse_manifest(contents[MANIFEST], origin=path.name)
    _check_entries(manifest, contents, path.name)
    return Bundle(
        path=path,
        manifest=manifest,
        sha256=hashlib.sha256(data).hexdigest(),
        trust=vouched,
        contents=contents,
    )


def _read_file(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device has no end, and no size to check
            raise OSError(errno.EINVAL, "no plain file")
        if status.st_size > LARGEST_BUNDLE_BYTES:
            raise refused("PE-BUNDLE-003", f"{path.name} has {status.st_size} bytes", f"at most {LARGEST_BUNDLE_BYTES}")
        with path.open("rb") as stream:
            # As much is taken from the heap at once. A file that grows meanwhile shows by its last byte.
            return stream.read(status.st_size + 1)
    except OSError as error:
        raise UsageError(
            "PE-BUNDLE-001",
            found=f"the bundle {path} cannot be read ({error.strerror})",
            expected="a file NAME.physedge",
            next_step="name the bundle that physedge export wrote",
        ) from error


def _check_entries(manifest: Manifest, contents: Mapping[str, bytes], origin: str) -> None:
    listed = set(manifest.entries)
    present = set(contents) - {MANIFEST, SIGNATURE}
    if listed != present:
        odd = sorted(listed ^ present)[0]
        raise refused("PE-BUNDLE-011", f"{origin}: the entry {odd!r} is not both listed and there", "both")
    for name, entry in manifest.entries.items():
        data = contents[name]
        if len(data) != entry.size_bytes or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise refused("PE-BUNDLE-010", f"the entry {name!r} of {origin} has another hash", "that of the manifest")
    named = {artefact.entry for artefact in manifest.artefacts} | set(manifest.shipped.values())
    for case in manifest.golden:
        named |= {case.frame, *case.outputs.values()}
    for own in _own_answers(manifest):
        named |= {entry for answer in own.answers for entry in answer.values()}
    if not named <= listed:
        odd = sorted(named - listed)[0]
        raise refused("PE-BUNDLE-011", f"{origin}: the manifest names {odd!r}", "an entry of the bundle")
    _check_golden(manifest, origin)


def _check_golden(manifest: Manifest, origin: str) -> None:
    """Every golden case has the sizes that its shapes say, and an answer for every output."""
    sizes = {output.name: 4 * math.prod(output.shape) for output in manifest.outputs}
    item_bytes = 1 if manifest.spec.frame is not None else 4
    for case in manifest.golden:
        # Pairs, as one entry may be named for two outputs, and fit one of them.
        wanted = [(case.frame, item_bytes * math.prod(case.shape))]
        wanted += [(entry, sizes.get(name, -1)) for name, entry in case.outputs.items()]
        odd = [entry for entry, size in wanted if manifest.entries[entry].size_bytes != size]
        if odd or set(case.outputs) != set(sizes) or min(case.shape, default=0) < 1:
            what = odd[0] if odd else case.frame
            raise refused("PE-BUNDLE-013", f"{origin}: the golden entry {what!r} does not fit", "its declared shape")
    for own in _own_answers(manifest):
        if len(own.answers) != len(manifest.golden):
            found = f"{origin}: {len(own.answers)} own answers to {len(manifest.golden)} golden frames"
            raise refused("PE-BUNDLE-013", found, "one each")
        for case, answer in zip(manifest.golden, own.answers, strict=True):
            odd = [entry for name, entry in answer.items() if manifest.entries[entry].size_bytes != sizes.get(name)]
            if odd or set(answer) != set(sizes):
                what = odd[0] if odd else case.frame
                raise refused(
                    "PE-BUNDLE-013", f"{origin}: the golden entry {what!r} does not fit", "its declared shape"
                )


def _own_answers(manifest: Manifest) -> list[OwnAnswers]:
    return [artefact.own for artefact in manifest.artefacts if artefact.own is not None]
