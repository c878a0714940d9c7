"""What a person reads off the page in the browser, in every state: Chromium looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from certificates import write_certificate
from mjpeg_server import MjpegCamera
from page_browser import INFO, Browser, safe_state, shown, unfit, until
from stream_fakes import FakeNet, answer_to

from physedge_runtime.frame import Frame, VoltageSpec
from physedge_runtime.results import Classification, Reconstruction, Result, Signal, StageTimes, Trust, TrustState
from physedge_runtime.sinks.page_access import PageAccess, page_access
from physedge_runtime.sinks.serve import ServeSink
from physedge_runtime.stream import StreamedFrame, Withdrawal
from physedge_runtime.stream.loop import stream

for _module in ("starlette", "uvicorn"):
    pytest.importorskip(_module, reason="the extra serve is not installed")

NUMBERS = ("age", "rate", "trust")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("downloads"))
    yield browser
    browser.driver.quit()


@pytest.fixture
def sink() -> Iterator[ServeSink]:
    sink = ServeSink("127.0.0.1", 0)
    sink.open(INFO)
    yield sink
    sink.close()


@pytest.fixture
def live(browser: Browser, sink: ServeSink) -> Iterator[Browser]:
    """The page of `sink`, LIVE, with the engineer's view open; afterwards the page has told no error."""
    browser.resize(1280, 800)
    sink.write(shown(1))
    browser.get(sink.url)
    browser.reads("state", "LIVE")
    browser.press("e")
    yield browser
    assert browser.errors() == []


@pytest.mark.parametrize(
    ("item", "word"),
    [
        (unfit(Signal.LOST, "no frame for 171 ms"), "LOST"),
        (unfit(Signal.FROZEN, "the same picture again and again", with_picture=True), "FROZEN"),
        (unfit(Signal.BLACK, "the picture is black", with_picture=True), "BLACK"),
        (unfit(Signal.SATURATED, "the picture is white", with_picture=True), "SATURATED"),
        (safe_state(with_picture=False), "SAFE STATE"),
        (safe_state(with_picture=True), "SAFE STATE"),
    ],
)
def test_where_nothing_holds_the_picture_is_struck_and_the_numbers_are_gone(
    live: Browser, sink: ServeSink, item: StreamedFrame, word: str
) -> None:
    assert not live.is_struck
    assert live.text("rate") != "–" and live.text("trust") == "ok" and "ms" in live.text("age")
    assert "ring entropy" in live.text("signals") and "inference" in live.text("stages")
    sink.write(item)
    live.reads("markword", word)
    until(lambda: live.is_struck)
    assert live.text("state") == word
    assert live.text("found") == "no answer is shown"
    assert live.text("rate") == live.text("trust") == "–"
    assert live.text("signals") == live.text("stages") == ""
    # Only of a picture that stopped coming is it known how old it is, and that goes on; no figure contradicts it.
    if word == "LOST":
        until(lambda: live.text("age") not in ("–", "5.0 ms"))
        assert "171" not in live.text("sentence") + live.text("reason")
    else:
        assert live.text("age") == "–"
    sink.write(shown(9))
    live.reads("state", "LIVE")
    assert not live.is_struck
    assert live.text("markword") == live.text("sentence") == ""


def test_what_the_operator_froze_is_answered_and_not_struck(live: Browser, sink: ServeSink) -> None:
    sink.write(replace(shown(2), signal=Signal.FROZEN, reason="frozen by the operator"))
    live.reads("state", "FROZEN")
    assert not live.is_struck
    assert "lesion" in live.text("found")
    assert "by the operator" in live.text("sentence")


def test_an_answer_that_became_too_old_is_not_said_to_be_as_old_as_it_was_then(live: Browser, sink: ServeSink) -> None:
    old = replace(shown(2), frame=None, result=None, withdrawn=Withdrawal.OLD)
    sink.write(replace(old, withdrawn_text="the answer on show is 312 ms old", age_ms=312.0))
    live.reads("sentence", "too old")
    assert "312" not in live.text("sentence")
    assert live.text("found") == "no answer is shown"


