"""Addresses that a sink listens on: the loopback unless another one is named."""

from __future__ import annotations

import ipaddress
import socket
import struct
from pathlib import Path

from physedge_runtime.errors import UsageError

LOOPBACK = "127.0.0.1"
_EVERY_IPV4, _EVERY_IPV6 = "0.0.0.0", "::"
_SIOCGIFADDR = 0x8915  # linux/sockios.h
_IFREQ_BYTES, _ADDRESS_AT = 256, slice(20, 24)
_GLOBAL_SCOPE = "00"


def parse_listen_address(text: str, *, scheme: str) -> tuple[str, int]:
    """Host and port of `PORT` or `HOST:PORT`.

    Raises:
        UsageError: It is written otherwise (`PE-SINK-004`).
    """
    host, separator, port = text.rpartition(":")
    host = host.strip("[]") if separator else LOOPBACK
    if not port.isdecimal() or int(port) > 65535 or not host:
        raise UsageError(
            "PE-SINK-004",
            found=f"the address '{text}' of {scheme}",
            expected=f"{scheme}:PORT, or {scheme}:HOST:PORT to be reached from other machines",
            next_step="correct --sink or --serve",
        )
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def opened_by(host: str) -> tuple[str, ...]:
    """What others write for a host that is listened on, the likeliest first.

    `0.0.0.0` and `::` mean every address of this machine and can be opened from nowhere: its own addresses are given
    instead, that of the route to the outside first; the loopback where there is none.
    """
    if host not in (_EVERY_IPV4, _EVERY_IPV6):
        return (host,)
    own = _own_ipv4() if host == _EVERY_IPV4 else _own_ipv6()
    return own or (LOOPBACK if host == _EVERY_IPV4 else "::1",)


def _own_ipv4() -> tuple[str, ...]:
    """The first address of every interface but the loopback, asked of the kernel; nothing is sent."""
    import fcntl

    found = []
    first = _default_interface()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for name in sorted((name for _, name in socket.if_nameindex()), key=lambda name: name != first):
            try:
                request = struct.pack(f"{_IFREQ_BYTES}s", name.encode()[:15])
                answer = fcntl.ioctl(any_socket.fileno(), _SIOCGIFADDR, request)
            except OSError:  # an interface without an address
                continue
            found.append(socket.inet_ntoa(answer[_ADDRESS_AT]))
    return tuple(address for address in found if not is_loopback(address))


def _default_interface() -> str:
    """The interface of the route to everywhere; empty where there is none."""
    routes = _lines(Path("/proc/net/route"))[1:]
    return next((fields[0] for fields in map(str.split, routes) if len(fields) > 1 and fields[1] == "00000000"), "")


def _own_ipv6() -> tuple[str, ...]:
    """Addresses that are good beyond their own wire, so that a browser needs no name of an interface."""
    fields = [line.split() for line in _lines(Path("/proc/net/if_inet6"))]
    raw = [bytes.fromhex(one[0]) for one in fields if len(one) > 3 and one[3] == _GLOBAL_SCOPE]
    return tuple(socket.inet_ntop(socket.AF_INET6, address) for address in raw)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []


def listen(host: str, port: int, *, scheme: str) -> socket.socket:
    """A socket that listens there; port 0 takes a free one.

    Raises:
        UsageError: Another program listens there, or the address is not this machine's (`PE-SINK-005`).
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=16)
    except OSError as error:
        raise UsageError(
            "PE-SINK-005",
            found=f"{scheme} cannot listen on {host}:{port} ({error.strerror or error})",
            expected="a free port of an address of this machine",
            next_step="choose another port",
        ) from error
