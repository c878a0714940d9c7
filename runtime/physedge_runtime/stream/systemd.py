"""Readiness and watchdog messages to systemd, where its socket is there (`sd_notify(3)`).

A unit with `Type=notify` and `WatchdogSec=` then starts what depends on the stream only once it runs, and restarts a
stream whose watchdog thread has died.
"""

from __future__ import annotations

import os
import socket

_NS_PER_US = 1000


class SystemdNotifier:
    """Sends states to the service manager; does nothing where there is none.

    Args:
        address: Path of the socket, `@` first for an abstract one; `NOTIFY_SOCKET` where None.
        watchdog_us: `WATCHDOG_USEC` where None; 0 for no watchdog.
    """

    def __init__(self, address: str | None = None, watchdog_us: int | None = None) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        microseconds = _watchdog_us_from_environment() if watchdog_us is None else watchdog_us
        self._period_ns = microseconds * _NS_PER_US // 2
        self._due_ns = 0

    def send(self, state: str) -> None:
        """Send one state, for example `READY=1`; a manager that does not listen is no error."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto(state.encode(), address)
        except OSError:
            return

    def alive(self, now_ns: int) -> None:
        """Send `WATCHDOG=1` twice in each of the manager's periods; call it as often as you like."""
        if self._period_ns and now_ns >= self._due_ns:
            self._due_ns = now_ns + self._period_ns
            self.send("WATCHDOG=1")


def _watchdog_us_from_environment() -> int:
    """The manager's period, where the message is meant for this process."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0
    try:
        return int(os.environ.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return 0
