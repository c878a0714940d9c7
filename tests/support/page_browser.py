"""Chromium for the tests of the page in the browser, and what they hand to the page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from debian import program
from stream_fakes import answer_to, picture

from physedge_runtime.frame import Frame
from physedge_runtime.results import Signal
from physedge_runtime.stream import StreamedFrame, StreamInfo, Withdrawal

INFO = StreamInfo(
    source="camera 1", live=True, period_ns=None, engine="fake 1", classes=("background", "lesion"), max_age_ms=300
)


def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        threading.Event().wait(0.02)


class Browser:
    """One Chromium without a window, shared by the tests of a module."""

    def __init__(self, downloads: Path) -> None:
        webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
        chromium, driver = program("chromium", "chromium"), program("chromedriver", "chromium-driver")
        options = webdriver.ChromeOptions()
        options.accept_insecure_certs = True  # the certificates of tests vouch for themselves
        options.binary_location = str(chromium)
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,800"):
            options.add_argument(argument)
        self._keys = webdriver.ActionChains
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(driver)))
        self.downloads = downloads

    def get(self, url: str) -> None:
        self.driver.get(url)

    def text(self, element: str) -> str:
        return str(self.driver.find_element("id", element).text)

    def reads(self, element: str, text: str) -> None:
        """Wait until this stands in the element."""
        until(lambda: text in self.text(element))

    def press(self, key: str) -> None:
        self._keys(self.driver).send_keys(key).perform()

    def click(self, element: str) -> None:
        self.driver.find_element("id", element).click()

    def style(self, element: str, name: str) -> str:
        return str(self.driver.find_element("id", element).value_of_css_property(name))

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    @property
    def is_struck(self) -> bool:
        """Whether the picture is grey, and crossed out before anybody's eyes."""
        return "grayscale(1)" in self.style("picture", "filter") and self.style("strike", "display") != "none"

    def errors(self) -> list[Any]:
        return [entry for entry in self.driver.get_log("browser") if entry["source"] != "network"]


def shown(number: int = 0) -> StreamedFrame:
    """A picture with its answer."""
    frame = Frame(pixels=picture(number), frame_id=number, captured_ns=number * 10**7)
    result = answer_to(frame)
    return StreamedFrame(
        frame=frame,
        result=result,
        signal=Signal.LIVE,
        captured_ns=frame.captured_ns,
        at_ns=frame.captured_ns + 5_000_000,
        age_ms=5.0,
        stages=result.stages,
        trust=replace(result.trust, signals={"ring_entropy": 0.25}),
        drops={"superseded": 3},
    )


def unfit(signal: Signal, reason: str, *, with_picture: bool = False) -> StreamedFrame:
    """A change of state, or a picture that is not answered; it comes as fresh as any."""
    item = replace(shown(7), result=None, signal=signal, reason=reason, withdrawn=Withdrawal.SIGNAL, trust=None)
    return item if with_picture else replace(item, frame=None, stages=None)


def safe_state(*, with_picture: bool) -> StreamedFrame:
    item = unfit(Signal.LIVE, "", with_picture=with_picture)
    text = "the engine failed 3 times in a row: device lost"
    return replace(item, withdrawn=Withdrawal.SAFE_STATE, withdrawn_text=text)


def black(shape: tuple[int, ...] = (48, 64, 3)) -> np.ndarray:
    return np.zeros(shape, np.uint8)
