"""`physedge run --serve` on a 30 Hz network camera: what headless Chromium shows, and what it says as the camera dies.

    python benchmarks/page.py --bundle build/demo/pmrnet_s-demo.physedge --pictures build/page

Prints what the browser showed (pictures a second, their age), how long the page took to say LOST and LIVE, and how the
command ended on Ctrl-C; writes screenshots of each state.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from machine import machine_line
from selenium import webdriver
from stream_peers import SIZE, BlobCamera

LOOK_S = 20.0
PATIENCE_S = 60.0


def seconds_until(condition: Callable[[], bool]) -> float:
    """How long it takes until something is so."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > PATIENCE_S:
            raise SystemExit("it never happened")
        time.sleep(0.01)
    return time.monotonic() - started


def page_address(lines: IO[str]) -> str:
    """The page that `run` prints."""
    for line in lines:
        if found := re.search(r"page: (https?://\S+)", line):
            return found[1]
    raise SystemExit("run printed no page")


def open_browser() -> webdriver.Chrome:
    """Debian's Chromium without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,800"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.pictures.mkdir(parents=True, exist_ok=True)
    physedge = [sys.executable, "-c", "from physedge.cli import main; main()"]
    with BlobCamera(size=SIZE) as camera:
        command = [*physedge, "run", "--source", camera.url, "--bundle", str(arguments.bundle), "--serve"]
        with subprocess.Popen(
            [*command, "--threads", "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NO_COLOR": "1"},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        ) as process:
            assert process.stderr is not None
            browser = open_browser()
            shots = itertools.count(1)

            def reads(text: str) -> bool:
                return text == browser.find_element("id", "state").text

            def shoot(name: str) -> None:
                browser.save_screenshot(str(arguments.pictures / f"{next(shots)}-{name}.png"))

            try:
                browser.get(page_address(process.stderr))
                seconds_until(lambda: reads("LIVE"))
                browser.find_element("id", "engineering").click()  # the ages are kept while they are shown
                time.sleep(LOOK_S)
                shown = browser.execute_script("return physedgeAges.filter(one => performance.now() - one[0] < 15000)")
                shoot("live")
                camera.stop()
                lost_s = seconds_until(lambda: reads("LOST"))
                shoot("lost")
                camera.start()
                back_s = seconds_until(lambda: reads("LIVE"))
                shoot("back")
                process.send_signal(signal.SIGINT)
                out, _ = process.communicate(timeout=PATIENCE_S)
                gone_s = seconds_until(lambda: reads("NO CONNECTION"))
                shoot("gone")
            finally:
                browser.quit()
                process.kill()
    gaps_ms = [after[0] - before[0] for before, after in itertools.pairwise(shown)]
    ages_ms = [age for _, age, _ in shown]
    rate_hz, gap_ms, age_ms = 1000 / statistics.mean(gaps_ms), statistics.median(gaps_ms), statistics.median(ages_ms)
    answered = sum(bool(one) for *_, one in shown)
    print(f"30 Hz camera of {SIZE[1]}x{SIZE[0]}, {len(shown)} pictures shown in {sum(gaps_ms) / 1000:.1f} s")
    print(f"  {rate_hz:.1f} pictures a second on the page, gap median {gap_ms:.0f} ms, largest {max(gaps_ms):.0f} ms")
    print(f"  answered {answered}, age when handed out median {age_ms:.0f} ms, largest {max(ages_ms):.0f} ms")
    print(f"  LOST read after {lost_s:.2f} s, LIVE again after {back_s:.2f} s, NO CONNECTION after {gone_s:.2f} s")
    print(f"  Ctrl-C: exit status {process.returncode}; it told: {' / '.join(out.splitlines()[:5])}")
    print(machine_line())


if __name__ == "__main__":
    main()
