"""MQTT, Prometheus and OpenIGTLink as sinks, against real peers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from debian import program
from stream_fakes import FakeNet, answer_to, picture

from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Frame
from physedge_runtime.resize import to_frame
from physedge_runtime.results import Signal
from physedge_runtime.sinks.igtl import IgtlSink
from physedge_runtime.sinks.metrics import MetricsSink
from physedge_runtime.sinks.mqtt import MqttSink, parse_mqtt
from physedge_runtime.sinks.table import open_sink
from physedge_runtime.stream import StreamedFrame, StreamInfo, Withdrawal
from physedge_runtime.stream.loop import stream

INFO = StreamInfo(source="fake camera", live=True, period_ns=None, engine="fake 1", classes=("background", "lesion"))


def shown(number: int = 0) -> StreamedFrame:
    frame = Frame(pixels=picture(number), frame_id=number, captured_ns=number * 10**7, source_stamp_ns=number * 10**9)
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
        drops={"superseded": 2},
    )


def gone() -> StreamedFrame:
    return StreamedFrame(
        frame=None,
        signal=Signal.LOST,
        reason="gone",
        withdrawn=Withdrawal.SIGNAL,
        withdrawn_text="LOST: gone",
        captured_ns=0,
        at_ns=1,
        age_ms=1.0,
    )


def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        threading.Event().wait(0.01)


# MQTT.


class Broker:
    """A real mosquitto on a free port of the loopback."""

    def __init__(self, folder: Path) -> None:
        self._program = program("mosquitto", "mosquitto")
        self._config = folder / "mosquitto.conf"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self._config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._answers)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=0.2).close()
        except OSError:
            return False
        return True


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    pytest.importorskip("paho.mqtt", reason="the extra mqtt is not installed")
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def listener(broker: Broker) -> Iterator[list[tuple[str, str]]]:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    heard: list[tuple[str, str]] = []
    subscribed = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: heard.append((message.topic, message.payload.decode()))
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_connect = lambda client, *_: client.subscribe("ward/#", qos=1)
    client.reconnect_delay_set(1, 1)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    assert subscribed.wait(10)
    yield heard
    client.disconnect()
    client.loop_stop()


def test_results_reach_a_real_broker(broker: Broker, listener: list[tuple[str, str]]) -> None:
    sink = open_sink(f"mqtt://127.0.0.1:{broker.port}/ward/3")
    sink.open(INFO)
    until(lambda: ("ward/3/status", "online") in listener)
    sink.write(shown(7))
    sink.write(gone())
    until(lambda: any(topic == "ward/3/state" and '"gone"' in text for topic, text in listener))
    sink.close()
    until(lambda: listener[-1] == ("ward/3/status", "offline"))
    result = json.loads(next(text for topic, text in listener if topic == "ward/3/result"))
    assert result["frame_id"] == 7
    assert result["answer"]["regions"]["lesion"]["area_fraction"] == 0.125
    states = [json.loads(text) for topic, text in listener if topic == "ward/3/state"]
    assert [(state["signal"], state["reason"]) for state in states if state["reason"] != "no picture yet"] == [
        ("LIVE", ""),
        ("LOST", "gone"),
        ("LOST", "the stream has ended"),
    ]
    assert all(state["answer"] is None for state in states)
    assert json.loads(next(text for topic, text in listener if topic == "ward/3/stream"))["engine"] == "fake 1"


def retained(broker: Broker, topic: str) -> str:
    """What a program reads that subscribes now; empty where nothing is retained."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    heard: list[str] = []
    finished = threading.Event()

    def take(_client: Client, _data: Any, message: Any) -> None:
        if message.retain and message.topic == topic:
            heard.append(message.payload.decode())
        if message.topic == "end":  # the broker sends what it retains before what is published later
            finished.set()

    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = take
    client.on_connect = lambda client, *_: client.subscribe([(topic, 1), ("end", 1)])
    client.on_subscribe = lambda client, *_: client.publish("end", "", qos=1)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    finished.wait(5)
    client.disconnect()
    client.loop_stop()
    return "".join(heard)


def test_after_an_orderly_end_nobody_reads_a_live_state(broker: Broker) -> None:
    with stream(
        FakeNet(), [picture(n) for n in range(5)], sinks=[MqttSink("127.0.0.1", broker.port, "w/5")]
    ) as running:
        running.wait()
    state = json.loads(retained(broker, "w/5/state"))
    assert (state["signal"], state["reason"], state["answer"]) == ("LOST", "the stream has ended", None)
    assert (state["utc"], state["captured_us"], state["withdrawn"]) == (None, None, "signal")
    assert retained(broker, "w/5/status") == "offline"


_DIES = """
import os, sys
sys.path[:0] = sys.argv[2:]
from test_sinks_network import INFO, shown, until
from physedge_runtime.sinks.mqtt import MqttSink
sink = MqttSink("127.0.0.1", int(sys.argv[1]), "w/6")
sink.open(INFO)
until(sink._state_client.is_connected)
sink.write(shown(1))
sys.stdin.readline()
os.kill(os.getpid(), 9)
"""


