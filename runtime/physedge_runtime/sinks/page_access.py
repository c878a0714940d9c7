"""Who may open a page: its token, and the certificate that it is served with."""

from __future__ import annotations

import re
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path

from physedge_runtime.errors import UsageError

SHORTEST_TOKEN = 16
_TOKEN = re.compile(rf"[A-Za-z0-9._~-]{{{SHORTEST_TOKEN},128}}")


@dataclass(frozen=True, slots=True)
class PageAccess:
    """How a page is protected.

    Attributes:
        token: Without it the page is refused; None to make one up where others than this machine reach the page.
        tls: What the page is encrypted with; None for plain HTTP.
        names: What the certificate is for: host names and addresses.

    Raises:
        UsageError: The token is too short to be safe, or does not fit into an address (`PE-SINK-020`).
    """

    token: str | None = None
    tls: ssl.SSLContext | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise UsageError(
                "PE-SINK-020",
                found=f"a token of {len(self.token)} characters, or one with signs that do not fit into an address",
                expected=f"{SHORTEST_TOKEN} to 128 letters, digits, or . _ ~ -",
                next_step="choose another token, or leave it out and one is made",
            )

    def lets_in(self, given: str, token: str) -> bool:
        """Whether this is the token; takes as long for any wrong one."""
        return secrets.compare_digest(given.encode(errors="replace"), token.encode())


def page_access(*, token: str | None = None, tls: tuple[Path, Path] | None = None) -> PageAccess:
    """Token, and certificate with key, as a person names them.

    Args:
        token: None to have one made where it is needed.
        tls: Files in PEM form: the certificate, with those that vouch for it, and its key without a password.

    Raises:
        UsageError: The token will not do (`PE-SINK-020`), or certificate and key cannot be used (`PE-SINK-021`).
    """
    if tls is None:
        return PageAccess(token)
    certificate, key = tls
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # never asks at a terminal
    except (OSError, ValueError) as error:
        raise UsageError(
            "PE-SINK-021",
            found=f"the certificate {certificate} with the key {key} ({_why(error)})",
            expected="two PEM files: a certificate, and the key that belongs to it, without a password",
            next_step="correct --tls CERT KEY",
        ) from error
    return PageAccess(token, context, _names(certificate))


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the key belongs to another certificate"
        return "one is not in PEM form, or the key has a password"
    return str(getattr(error, "strerror", None) or "they cannot be read")


def _names(certificate: Path) -> tuple[str, ...]:
    """Host names and addresses that the first certificate of a file is for."""
    from cryptography import x509

    first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    try:
        alternatives = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = alternatives.get_values_for_type(x509.IPAddress)
    return (*alternatives.get_values_for_type(x509.DNSName), *(str(address) for address in addresses))
