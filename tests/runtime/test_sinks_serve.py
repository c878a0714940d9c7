"""The page in the browser: what it serves, whom it lets in, and what a person would read off it."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.client import HTTPResponse
from typing import Any

import numpy as np
import pytest
from debian import program
from mjpeg_server import MjpegCamera
from stream_fakes import FakeNet, answer_to, picture

from physedge_runtime.frame import Frame, VoltageSpec
from physedge_runtime.results import Reconstruction, Result, Signal, StageTimes, Trust, TrustState
from physedge_runtime.sinks.serve import ServeSink
from physedge_runtime.sources.opencv import import_opencv
from physedge_runtime.stream import StreamedFrame, StreamInfo, Withdrawal
from physedge_runtime.stream.loop import stream

for _module in ("starlette", "uvicorn", "cv2"):
    pytest.importorskip(_module, reason="the extras serve and camera are not installed")
import_opencv()

INFO = StreamInfo(source="</script><b>camera", live=True, period_ns=None, engine="fake 1", max_age_ms=300)


def shown(number: int = 0) -> StreamedFrame:
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
        trust=result.trust,
    )


def lost() -> StreamedFrame:
    return StreamedFrame(
        frame=None,
        signal=Signal.LOST,
        reason="the cable was pulled",
        withdrawn=Withdrawal.SIGNAL,
        withdrawn_text="LOST: the cable was pulled",
        captured_ns=0,
        at_ns=1,
        age_ms=1.0,
    )


@pytest.fixture
def sink() -> Iterator[ServeSink]:
    sink = ServeSink("127.0.0.1", 0)
    sink.open(INFO)
    yield sink
    sink.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name == "physedge-serve"]


def get(url: str, **headers: str) -> HTTPResponse:
    response: HTTPResponse = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10)
    return response


def state_of(response: HTTPResponse) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(response.headers["X-Physedge"])
    return state


def decode(response: HTTPResponse) -> np.ndarray:
    cv2 = import_opencv()
    pixels = cv2.imdecode(np.frombuffer(response.read(), np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return np.asarray(pixels)


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        threading.Event().wait(0.02)


def test_picture_and_state_come_in_one_message(sink: ServeSink) -> None:
    sink.write(shown(3))
    with get(f"{sink.url}next?after=0") as response:
        state = state_of(response)
        assert decode(response).shape == (48, 64, 3)
    assert (state["frame_id"], state["number"], state["signal"]) == (3, 1, "LIVE")
    with get(f"{sink.url}next?after=1") as response:
        assert response.status == 204
        assert state_of(response)["number"] == 1


def test_a_lost_signal_shows_the_last_picture_without_its_answer(sink: ServeSink) -> None:
    sink.write(shown(3))
    with get(f"{sink.url}next?after=0") as response:
        answered = decode(response)
    with get(f"{sink.url}next?after=0&plain=1") as response:
        plain = decode(response)
    sink.write(lost())
    with get(f"{sink.url}next?after=1") as response:
        assert state_of(response)["withdrawn"] == "signal"
        after_loss = decode(response)
    np.testing.assert_array_equal(after_loss, plain)
    assert not np.array_equal(answered, plain)


def test_a_loss_is_shown_although_nobody_looked_before(sink: ServeSink) -> None:
    sink.write(shown(3))
    sink.write(lost())
    with get(f"{sink.url}next?after=0") as response:
        assert decode(response).shape == (48, 64, 3)


def test_before_the_first_picture_there_is_none(sink: ServeSink) -> None:
    with get(f"{sink.url}next?after=0") as response:
        assert response.status == 204
    with get(f"{sink.url}next?after=nonsense") as response:
        assert response.status == 204


def test_the_page_lets_no_foreign_text_become_markup(sink: ServeSink) -> None:
    with get(sink.url) as response:
        page = response.read().decode()
        policy = response.headers["Content-Security-Policy"]
    assert "<b>camera" not in page
    assert "\\u003c/script" in page
    assert "default-src 'none'" in policy
    assert "{{" not in page
    assert "http" not in page.replace(sink.url, "")  # nothing is fetched from anywhere


def test_another_name_for_this_machine_is_refused(sink: ServeSink) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        get(sink.url, Host="evil.example")


def test_beyond_the_loopback_a_token_is_needed() -> None:
    sink = ServeSink("0.0.0.0", 0)
    sink.open(INFO)
    try:
        sink.write(shown(1))
        address, _, token = sink.url.partition("?token=")
        address = address.replace("0.0.0.0", "127.0.0.1")
        assert len(token) >= 20
        for wrong in ("", "?token=wrong", "?token=" + token[:-1]):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                get(address + wrong)
            with pytest.raises(urllib.error.HTTPError, match="401"):
                get(address + "next" + wrong)
        with get(f"{address}?token={token}") as response:
            cookie = response.headers["Set-Cookie"].partition(";")[0]
        with get(address + "next?after=0", Cookie=cookie) as response:
            assert state_of(response)["frame_id"] == 1
    finally:
        sink.close()


def open_browser() -> Any:
    """Chromium without a window."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = program("chromium", "chromium"), program("chromedriver", "chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(chromium)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,800"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(str(driver)))