def test_a_stream_that_stops_without_a_word_is_not_called_live(live: Browser, sink: ServeSink) -> None:
    """As where the stream's threads hang while the page's server goes on."""
    live.reads("state", "NO CONNECTION")
    live.reads("sentence", "its stream has stopped")
    until(lambda: live.is_struck)
    assert live.text("rate") == "–" and live.text("found") == "no answer is shown"
    sink.write(shown(2))
    live.reads("state", "LIVE")


def test_a_file_is_not_called_live(browser: Browser) -> None:
    sink = ServeSink("127.0.0.1", 0)
    sink.open(replace(INFO, live=False))
    sink.write(shown(1))
    browser.get(sink.url)
    browser.reads("state", "PLAYBACK")
    sink.close()
    browser.reads("sentence", "ended this stream")
    until(lambda: browser.is_struck)


def test_a_file_says_where_it_is_and_what_part_is_looked_at(browser: Browser) -> None:
    sink = ServeSink("127.0.0.1", 0)
    sink.open(replace(INFO, live=False, notes=("interlaced, deinterlaced", "region 2 is not looked at")))
    item = shown(1)
    assert item.frame is not None
    frame = replace(item.frame, position_ns=63_400_000_000, part="region 1 of 2", name="clip.mp4")
    sink.write(replace(item, frame=frame, damage={"cut_packets": 2}))
    try:
        browser.get(sink.url)
        browser.reads("legendhead", "Found in region 1 of 2 · clip.mp4 · 1:03.40")
        browser.reads("notes", "region 2 is not looked at")
        browser.press("e")
        browser.reads("damages", "cut packets 2")
    finally:
        sink.close()


def test_a_name_is_text_whatever_stands_in_it(browser: Browser) -> None:
    hostile = "</script><img src=x onerror=document.title='owned'><b>\u202e\x1b[31m"
    names = (hostile, "__proto__", "constructor", "toString")
    sink = ServeSink("127.0.0.1", 0)
    sink.open(replace(INFO, source=hostile, bundle=hostile, engine=hostile, classes=("background", *names)))
    probability = np.full((5, 24, 32), 0.1, np.float32)
    for label in range(1, 5):
        probability[label, 5 * label : 5 * label + 3] = 0.9
    item = shown(1)
    assert item.result is not None
    result = replace(
        item.result,
        probability=probability,
        mask=probability.argmax(0).astype(np.uint8),
        classes=("background", *names),
    )
    trust = Trust(state=TrustState.DOUBTFUL, reason=hostile, signals={hostile: 1.0, "__proto__": 2.0}, places={})
    sink.write(replace(item, result=replace(result, trust=trust), trust=trust, drops={hostile: 1, "constructor": 2}))
    try:
        browser.get(sink.url)
        browser.reads("state", "LIVE")
        browser.press("e")
        for element in ("name", "found", "sentence", "signals", "drops", "runs"):
            browser.reads(element, "<img src=x onerror")
            assert browser.run(f"return document.querySelectorAll('#{element} img, #{element} b').length") == 0
            assert "\u202e" not in browser.text(element) and "\x1b" not in browser.text(element)
        for name in names[1:]:
            assert name in browser.text("found")
        assert "owned" not in browser.driver.title.replace("'owned'", "")
        classified = Classification(
            frame_id=1,
            captured_ns=0,
            age_ms=1.0,
            stages=StageTimes(),
            label=hostile,
            probability=np.full(5, 0.2, np.float32),
            classes=("background", *names),
            parameters={"constructor": 1.0, "__proto__": 2.0, hostile: 3.0},
            note=hostile,
        )
        sink.write(replace(item, result=classified))
        browser.reads("note", "<img src=x onerror")
        browser.reads("found", "probability 0.20")
        assert browser.errors() == []
    finally:
        sink.close()


