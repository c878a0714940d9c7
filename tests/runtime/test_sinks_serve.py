"""The page in the browser: what it serves, and whom it lets in; what a person reads off it is test_sinks_page.py."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from certificates import write_certificate
from stream_fakes import answer_to, picture

from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Frame
from physedge_runtime.results import Signal
from physedge_runtime.sinks.page_access import PageAccess, page_access
from physedge_runtime.sinks.page_state import PageState
from physedge_runtime.sinks.serve import ServeSink, page_files
from physedge_runtime.sources.opencv import import_opencv
from physedge_runtime.stream import StreamedFrame, StreamInfo, Withdrawal

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


def test_the_page_is_the_same_for_every_stream_and_runs_nothing_but_its_own_files(sink: ServeSink) -> None:
    with get(sink.url) as response:
        page = response.read().decode()
        policy = response.headers["Content-Security-Policy"]
    assert "camera" not in page
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    for name in page_files():
        with get(sink.url + (name if name != "page.html" else "")) as response:
            text = response.read().decode()
            assert response.headers["X-Content-Type-Options"] == "nosniff"
        outside = text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in outside and "https:" not in outside, f"{name} asks for something from outside"
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
            assert way not in text, f"{name} turns text into markup or code by {way}"


def test_foreign_text_travels_as_json(sink: ServeSink) -> None:
    sink.write(replace(lost(), reason="<img src=x>\r\nX-Injected: 1"))
    with get(f"{sink.url}about") as response:
        assert response.headers["Content-Type"] == "application/json"
        assert json.loads(response.read())["source"] == INFO.source
    with get(f"{sink.url}next?after=0") as response:
        assert "<img src=x>" in state_of(response)["reason"]
        assert "X-Injected" not in response.headers


def test_another_name_for_this_machine_is_refused(sink: ServeSink) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        get(sink.url, Host="evil.example")


def beyond_the_loopback(**options: Any) -> ServeSink:
    sink = ServeSink("0.0.0.0", 0, **options)
    sink.open(INFO)
    sink.write(shown(1))
    return sink


def test_beyond_the_loopback_a_token_is_needed() -> None:
    sink = beyond_the_loopback()
    try:
        address, _, token = sink.url.partition("?token=")
        assert len(token) >= 20
        for wrong in ("", "?token=wrong", "?token=" + token[:-1], "?token=%ff%00"):
            for path in ("", "next", "about"):
                with pytest.raises(urllib.error.HTTPError, match="401"):
                    get(address + path + wrong)
        with get(f"{address}?token={token}") as response:
            cookie = response.headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie
        with get(address + "next?after=0", Cookie=cookie.partition(";")[0]) as response:
            assert state_of(response)["frame_id"] == 1
        with get(f"{address}next?after=0&token={token}") as response:  # of a browser that keeps no cookies
            assert state_of(response)["frame_id"] == 1
    finally:
        sink.close()


def test_the_address_that_is_told_is_one_of_this_machine_and_not_every_address() -> None:
    sink = beyond_the_loopback()
    try:
        for url in sink.urls:
            assert "//0.0.0.0:" not in url
            with get(url) as response:  # it can be opened as it is told
                assert response.status == 200
    finally:
        sink.close()


def test_pages_of_two_ports_keep_their_cookies_apart() -> None:
    sinks = [beyond_the_loopback() for _ in range(2)]
    try:
        jar = []
        for sink in sinks:
            with get(sink.url) as response:
                jar.append(response.headers["Set-Cookie"].partition(";")[0])
        assert jar[0].partition("=")[0] != jar[1].partition("=")[0]
        for sink in sinks:  # a browser sends those of all ports of a host to each of them
            with get(sink.url.partition("?")[0] + "next?after=0", Cookie="; ".join(jar)) as response:
                assert response.status == 200
    finally:
        for sink in sinks:
            sink.close()


def test_every_run_of_the_program_has_a_name_of_its_own_and_its_end_is_told(sink: ServeSink) -> None:
    sink.write(shown(1))
    other = ServeSink("127.0.0.1", 0)
    other.open(INFO)
    try:
        with get(f"{sink.url}next?after=0") as one, get(f"{other.url}next?after=9") as two:
            assert state_of(one)["run"] != state_of(two)["run"]
            assert not state_of(one)["ended"]
        with get(f"{other.url}about") as about, get(f"{other.url}next?after=9") as two:
            assert json.loads(about.read())["run"] == state_of(two)["run"]
    finally:
        other.close()
    assert other._state.view(lambda _: b"", plain=False)[0]["ended"]


def test_the_rate_falls_to_nothing_where_no_answer_comes_any_more() -> None:
    now_s = [100.0]
    state = PageState(clock=lambda: now_s[0])
    for number in range(4):
        state.put(shown(number), {})
    assert state.view(lambda _: b"jpeg", plain=False)[0]["answers_per_s"] == 2.0
    now_s[0] += 2.1
    assert state.view(lambda _: b"jpeg", plain=False)[0]["answers_per_s"] == 0.0


@pytest.mark.parametrize("token", ["", "short", "x" * 15, "x" * 129, "sixteen letters!", "sixteen&letters=1", "ä" * 20])
def test_a_token_that_is_short_or_fits_into_no_address_is_refused(token: str) -> None:
    with pytest.raises(UsageError) as refused:
        PageAccess(token)
    assert refused.value.identifier == "PE-SINK-020"
    assert not token or token not in str(refused.value)


def test_the_page_comes_by_tls(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    access = page_access(token="sixteen-letters-or-more", tls=(certificate, key))
    assert access.names == ("device", "127.0.0.1")
    sink = ServeSink("127.0.0.1", 0, access=access)
    sink.open(INFO)
    try:
        assert sink.url.startswith("https://127.0.0.1:") and sink.url.endswith("?token=sixteen-letters-or-more")
        assert sink.is_certified
        trusting = ssl.create_default_context(cafile=str(certificate))
        with urllib.request.urlopen(sink.url, context=trusting, timeout=10) as response:
            assert "Secure" in response.headers["Set-Cookie"]
        with pytest.raises((urllib.error.URLError, ConnectionError, http.client.HTTPException)):
            get(sink.url.replace("https", "http"))
    finally:
        sink.close()


def test_certificates_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "locked").mkdir()
    _, other_key = write_certificate(tmp_path / "other")
    locked = write_certificate(tmp_path / "locked", password=b"secret")
    (tmp_path / "no.pem").write_text("no certificate")
    for pair, why in (
        ((certificate, other_key), "another certificate"),
        ((tmp_path / "no.pem", key), "not in PEM form"),
        (locked, "has a password"),
        ((tmp_path / "nowhere.pem", key), "No such file"),
    ):
        with pytest.raises(UsageError, match=why) as refused:
            page_access(tls=pair)
        assert refused.value.identifier == "PE-SINK-021"
