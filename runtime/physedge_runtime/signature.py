"""The entry `SIGNATURE`: who vouches for a manifest, and with it for every byte of the bundle.

It is one line of canonical JSON,

    {"algorithm":"ed25519","key_id":HEX64,"not_after":null|"YYYY-MM-DD","schema_version":1,"signature":HEX128}

and is read by its exact form, not by a JSON parser. What is signed is `signed_message`: a fixed first line, this line
without the signature, and the bytes of `manifest.json`. The first line keeps a signature made for anything else from
being taken for one of a bundle; the second keeps key and last day from being exchanged.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

from physedge_runtime.edwards import has_small_order
from physedge_runtime.errors import IntegrityError
from physedge_runtime.keys import TrustedKey, TrustStore

SIGNATURE_SCHEMA_VERSION = 1
SIGNATURE_BYTES = 64
UNSIGNED = "unsigned"
NOT_CHECKED = "signature not checked"

_FIRST_LINE = b"physedge bundle signature 1\n"
_FORM = re.compile(
    rb'\{"algorithm":"ed25519","key_id":"([0-9a-f]{64})","not_after":(?:null|"([0-9]{4}-[0-9]{2}-[0-9]{2})"),'
    rb'"schema_version":1,"signature":"([0-9a-f]{128})"\}\n'
)
_SHOWN_DIGITS = 12
_WEAKENED = "; weakened by "


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature over a manifest.

    Attributes:
        key_id: Of the key that is said to have made it.
        not_after: Last day (UTC) on which it counts; None for ever.
        signature: 64 bytes.
    """

    key_id: str
    not_after: date | None
    signature: bytes

    def to_bytes(self) -> bytes:
        """The content of the entry."""
        head = signature_head(self.key_id, self.not_after)
        return head[:-2] + b',"signature":"' + self.signature.hex().encode() + b'"}\n'


def signature_head(key_id: str, not_after: date | None) -> bytes:
    """The entry without the signature."""
    last_day = f'"{not_after.isoformat()}"' if not_after is not None else "null"
    return (
        f'{{"algorithm":"ed25519","key_id":"{key_id}","not_after":{last_day},'
        f'"schema_version":{SIGNATURE_SCHEMA_VERSION}}}\n'
    ).encode()


def signed_message(manifest: bytes, key_id: str, not_after: date | None) -> bytes:
    """The bytes that are signed."""
    return _FIRST_LINE + signature_head(key_id, not_after) + manifest


def parse_signature(data: bytes, *, origin: str) -> Signature:
    """Read the entry by its exact form.

    Raises:
        IntegrityError: It has another form (`PE-SIGN-006`).
    """
    found = _FORM.fullmatch(data)
    try:
        if found is None:
            raise ValueError("another form")
        not_after = date.fromisoformat(found[2].decode()) if found[2] is not None else None
    except ValueError as error:
        raise IntegrityError(
            "PE-SIGN-006",
            found=f"the SIGNATURE of {origin} is not in its form",
            expected="one line as physedge sign writes it",
            next_step="ask the maker for a bundle signed by a physedge of this generation",
        ) from error
    return Signature(key_id=found[1].decode(), not_after=not_after, signature=bytes.fromhex(found[3].decode()))