def test_pages_of_two_ports_live_side_by_side_and_a_restart_is_explained(browser: Browser) -> None:
    sinks = [ServeSink("0.0.0.0", 0) for _ in range(2)]
    for number, sink in enumerate(sinks):
        sink.open(replace(INFO, source=f"camera {number}"))
        sink.write(shown(1))
    first = browser.driver.current_window_handle
    try:
        browser.get(sinks[0].url)
        browser.reads("state", "LIVE")
        browser.driver.switch_to.new_window("tab")
        browser.get(sinks[1].url)
        browser.reads("name", "camera 1")
        sinks[0].write(replace(shown(2), drops={"superseded": 77}))
        browser.driver.switch_to.window(first)
        browser.press("e")
        browser.reads("dropped", "77")  # it still hears its device
        # Another token: the page says what to do. The same token: it goes on by itself, and says that counts are new.
        address, _, token = sinks[0].url.partition("?token=")
        port = int(address.rstrip("/").rpartition(":")[2])
        for made, word in ((PageAccess("another-token-than-before"), "RESTARTED"), (PageAccess(token), "LIVE")):
            sinks[0].close()
            sinks[0] = ServeSink("0.0.0.0", port, access=made)
            sinks[0].open(INFO)
            sinks[0].write(shown(3))
            browser.reads("state", word)
            if word == "RESTARTED":
                browser.reads("sentence", "started anew")
                until(lambda: browser.is_struck)
        browser.reads("notice", "started anew")
        assert browser.text("dropped") == "3"
        assert browser.run("return document.getElementById('picture').width") == 64
    finally:
        browser.driver.switch_to.window(first)
        for sink in sinks:
            sink.close()


def test_a_paused_view_says_so_keeps_its_picture_and_still_tells_a_loss(live: Browser, sink: ServeSink) -> None:
    pixels = "return document.getElementById('picture').toDataURL()"
    sink.write(shown(3))
    until(lambda: live.text("number") == "3")
    paused = live.run(pixels)
    live.press(" ")
    live.reads("paused", "VIEW PAUSED")
    sink.write(replace(shown(4), drops={"superseded": 44}))
    live.reads("dropped", "44")
    assert live.run(pixels) == paused
    assert live.text("age") == "–"
    sink.write(unfit(Signal.LOST, "the cable was pulled"))
    live.reads("state", "LOST")
    live.reads("sentence", "the cable was pulled")
    assert live.run(pixels) == paused and "lesion" in live.text("found")
    live.click("pause")
    until(lambda: live.is_struck)
    assert live.text("paused") == "" and live.text("found") == "no answer is shown"
    sink.write(shown(5))
    live.reads("state", "LIVE")
    until(lambda: live.run(pixels) != paused)


def test_a_snapshot_bears_its_words_in_its_pixels(live: Browser, sink: ServeSink) -> None:
    item, large = shown(1), np.full((480, 640, 3), 90, np.uint8)
    large[::4] = 110
    assert item.frame is not None
    sink.write(replace(item, frame=replace(item.frame, pixels=large), result=None))
    until(lambda: live.run("return document.getElementById('picture').width") == 640)
    live.press("s")
    until(lambda: any(path.suffix == ".png" for path in live.downloads.iterdir()))
    path = next(path for path in live.downloads.iterdir() if path.suffix == ".png")
    assert path.name.startswith("physedge_camera_1_")
    until(lambda: cv2.imread(str(path)) is not None)
    saved = cv2.imread(str(path))
    assert saved is not None
    assert saved.shape[1] == 640 and saved.shape[0] > 480, "the strip with state and time is missing"
    rows = np.flatnonzero((np.abs(saved[:480].astype(int) - large).max(axis=2) > 60).sum(axis=1) > 20)
    assert rows.size and rows.min() > 400, "no words stand in the picture itself"


def test_a_loss_sounds_until_it_is_muted(live: Browser, sink: ServeSink) -> None:
    live.run(
        "window.beeps = 0; const make = AudioContext.prototype.createOscillator;"
        "AudioContext.prototype.createOscillator = function () { window.beeps++; return make.call(this); };"
    )
    live.reads("sound", "Sound is on")  # a key was pressed before, which lets it sound
    assert live.run("return window.beeps") == 0
    sink.write(unfit(Signal.LOST, "the cable was pulled"))
    until(lambda: int(live.run("return window.beeps")) >= 3)
    live.reads("sound", "Mute")
    live.press("m")
    live.reads("sound", "Sound is off")
    sink.write(shown(2))
    live.reads("state", "LIVE")
    before = live.run("return window.beeps")
    sink.write(unfit(Signal.LOST, "the cable was pulled"))
    live.reads("state", "LOST")
    assert live.run("return window.beeps") == before
    live.click("sound")
    until(lambda: int(live.run("return window.beeps")) > before)


