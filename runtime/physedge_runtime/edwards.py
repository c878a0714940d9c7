"""Whether 32 bytes are a public key of Ed25519 that can vouch for anything (RFC 8032, section 5.1).

OpenSSL verifies by a key of small order, too, and under such a key signatures can be made up without any private key.
libsodium refuses these keys; so that Python and C agree, a trusted key must be a point of the prime-order subgroup,
written in its one canonical form. Nothing here is secret, so nothing here needs constant time.
"""

from __future__ import annotations

_PRIME = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _PRIME) % _PRIME
_ROOT_OF_MINUS_ONE = pow(2, (_PRIME - 1) // 4, _PRIME)
_COFACTOR = 8
_POINT_BYTES = 32

# X, Y, Z, T with x = X/Z, y = Y/Z, x y = T/Z (RFC 8032, section 5.1.4).
_Point = tuple[int, int, int, int]
_NEUTRAL: _Point = (0, 1, 1, 0)


def is_sound_public_key(public: bytes) -> bool:
    """Whether this is a canonical point of prime order: neither of small order, nor with a part of small order.

    Args:
        public: 32 bytes.
    """
    point = _decoded(public)
    return point is not None and not _is_neutral(point) and _is_neutral(_times(_ORDER, point))


def has_small_order(encoded: bytes) -> bool:
    """Whether this is a point whose eightfold is the neutral one; also where the bytes are no point at all."""
    point = _decoded(encoded)
    return point is None or _is_neutral(_times(_COFACTOR, point))


def _decoded(encoded: bytes) -> _Point | None:
    """The point of an encoding; None where it is not canonical or not on the curve (RFC 8032, section 5.1.3)."""
    if len(encoded) != _POINT_BYTES:
        return None
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= _PRIME:
        return None
    numerator, denominator = (y * y - 1) % _PRIME, (_D * y * y + 1) % _PRIME
    square = numerator * pow(denominator, -1, _PRIME) % _PRIME
    x = pow(square, (_PRIME + 3) // 8, _PRIME)
    if x * x % _PRIME != square:
        x = x * _ROOT_OF_MINUS_ONE % _PRIME
    if x * x % _PRIME != square or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _PRIME - x
    return x, y, 1, x * y % _PRIME


def _is_neutral(point: _Point) -> bool:
    x, y, z, _ = point
    return x % _PRIME == 0 and (y - z) % _PRIME == 0


def _times(factor: int, point: _Point) -> _Point:
    total = _NEUTRAL
    while factor:
        if factor & 1:
            total = _sum(total, point)
        point = _sum(point, point)
        factor >>= 1
    return total


def _sum(one: _Point, other: _Point) -> _Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _PRIME
    b = (one[1] + one[0]) * (other[1] + other[0]) % _PRIME
    c = 2 * one[3] * other[3] * _D % _PRIME
    d = 2 * one[2] * other[2] % _PRIME
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _PRIME, g * h % _PRIME, f * g % _PRIME, e * h % _PRIME
