"""Addresses that a sink listens on: the loopback unless another one is named."""

from __future__ import annotations

import ipaddress
import socket

from physedge_runtime.errors import UsageError

LOOPBACK = "127.0.0.1"


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