def check_signature(
    manifest: bytes, signature: bytes | None, trust: TrustStore, *, origin: str, today: date | None = None
) -> str:
    """Decide who vouches for a manifest, before anything reads it.

    Args:
        manifest: The entry's bytes.
        signature: The entry's bytes; None where there is none.
        trust: Whom to believe.
        origin: Name of the bundle, for errors.
        today: UTC; the machine's clock where None.

    Returns:
        `unsigned`, `signature not checked`, or the name of the key in words: what every result header says.

    Raises:
        IntegrityError: Keys are trusted and none of them vouches for this manifest (`PE-SIGN-005` to `PE-SIGN-010`).
    """
    if hashlib.sha256(manifest).hexdigest() in trust.revoked_bundles:
        raise _refused("PE-SIGN-010", f"{origin} was revoked", "a bundle that may still run", "install a newer release")
    parsed = parse_signature(signature, origin=origin) if signature is not None else None
    if not trust.keys:
        return told(UNSIGNED if parsed is None else NOT_CHECKED, trust.weakened)
    if parsed is None:
        raise _refused(
            "PE-SIGN-005",
            f"{origin} is not signed",
            f"the signature of {_names(trust)}",
            "have it signed with physedge sign",
        )
    return check_signed(
        signed_message(manifest, parsed.key_id, parsed.not_after), parsed, trust, origin=origin, today=today
    )


def check_signed(
    message: bytes, parsed: Signature, trust: TrustStore, *, origin: str, today: date | None = None
) -> str:
    """Decide whether a trusted key has signed a message.

    Args:
        message: What is signed, first line and all.
        parsed: Who is said to have signed it.
        trust: Whom to believe.
        origin: Name of the file, for errors.
        today: UTC; the machine's clock where None.

    Returns:
        The name of the key in words.

    Raises:
        IntegrityError: No trusted key has (`PE-SIGN-007` to `PE-SIGN-010`).
    """
    key = _trusted_key(parsed, trust, origin)
    _check_days(parsed, key, origin, today or datetime.now(UTC).date())
    _check_mathematics(parsed, key, message, origin)
    return told(f"signed by {key.name} ({key.key_id[:_SHOWN_DIGITS]})", trust.weakened)


def told(vouched: str, weakened: tuple[str, ...]) -> str:
    """Who vouches, and by what the device's configuration was weakened: what stands in the head of every result."""
    if not weakened:
        return vouched
    return f"{vouched}{', ' if _WEAKENED in vouched else _WEAKENED}{', '.join(weakened)}"


def _trusted_key(parsed: Signature, trust: TrustStore, origin: str) -> TrustedKey:
    shown = parsed.key_id[:_SHOWN_DIGITS]
    if parsed.key_id in trust.revoked_keys:
        raise _refused(
            "PE-SIGN-010", f"{origin} is signed by the revoked key {shown}", "a key that counts", "have it signed anew"
        )
    key = trust.find(parsed.key_id)
    if key is None:
        raise _refused(
            "PE-SIGN-007",
            f"{origin} is signed by the key {shown}, which is not trusted here",
            f"the signature of {_names(trust)}",
            "check where the bundle comes from; a key is trusted by --trust or device.toml",
        )
    return key


def _check_days(parsed: Signature, key: TrustedKey, origin: str, today: date) -> None:
    for what, last_day in ((f"the signature of {origin}", parsed.not_after), (f"the key {key.name}", key.not_after)):
        if last_day is not None and today > last_day:
            raise _refused(
                "PE-SIGN-009", f"{what} expired after {last_day}", f"one that counts on {today}", "have it signed anew"
            )


def _check_mathematics(parsed: Signature, key: TrustedKey, message: bytes, origin: str) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        if has_small_order(parsed.signature[:32]):  # OpenSSL takes it, libsodium does not
            raise ValueError("a signature whose point has a small order")
        Ed25519PublicKey.from_public_bytes(key.public).verify(parsed.signature, message)
    except (InvalidSignature, ValueError) as error:
        raise _refused(
            "PE-SIGN-008",
            f"the signature of {origin} does not belong to its manifest",
            f"what {key.name} signed",
            "do not use it; ask its maker",
        ) from error


def _names(trust: TrustStore) -> str:
    return " or ".join(f"{key.name} ({key.key_id[:_SHOWN_DIGITS]})" for key in trust.keys)


def _refused(identifier: str, found: str, expected: str, next_step: str) -> IntegrityError:
    return IntegrityError(identifier, found=found, expected=expected, next_step=next_step)
