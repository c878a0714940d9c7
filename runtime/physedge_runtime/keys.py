"""Ed25519 keys as files, and whom a device trusts. `docs/security.md` says what each check is good for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from physedge_runtime.edwards import is_sound_public_key
from physedge_runtime.errors import IntegrityError, UsageError
from physedge_runtime.guarded_files import TooLargeError, read_guarded

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_LARGEST_KEY_FILE_BYTES = 16 * 1024
_LARGEST_LIST_BYTES = 4 * 1024**2
# SubjectPublicKeyInfo of Ed25519 is this and the 32 bytes of the key (RFC 8410, section 4).
_PUBLIC_PREFIX = bytes.fromhex("302a300506032b6570032100")
_PUBLIC_BYTES = 32
_PUBLIC_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END PUBLIC KEY-----\s*")
_REVOCATION = re.compile(rb"(key|bundle)[ \t]+([0-9a-f]{64})")
# What one reader takes for the end of a line and another for a part of it: control characters, and U+0085, U+2028 and
# U+2029 as UTF-8. A list with one of them is refused, so that no line can be hidden in a remark.
_DOUBTFUL_END = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]|\xc2\x85|\xe2\x80[\xa8\xa9]")
_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO

TrustLike = Path | str | Sequence[Path | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A public key that may vouch for bundles.

    Attributes:
        name: For people: its file's name without the ending.
        public: 32 bytes.
        not_after: Last day (UTC) on which it counts; None for ever.

    Raises:
        UsageError: Under this key anybody could sign (`PE-SIGN-002`).
    """

    name: str
    public: bytes
    not_after: date | None = None

    def __post_init__(self) -> None:
        if not is_sound_public_key(self.public):
            raise _not_a_key(
                self.name, "a degenerate public key, under which anybody could sign", "a key of prime order"
            )

    @property
    def key_id(self) -> str:
        """Sha256 of the 32 bytes, hexadecimal."""
        return key_id(self.public)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustStore:
    """Whom to believe. Without keys, anybody.

    Attributes:
        keys: One of them must have signed; none means that unsigned bundles are taken.
        revoked_keys: Key identifiers that count no more.
        revoked_bundles: Sha256 of manifests that must not run any more.
        weakened: By what the device's configuration was weakened, as its section [allow] permits.
        today: The day by which expiry is judged; that of the machine's clock where None.
    """

    keys: tuple[TrustedKey, ...] = ()
    revoked_keys: frozenset[str] = frozenset()
    revoked_bundles: frozenset[str] = frozenset()
    weakened: tuple[str, ...] = ()
    today: date | None = None

    def find(self, identifier: str) -> TrustedKey | None:
        """The key with an identifier, or None."""
        return next((key for key in self.keys if key.key_id == identifier), None)


ANYBODY = TrustStore()


def key_id(public: bytes) -> str:
    """Identifier of a public key: sha256 of its 32 bytes, hexadecimal."""
    return hashlib.sha256(public).hexdigest()


def trust_store(trust: TrustLike | TrustStore | None) -> TrustStore:
    """Whom to believe: the keys that are named, else those of the device's configuration, else anybody.

    Of a device that has keys, some may be named; others take their place only where its configuration allows `trust`.
    A key keeps the last day that the configuration gives it, and what is revoked there stays revoked.

    Raises:
        UsageError: A file cannot be read or is not such a key (`PE-SIGN-001`, `PE-SIGN-002`), or the device does not
            allow other keys than its own (`PE-SIGN-016`).
        IntegrityError: Others may change a file (`PE-SIGN-004`), or the configuration cannot be used (`PE-SIGN-014`).
    """
    if isinstance(trust, TrustStore):
        return trust
    from physedge_runtime.device_config import device_config
    from physedge_runtime.update.clock import judging_day

    config = device_config()
    named = () if trust is None else (trust,) if isinstance(trust, Path | str) else tuple(trust)
    today = judging_day(config.root) if config.root is not None else None
    if not named:
        return replace(config.trust, today=today)
    keys = tuple(read_public_key(Path(path)) for path in named)
    foreign = [key.name for key in keys if config.trust.find(key.key_id) is None]
    weakened = config.trust.weakened
    if config.trust.keys and foreign:
        weakened += config.weaken("trust", f"--trust {' '.join(foreign)}")
    return TrustStore(
        keys=tuple(config.trust.find(key.key_id) or key for key in keys),
        revoked_keys=config.trust.revoked_keys,
        revoked_bundles=config.trust.revoked_bundles,
        weakened=weakened,
        today=today,
    )