def test_after_kill_the_broker_itself_says_that_it_is_over(broker: Broker) -> None:
    here = Path(__file__).parent
    command = [sys.executable, "-c", _DIES, str(broker.port), str(here), str(here.parent / "support")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        until(lambda: '"LIVE"' in retained(broker, "w/6/state"), 30)
        assert json.loads(retained(broker, "w/6/state"))["answer"] is None  # it is read at any time
        process.communicate("\n")
    until(lambda: '"LOST"' in retained(broker, "w/6/state"))
    state = json.loads(retained(broker, "w/6/state"))
    assert (state["reason"], state["answer"]) == ("the connection of the stream broke off", None)
    until(lambda: retained(broker, "w/6/status") == "offline")


def test_the_state_is_there_again_after_the_connection_broke_off(broker: Broker) -> None:
    sink = MqttSink("127.0.0.1", broker.port, "w/7")
    sink.open(INFO)
    sink.write(shown(1))
    until(lambda: '"LIVE"' in retained(broker, "w/7/state"))
    broker.stop()  # it forgets what it retained
    broker.start()
    until(lambda: '"LIVE"' in retained(broker, "w/7/state"), 30)
    sink.close()


def test_a_broker_that_comes_back_is_found_again(broker: Broker, listener: list[tuple[str, str]]) -> None:
    sink = MqttSink("127.0.0.1", broker.port, "ward/4")
    sink.open(INFO)
    until(lambda: ("ward/4/status", "online") in listener)
    broker.stop()
    for number in range(500):
        sink.write(shown(number))
    sink.write(gone())
    broker.start()
    until(lambda: any(topic == "ward/4/state" and '"LOST"' in text for topic, text in listener), 30)
    sink.close()


@pytest.mark.usefixtures("broker")
def test_a_broker_that_is_not_there_holds_nothing_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with stream(FakeNet(), [picture(n) for n in range(20)], sinks=[MqttSink("127.0.0.1", port, "x")]) as running:
        assert running.wait().answers == 20


def test_an_mqtt_address_keeps_its_password() -> None:
    sink = parse_mqtt("mqtts://anna:ge%40heim@broker/ward/3")
    assert sink.name == "mqtt broker:8883/ward/3"
    assert "heim" not in sink.name
    for wrong in ("mqtt://", "mqtt://broker", "mqtt://broker/a/#", "mqtt://u:geheim@:99999/x"):
        with pytest.raises(UsageError, match="PE-SINK-006") as caught:
            open_sink(wrong)
        assert "geheim" not in str(caught.value)


# Prometheus.


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def test_prometheus_reads_counters_and_states() -> None:
    pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")
    sink = MetricsSink("127.0.0.1", 0)
    sink.open(INFO)
    try:
        for number in range(3):
            sink.write(shown(number))
        sink.write(gone())
        lines = scrape(sink.port).splitlines()
    finally:
        sink.close()
    assert 'physedge_pictures_total{stream="fake camera"} 3.0' in lines
    assert 'physedge_answers_total{stream="fake camera",trust="ok"} 3.0' in lines
    assert 'physedge_withdrawn_total{cause="signal",stream="fake camera"} 1.0' in lines
    assert 'physedge_signal{state="LOST",stream="fake camera"} 1.0' in lines
    assert 'physedge_signal{state="LIVE",stream="fake camera"} 0.0' in lines
    assert 'physedge_drops{cause="superseded",stream="fake camera"} 2.0' in lines
    assert 'physedge_stage_seconds_count{stage="inference",stream="fake camera"} 3.0' in lines
    with pytest.raises(OSError, match="refused"):
        scrape(sink.port)


@pytest.mark.parametrize("kind", ["metrics", "serve", "igtl"])
def test_a_taken_port_is_said_at_once(kind: str) -> None:
    for module in {"metrics": ["prometheus_client"], "serve": ["starlette", "uvicorn", "cv2"], "igtl": ["pyigtl"]}[
        kind
    ]:
        pytest.importorskip(module)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match="PE-SINK-005"):
        open_sink(f"{kind}:{taken.getsockname()[1]}").open(INFO)


@pytest.mark.parametrize("text", ["metrics:", "metrics:http", "serve:99999", "igtl::80"])
def test_addresses_to_listen_on_are_checked(text: str) -> None:
    with pytest.raises(UsageError, match=r"PE-SINK-00[24]"):
        open_sink(text)


# OpenIGTLink.


def test_a_real_openigtlink_client_receives_mask_and_state() -> None:
    pyigtl = pytest.importorskip("pyigtl", reason="the extra igtl is not installed")
    sink = IgtlSink("127.0.0.1", 0)
    sink.open(INFO)
    client = pyigtl.OpenIGTLinkClient("127.0.0.1", sink.port)
    try:
        until(lambda: bool(sink._clients))
        item = shown(4)
        sink.write(item)
        mask: Any = client.wait_for_message("physedge_mask", timeout=10)
        state: Any = client.wait_for_message("physedge_state", timeout=10)
        assert item.result is not None
        spec_free = to_frame(item.result.mask, _whole(item), (48, 64))  # type: ignore[attr-defined]
        np.testing.assert_array_equal(mask.image[0], spec_free)
        assert mask.image.max() == 1
        assert mask.timestamp == pytest.approx(4.0, abs=1e-6)
        assert json.loads(state.string)["frame_id"] == 4
        sink.write(gone())
        assert client.wait_for_message("physedge_mask", timeout=10).image.max() == 0
        assert json.loads(client.wait_for_message("physedge_state", timeout=10).string)["signal"] == "LOST"
    finally:
        client.stop()
        sink.close()


def _whole(item: StreamedFrame) -> Any:
    from physedge_runtime.frame import FrameSpec

    return FrameSpec(height=24, width=32)


def test_a_client_that_goes_away_or_never_reads_is_dropped() -> None:
    pytest.importorskip("pyigtl", reason="the extra igtl is not installed")
    sink = IgtlSink("127.0.0.1", 0)
    sink.open(INFO)
    try:
        with socket.create_connection(("127.0.0.1", sink.port)):
            until(lambda: bool(sink._clients))
        with socket.create_connection(("127.0.0.1", sink.port)) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            until(lambda: len(sink._clients) == 2)
            end = time.monotonic() + 30
            number = 0
            while sink._clients and time.monotonic() < end:
                sink.write(shown(number))
                number += 1
            assert sink._clients == []
    finally:
        sink.close()