def test_what_the_page_says_through_a_cameras_life() -> None:
    """Live, lost, live again, doubtful, void, safe state, and the end of the program: all read off the page."""
    browser = open_browser()
    mood = {"trust": Trust()}

    def respond(frame: Frame) -> Result:
        if mood["trust"].reason == "break":
            raise RuntimeError("device lost")
        return replace(answer_to(frame), trust=mood["trust"])

    def reads(element: str, text: str) -> None:
        until(lambda: text in browser.find_element("id", element).text)

    try:
        sink = ServeSink("127.0.0.1", 0)
        with (
            MjpegCamera(rate_hz=30) as camera,
            stream(FakeNet(respond), camera.url, sinks=[sink], keep_passing=True, max_age_ms=5000) as running,
        ):
            browser.get(sink.url)
            reads("state", "LIVE")
            reads("trust", "ok")
            reads("found", "lesion")
            camera.stop()
            reads("state", "LOST")
            reads("sentence", "No answer")
            camera.start()
            reads("state", "LIVE")
            until(lambda: browser.find_element("id", "sentence").text == "")
            mood["trust"] = Trust(state=TrustState.DOUBTFUL, reason="ring entropy")
            reads("trust", "doubtful")
            mood["trust"] = Trust(state=TrustState.VOID, reason="residual")
            reads("sentence", "not to be trusted: residual")
            mood["trust"] = Trust(reason="break")
            reads("sentence", "3 times in a row")
            assert running.summary().safe_state
        reads("state", "NO CONNECTION")
        reads("sentence", "the picture may be old")
        reads("found", "no answer is shown")  # nor is the last one left standing beside a picture that may be old
        reads("trust", "–")
        errors = [entry for entry in browser.get_log("browser") if entry["source"] not in ("network",)]
        assert errors == []
    finally:
        browser.quit()


def test_the_page_names_and_marks_the_electrode_that_fell_off() -> None:
    spec = VoltageSpec(count=208, electrodes=16, protocol="adjacent", reference=True)
    reason = "electrode 5: its voltages do not fit the others, and the image is made without them"
    trust = Trust(
        state=TrustState.DOUBTFUL, reason=reason, signals={"electrode": 3.4, "order": 0.02}, places={"electrode": 5}
    )
    frame = Frame(pixels=np.zeros((2, 208), np.float32), frame_id=1, captured_ns=0)
    stages = StageTimes(inference_ms=2.0)
    result = Reconstruction(
        frame_id=1, captured_ns=0, age_ms=2.0, stages=stages, image=np.zeros((64, 64), np.float32), unit="1"
    )
    item = replace(shown(1), frame=frame, result=replace(result, trust=trust), trust=trust, stages=stages)
    sink, browser = ServeSink("127.0.0.1", 0), open_browser()
    try:
        sink.open(replace(INFO, voltage_spec=spec))
        sink.write(item)
        browser.get(sink.url)
        sentence = browser.find_element("id", "sentence")
        until(lambda: sentence.text == f"Doubtful: {reason}")
        assert "electrode 5" in browser.find_element("id", "signals").text
        # Electrode 5 of 16, counter-clockwise from the top, stands at the left; number 13 at the right is as it was.
        red = (
            "const [x, y] = arguments, c = document.getElementById('picture'), s = c.width / 480;"
            "const at = c.getContext('2d').getImageData((x - 8) * s, (y - 8) * s, 16 * s, 16 * s).data;"
            "for (let i = 0; i < at.length; i += 4) if (at[i] > 200 && at[i + 2] < 60 && at[i + 1] < 150) return true;"
            "return false;"
        )
        until(lambda: browser.execute_script(red, 228 - 182, 216))
        picture = browser.find_element("id", "picture")
        assert sentence.rect["y"] >= picture.rect["y"] + picture.rect["height"], "the sentence covers the picture"
        assert not browser.execute_script(red, 228 + 182, 216)
    finally:
        browser.quit()
        sink.close()
