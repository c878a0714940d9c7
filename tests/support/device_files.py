"""Configurations, keys and lists of revocations that Python and C++ have to judge alike."""

from __future__ import annotations

import base64
from pathlib import Path

_PREFIX = bytes.fromhex("302a300506032b6570032100")
# RFC 8032, section 7.1, TEST 2: a published public key.
PUBLISHED = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"

# The points whose order divides eight, in every form that some reader takes.
DEGENERATE_KEYS = (
    "0100000000000000000000000000000000000000000000000000000000000000",  # order 1
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # order 2
    "0000000000000000000000000000000000000000000000000000000000000000",  # order 4
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",  # order 8
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",  # not canonical
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0200000000000000000000000000000000000000000000000000000000000000",  # not on the curve
)


def _mixed() -> tuple[str, ...]:
    """Sums of a sound point with one of small order: by the affine law of addition, apart from the code under test."""
    prime = 2**255 - 19
    d = -121665 * pow(121666, prime - 2, prime) % prime

    def decoded(text: str) -> tuple[int, int]:
        number = int.from_bytes(bytes.fromhex(text), "little")
        y = number & (2**255 - 1)
        square = (y * y - 1) * pow(d * y * y + 1, prime - 2, prime) % prime
        x = pow(square, (prime + 3) // 8, prime)
        if (x * x - square) % prime:
            x = x * pow(2, (prime - 1) // 4, prime) % prime
        return (prime - x if x & 1 != number >> 255 else x), y

    def total(one: tuple[int, int], other: tuple[int, int]) -> str:
        (x1, y1), (x2, y2) = one, other
        k = d * x1 * x2 * y1 * y2 % prime
        x = (x1 * y2 + x2 * y1) * pow(1 + k, prime - 2, prime) % prime
        y = (y1 * y2 + x1 * x2) * pow(1 - k, prime - 2, prime) % prime
        return (y | (x & 1) << 255).to_bytes(32, "little").hex()

    return tuple(total(decoded(PUBLISHED), decoded(small)) for small in DEGENERATE_KEYS[1:8])


MIXED_KEYS = _mixed()
"""The published key with a point of order 2, 4 or 8 added to it."""

_KEY, _BUNDLE = b"key " + b"a" * 64, b"bundle " + b"b" * 64
# What a list holds, and how many keys and bundles it revokes, or the identifier of its refusal.
LISTS: dict[str, tuple[bytes, tuple[int, int] | str]] = {
    "empty": (b"", (0, 0)),
    "plain": (_KEY + b"\n" + _BUNDLE + b"\n", (1, 1)),
    "without a last line end": (_KEY, (1, 0)),
    "line ends of Windows": (b"# lost\r\n" + _KEY + b"\r\n" + _BUNDLE, (1, 1)),
    "remarks in UTF-8": ("# verlorener Schlüssel\n".encode() + _KEY + b"  # gel\xc3\xb6scht\n", (1, 0)),
    "gaps": (b" \t" + _KEY.replace(b" ", b"\t  ") + b"\t \n\n", (1, 0)),
    "line ends of the old Macintosh": (b"# lost\r" + _KEY + b"\r", "PE-SIGN-013"),
    "a line end inside a remark": (b"# lost \xe2\x80\xa8" + _KEY + b"\n", "PE-SIGN-013"),
    "a paragraph's end inside a remark": (b"# lost \xe2\x80\xa9" + _KEY + b"\n", "PE-SIGN-013"),
    "a next line inside a remark": (b"# lost \xc2\x85" + _KEY + b"\n", "PE-SIGN-013"),
    "a form feed inside a remark": (b"# lost \x0c" + _KEY + b"\n", "PE-SIGN-013"),
    "a vertical tab before a line": (b"\x0b" + _KEY + b"\n", "PE-SIGN-013"),
    "a file separator": (b"# lost\x1c" + _KEY + b"\n", "PE-SIGN-013"),
    "a zero byte": (_KEY + b"\n\0", "PE-SIGN-013"),
    "UTF-16": (_KEY.decode().encode("utf-16"), "PE-SIGN-013"),
    "a byte order mark": (b"\xef\xbb\xbf" + _KEY, "PE-SIGN-013"),
    "a space that does not break": (_KEY.replace(b" ", b"\xc2\xa0"), "PE-SIGN-013"),
    "capitals": (_KEY.upper(), "PE-SIGN-013"),
    "a digit short": (_KEY[:-1], "PE-SIGN-013"),
    "another word": (b"device " + b"a" * 64, "PE-SIGN-013"),
    "as long as may be": (b"#" * (4 * 1024**2 - 69) + b"\n" + _KEY, (1, 0)),
    "a byte longer": (b"#" * (4 * 1024**2 - 68) + b"\n" + _KEY, "PE-SIGN-013"),
    "much longer": (_KEY + b"\n" + b"\n" * 4 * 1024**2 + _BUNDLE, "PE-SIGN-013"),
}

_UNUSABLE = "PE-SIGN-014 4"
# What device.toml holds, and what becomes of it.
CONFIGURATIONS: dict[str, tuple[str, str]] = {
    "nothing": ("", "taken"),
    "keys and revocations": ('[trust]\nkeys = ["maker.pub"]\nrevoked = "revoked.txt"\n', "taken"),
    "a last day": ('[trust]\nkeys = [{file = "maker.pub", not_after = 2029-12-31}]\n', "taken"),
    "a last day with a time": ('[trust]\nkeys = [{file = "maker.pub", not_after = 2029-12-31T12:00:00}]\n', _UNUSABLE),
    "a last day with a zone": ('[trust]\nkeys = [{file = "maker.pub", not_after = 2029-12-31T12:00:00Z}]\n', _UNUSABLE),
    "a time alone": ('[trust]\nkeys = [{file = "maker.pub", not_after = 12:00:00}]\n', _UNUSABLE),
    "a last day as a text": ('[trust]\nkeys = [{file = "maker.pub", not_after = "2029-12-31"}]\n', _UNUSABLE),
    "a key without a file": ("[trust]\nkeys = [{not_after = 2029-12-31}]\n", _UNUSABLE),
    "a key with more": ('[trust]\nkeys = [{file = "maker.pub", not_after = 2029-12-31, x = 1}]\n', _UNUSABLE),
    "a key that is a number": ("[trust]\nkeys = [7]\n", _UNUSABLE),
    "a key that is not there": ('[trust]\nkeys = ["absent.pub"]\n', _UNUSABLE),
    "a key that is a folder": ('[trust]\nkeys = ["."]\n', _UNUSABLE),
    "a key that is not a key": ('[trust]\nkeys = ["revoked.txt"]\n', _UNUSABLE),
    "a key of small order": ('[trust]\nkeys = ["small.pub"]\n', _UNUSABLE),
    "keys that are a text": ('[trust]\nkeys = "maker.pub"\n', _UNUSABLE),
    "a list that is not there": ('[trust]\nrevoked = "absent.txt"\n', _UNUSABLE),
    "a list that is a folder": ('[trust]\nrevoked = "."\n', _UNUSABLE),
    "a list that is not one": ('[trust]\nrevoked = "maker.pub"\n', "PE-SIGN-013 4"),
    "a list that is a number": ("[trust]\nrevoked = 7\n", _UNUSABLE),
    "half a section": ("[trust", _UNUSABLE),
    "another section": ("[other]\n", _UNUSABLE),
    "another key": ("[trust]\nkey = []\n", _UNUSABLE),
    "a section that is a text": ('trust = "x"\n', _UNUSABLE),
    "a place": ('[install]\nroot = "/var/lib/physedge"\nmax_step = 100\n', "taken"),
    "a place that is a number": ("[install]\nroot = 7\n", _UNUSABLE),
    "a step of nothing": ("[install]\nmax_step = 0\n", _UNUSABLE),
    "a step that is a truth": ("[install]\nmax_step = true\n", _UNUSABLE),
    "a step that is half": ("[install]\nmax_step = 1.5\n", _UNUSABLE),
    "a step beyond bounds": (f"[install]\nmax_step = {2**53 + 1}\n", _UNUSABLE),
    "options": ('[allow]\noptions = ["root", "trust", "fall-back", "rejected", "rollback", "device"]\n', "taken"),
    "an option that is not known": ('[allow]\noptions = ["everything"]\n', _UNUSABLE),
    "options that are a text": ('[allow]\noptions = "root"\n', _UNUSABLE),
}


def pem(encoded: str) -> bytes:
    """The file of a public key of 32 bytes, given as hexadecimal digits."""
    body = base64.b64encode(_PREFIX + bytes.fromhex(encoded))
    return b"-----BEGIN PUBLIC KEY-----\n" + body + b"\n-----END PUBLIC KEY-----\n"


def lay_out(folder: Path, content: str) -> Path:
    """A device.toml of this content, and beside it what the configurations name."""
    (folder / "maker.pub").write_bytes(pem(PUBLISHED))
    (folder / "small.pub").write_bytes(pem(DEGENERATE_KEYS[0]))
    (folder / "revoked.txt").write_bytes(_KEY + b"\n")
    path = folder / "device.toml"
    path.write_text(content, encoding="utf-8")
    return path