def read_public_key(path: Path, *, not_after: date | None = None) -> TrustedKey:
    """Read `NAME.pub`, a PEM file as OpenSSL writes it; no library parses it.

    Raises:
        UsageError: It cannot be read (`PE-SIGN-001`), or is not a public Ed25519 key (`PE-SIGN-002`).
        IntegrityError: Others may change it, or the way to it (`PE-SIGN-004`).
    """
    try:
        data = read_guarded(path, _LARGEST_KEY_FILE_BYTES)
    except OSError as error:
        raise _cannot_read(path, error) from error
    except TooLargeError as error:
        raise _not_a_key(
            path, f"more than {_LARGEST_KEY_FILE_BYTES} bytes", "an Ed25519 public key, NAME.pub"
        ) from error
    found = _PUBLIC_PEM.fullmatch(data)
    if found is None:
        kind = "a private key" if b"PRIVATE KEY" in data else "no public key in PEM form"
        raise _not_a_key(path, kind, "an Ed25519 public key, NAME.pub")
    try:
        encoded = base64.b64decode(b"".join(found[1].split()), validate=True)
    except binascii.Error:
        encoded = b""
    if len(encoded) != len(_PUBLIC_PREFIX) + _PUBLIC_BYTES or not encoded.startswith(_PUBLIC_PREFIX):
        raise _not_a_key(path, "a public key of another kind", "an Ed25519 public key, NAME.pub")
    return TrustedKey(name=path.stem, public=encoded[len(_PUBLIC_PREFIX) :], not_after=not_after)


def public_pem(public: bytes) -> bytes:
    """The PEM form of a public key of 32 bytes."""
    body = base64.b64encode(_PUBLIC_PREFIX + public)
    return b"-----BEGIN PUBLIC KEY-----\n" + body + b"\n-----END PUBLIC KEY-----\n"


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read `NAME.pem`, PKCS #8 without a password.

    Raises:
        UsageError: It cannot be read (`PE-SIGN-001`), is no such key (`PE-SIGN-002`), or others may read or write it
            (`PE-SIGN-003`).
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        with path.open("rb") as stream:
            mode, data = stat.S_IMODE(os.fstat(stream.fileno()).st_mode), stream.read(_LARGEST_KEY_FILE_BYTES)
    except OSError as error:
        raise _cannot_read(path, error) from error
    if mode & _OPEN_TO_OTHERS:
        raise UsageError(
            "PE-SIGN-003",
            found=f"the private key {path} is open to others (mode {mode:04o})",
            expected="mode 0600",
            next_step=f"chmod 600 {path}, and ask who may have read it",
        )
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError as error:
        raise _not_a_key(path, "a key with a password", "one without; with a password use --signer") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _not_a_key(path, "no private key in PEM form", "an Ed25519 private key, NAME.pem") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _not_a_key(path, "a private key of another kind", "an Ed25519 private key, NAME.pem")
    return key


def write_new_key(path: Path) -> tuple[Path, TrustedKey]:
    """Make a key pair: `NAME.pem` (mode 0600) and beside it `NAME.pub` (mode 0644).

    Returns:
        The path of the public key, and the key.

    Raises:
        UsageError: One of the files is there already, or cannot be written (`PE-SIGN-011`).
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    public_path = path.with_suffix(".pub")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes_raw()
    if path == public_path:
        raise _cannot_create(path, "the public key takes the ending .pub")
    for target, data, mode in ((path, private, 0o600), (public_path, public_pem(public), 0o644)):
        _create(target, data, mode)
    return public_path, TrustedKey(name=path.stem, public=public)


def read_revocations(path: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Revoked key identifiers, and sha256 of revoked manifests.

    One a line, `key HEX` or `bundle HEX`; what follows `#` is a remark.

    Raises:
        UsageError: It cannot be read (`PE-SIGN-001`).
        IntegrityError: A line is neither, or it is too long (`PE-SIGN-013`); others may change it (`PE-SIGN-004`).
    """
    try:
        data = read_guarded(path, _LARGEST_LIST_BYTES)
    except OSError as error:
        raise _cannot_read(path, error) from error
    except TooLargeError as error:
        raise _no_list(path, f"more than {_LARGEST_LIST_BYTES} bytes in", "a list that is read to its end") from error
    revoked: dict[bytes, set[str]] = {b"key": set(), b"bundle": set()}
    for number, line in enumerate(data.split(b"\n"), 1):
        line = line.removesuffix(b"\r")
        if _DOUBTFUL_END.search(line):
            raise _no_list(path, f"a control character or another line end in line {number} of", "lines that end in LF")
        text = line.partition(b"#")[0].strip(b" \t")
        found = _REVOCATION.fullmatch(text)
        if found is not None:
            revoked[found[1]].add(found[2].decode())
        elif text:
            raise _no_list(path, f"line {number} of", "'key' or 'bundle' and 64 hexadecimal digits")
    return frozenset(revoked[b"key"]), frozenset(revoked[b"bundle"])


def _create(path: Path, data: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise _cannot_create(path, error.strerror or str(error)) from error


def _cannot_read(path: Path, error: OSError) -> UsageError:
    return UsageError(
        "PE-SIGN-001",
        found=f"{path} cannot be read ({error.strerror})",
        expected="a key file or a list of revocations",
        next_step="check the path; physedge sign --new-key maker.pem makes a key",
    )


def _no_list(path: Path, found: str, expected: str) -> IntegrityError:
    return IntegrityError("PE-SIGN-013", found=f"{found} {path}", expected=expected, next_step="correct the list")


def _not_a_key(path: Path | str, found: str, expected: str) -> UsageError:
    return UsageError(
        "PE-SIGN-002", found=f"{path} holds {found}", expected=expected, next_step="name the other file of the pair"
    )


def _cannot_create(path: Path, why: str) -> UsageError:
    return UsageError(
        "PE-SIGN-011",
        found=f"the key {path} cannot be created ({why})",
        expected="a new name NAME.pem; a key is never overwritten",
        next_step="choose another name for --new-key",
    )