def test_the_first_touch_lets_it_sound_and_does_not_mute_it(browser: Browser, sink: ServeSink) -> None:
    sink.write(shown(1))
    browser.get(sink.url)
    browser.reads("sound", "Touch for sound")
    browser.click("sound")
    browser.reads("sound", "Sound is on")


def test_the_screen_stays_awake_where_the_browser_allows_it(live: Browser) -> None:
    live.reads("awake", "Screen stays awake")
    live.press("w")
    live.reads("awake", "Screen may sleep")


@pytest.mark.parametrize(("is_encrypted", "word"), [(True, "Screen stays awake"), (False, "Screen may sleep")])
def test_from_another_machine_the_screen_stays_awake_by_tls_only(
    browser: Browser, tmp_path: Path, is_encrypted: bool, word: str
) -> None:
    sink = ServeSink("0.0.0.0", 0, access=page_access(tls=write_certificate(tmp_path) if is_encrypted else None))
    sink.open(INFO)
    sink.write(shown(1))
    try:
        if "//127." in sink.url:
            pytest.skip("this machine has no address but the loopback's")
        browser.get(sink.url)
        browser.reads("state", "LIVE")
        browser.reads("awake", word)
        browser.get(sink.url.partition("?")[0])  # its cookie opens the page, too
        browser.reads("state", "LIVE")
    finally:
        sink.close()


def test_the_engineers_view_is_behind_a_key_and_the_answer_can_be_taken_off(live: Browser, sink: ServeSink) -> None:
    assert live.text("stages")
    live.press("e")
    until(lambda: live.text("stages") == "" and live.text("age") == "")
    assert live.run("return document.getElementById('engineering').getAttribute('aria-expanded')") == "false"
    pixels = "return document.getElementById('picture').toDataURL()"
    answered = live.run(pixels)
    live.press("o")
    until(lambda: live.run(pixels) != answered)
    assert live.run("return document.getElementById('outline').getAttribute('aria-pressed')") == "false"


def test_the_page_is_read_out_and_every_colour_has_its_word(live: Browser, sink: ServeSink) -> None:
    role = "return document.getElementById(arguments[0]).getAttribute(arguments[1])"
    assert live.run(role, "health", "aria-live") == "polite"
    assert live.run(role, "sentence", "role") == "alert"
    assert "lesion" in live.run(role, "picture", "aria-label")
    swatches = live.run(
        "return [...document.querySelectorAll('th i')].map(one => [one.style.background, one.parentNode.textContent])"
    )
    assert swatches and all(colour and name.strip() for colour, name in swatches)
    assert swatches[0][1] == "lesion" and swatches[0][0] == "rgb(60, 200, 233)"
    sink.write(unfit(Signal.LOST, "the cable was pulled"))
    until(lambda: str(live.run(role, "picture", "aria-label")).startswith("LOST"))
    unnamed = "return [...document.querySelectorAll('button')].filter(one => !one.textContent.trim()).length"
    assert live.run(unnamed) == 0


@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_no_barrier_in_any_state(live: Browser, sink: ServeSink, width: int) -> None:
    axe = pytest.importorskip("axe_core_python.selenium", reason="axe-core-python is not installed").Axe()
    live.resize(width, 800)
    doubt = Trust(state=TrustState.DOUBTFUL, reason="ring entropy", signals={"ring_entropy": 0.7})
    doubtful = replace(shown(2), trust=doubt, result=replace(answer_to(shown(2).frame), trust=doubt))  # type: ignore[arg-type]
    lost = unfit(Signal.LOST, "the cable was pulled")
    for item, word in (
        (shown(2), "LIVE"),
        (doubtful, "Doubtful"),
        (lost, "LOST"),
        (safe_state(with_picture=True), "SAFE"),
    ):
        sink.write(item)
        live.reads("sentence" if word == "Doubtful" else "state", word)
        found = axe.run(live.driver)["violations"]
        assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == [], word


def test_the_page_shows_the_streams_name(browser: Browser) -> None:
    sink = ServeSink("127.0.0.1", 0)
    sink.open(replace(INFO, name="Theatre 2"))
    sink.write(shown(1))
    try:
        browser.get(sink.url)
        browser.reads("name", "Theatre 2")
        until(lambda: browser.driver.title == "LIVE · Theatre 2 · physedge")
    finally:
        sink.close()


