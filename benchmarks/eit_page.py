"""`physedge run --serve` on a tomograph that sends a measured tank: what the page shows while an electrode falls off.

    python benchmarks/eit_page.py --bundle build/eit_post.physedge --data ../shared/data/eit/uef2d --pictures build/page

A device of our own sends frames over TCP: the empty tank, then a target, then the same with one electrode without
contact, then whole again. Prints what the page says of each, and writes screenshots.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from machine import machine_line
from numpy.typing import NDArray
from page import PATIENCE_S, open_browser, page_address, seconds_until

from physedge.physics.eit.faults import FAULTS
from physedge_runtime.frame import VoltageSpec
from physedge_runtime.sources.voltage_files import read_voltages
from physedge_runtime.sources.voltages import REFERENCE_FRAMES
from physedge_runtime.voltage_protocol import find_protocol

PERIOD_S = 0.2
NOISE = 1e-4
"""Of the rms of all voltages: a device that sends the very same numbers again counts as frozen."""


class Tomograph:
    """Sends the frame that it is told to, with its noise, to whoever connects."""

    def __init__(self, rest: NDArray[np.float32]) -> None:
        self.now = rest
        self._rest = rest
        self._server = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def source(self) -> str:
        """What `--source` takes."""
        return f"voltages:tcp://127.0.0.1:{self._server.getsockname()[1]}?reference=first"

    def _run(self) -> None:
        generator = np.random.default_rng(0)
        connection, _ = self._server.accept()
        with connection:
            for number in itertools.count():
                frame = self._rest if number < REFERENCE_FRAMES else self.now
                level = NOISE * np.sqrt(np.mean(self._rest**2))
                values = frame + generator.normal(size=frame.shape) * level
                try:
                    connection.sendall((",".join(f"{value:.7e}" for value in values) + "\n").encode())
                except OSError:
                    return
                if self._over.wait(PERIOD_S):
                    return

    def stop(self) -> None:
        """Hang up."""
        self._over.set()
        self._server.close()


def main() -> None:
    """Walk through it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/eit/uef2d"))
    parser.add_argument("--target", default="2_4")
    parser.add_argument("--electrode", type=int, default=5)
    parser.add_argument("--pictures", type=Path, required=True)
    asked = parser.parse_args()
    asked.pictures.mkdir(parents=True, exist_ok=True)
    protocol = find_protocol("adjacent", 16)
    spec = VoltageSpec(count=protocol.count, electrodes=16, protocol="adjacent")
    rest, whole = (read_voltages(asked.data / f"datamat_{name}.mat", spec)[0] for name in ("1_0", asked.target))
    broken = FAULTS["dead electrode"](whole, protocol, asked.electrode - 1, np.random.default_rng(1))
    device = Tomograph(rest)
    command = [sys.executable, "-m", "physedge", "run", "--bundle", str(asked.bundle), "--source", device.source]
    with subprocess.Popen(
        [*command, "--serve", "--threads", "1", "--max-age-ms", "2000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stderr is not None
        browser = open_browser()
        try:
            browser.get(page_address(process.stderr))

            def words(element: str) -> str:
                return str(browser.find_element("id", element).text)

            for name, frame, wanted in (
                ("target", whole, "ok"),
                ("electrode-off", broken.astype(np.float32), "doubtful"),
                ("whole-again", whole, "ok"),
            ):
                device.now = frame
                took_s = seconds_until(lambda wanted=wanted: words("trust") == wanted)  # type: ignore[misc]
                browser.save_screenshot(str(asked.pictures / f"eit-{name}.png"))
                print(f"{name}: {words('state')}, trust {words('trust')} after {took_s:.2f} s: {words('sentence')}")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=PATIENCE_S)
            browser.quit()
            device.stop()
    print(machine_line())


if __name__ == "__main__":
    main()