@pytest.mark.parametrize(("width", "height"), [(360, 640), (768, 1024), (1280, 800), (2560, 1440)])
def test_the_page_fits_every_width(live: Browser, sink: ServeSink, width: int, height: int) -> None:
    sink.write(unfit(Signal.LOST, "a reason that is long enough to be broken over several lines of a narrow screen"))
    live.reads("state", "LOST")
    live.resize(width, height)
    until(lambda: live.run("return innerWidth") == width)
    assert live.run("return document.documentElement.scrollWidth") <= width
    picture, sentence = (
        live.run(f"return document.getElementById('{one}').getBoundingClientRect().toJSON()")
        for one in ("picture", "sentence")
    )
    assert picture["width"] >= 0.35 * width
    assert abs(picture["width"] / picture["height"] - 64 / 48) < 0.05
    assert sentence["top"] >= picture["bottom"] - 1, "the sentence covers the picture"
    assert sentence["bottom"] <= height, "the sentence is not seen without scrolling"


def test_on_paper_the_state_is_kept_and_the_buttons_are_gone(live: Browser, sink: ServeSink) -> None:
    sink.write(unfit(Signal.LOST, "the cable was pulled"))
    live.reads("markword", "LOST")
    live.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert live.style("controls", "display") == "none"
        until(lambda: live.is_struck)
        assert live.text("markword") == "LOST"
        assert "camera 1" in live.text("printed") and "20" in live.text("printed")
    finally:
        live.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_what_the_page_says_through_a_cameras_life(browser: Browser) -> None:
    """Live, lost, live again, doubtful, void, safe state, and the end of the program: all read off the page."""
    mood = {"trust": Trust()}

    def respond(frame: Frame) -> Result:
        if mood["trust"].reason == "break":
            raise RuntimeError("device lost")
        return replace(answer_to(frame), trust=mood["trust"])

    reads = browser.reads
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
        until(lambda: browser.text("sentence") == "")
        mood["trust"] = Trust(state=TrustState.DOUBTFUL, reason="ring entropy")
        reads("trust", "doubtful")
        mood["trust"] = Trust(state=TrustState.VOID, reason="residual")
        reads("sentence", "not to be trusted: residual")
        mood["trust"] = Trust(reason="break")
        reads("sentence", "3 times in a row")
        reads("state", "SAFE STATE")
        assert running.summary().safe_state
    reads("state", "NO CONNECTION")
    reads("sentence", "No more answers: the engine failed 3 times in a row")
    reads("sentence", "the picture may be old")
    reads("found", "no answer is shown")  # nor is the last one left standing beside a picture that may be old
    reads("trust", "–")
    assert browser.errors() == []


def test_the_page_names_and_marks_the_electrode_that_fell_off(browser: Browser) -> None:
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
    sink = ServeSink("127.0.0.1", 0)
    try:
        sink.open(replace(INFO, voltage_spec=spec))
        sink.write(item)
        browser.get(sink.url)
        until(lambda: browser.text("sentence") == f"Doubtful: {reason}")
        browser.press("e")
        browser.reads("signals", "electrode 5")
        assert "red\nmore conductive" in browser.text("found")
        # Electrode 5 of 16, counter-clockwise from the top, stands at the left; number 13 at the right is as it was.
        red = (
            "const [x, y] = arguments, c = document.getElementById('picture'), s = c.width / 480;"
            "const at = c.getContext('2d').getImageData((x - 8) * s, (y - 8) * s, 16 * s, 16 * s).data;"
            "for (let i = 0; i < at.length; i += 4) if (at[i] > 200 && at[i + 2] < 60 && at[i + 1] < 150) return true;"
            "return false;"
        )
        until(lambda: browser.run(red, 228 - 182, 216))
        picture, sentence = (browser.driver.find_element("id", one) for one in ("picture", "sentence"))
        assert sentence.rect["y"] >= picture.rect["y"] + picture.rect["height"], "the sentence covers the picture"
        assert not browser.run(red, 228 + 182, 216)
    finally:
        sink.close()
