"""Results to an MQTT broker: the objects of `docs/results_jsonl.md`, one message each, no pixels.

Topics, below the one that is named:

    status   `online`, and `offline` by the broker's own hand when we are gone (a last will); retained
    stream   what streams; retained
    result   every picture's answer, or the reason why there is none; at most once
    state    every change of state, without an answer; at least once, retained

What a broker retains is read long after it was sent. So a state holds no answer, and whoever reads it after the end,
however it came, reads LOST: an orderly end says so itself, else the broker does, by a second connection's last will.
"""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from physedge_runtime.errors import UsageError, missing_extra
from physedge_runtime.sinks.jsonl import utc_now
from physedge_runtime.sinks.record import describe, describe_end, describe_stream
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo

if TYPE_CHECKING:
    from paho.mqtt.client import Client

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_KEEP_ALIVE_S = 10
_MOST_WAITING = 200
_GOODBYE_S = 2.0


class MqttSink:
    """Publishes to one broker; a broker that is away is waited for, and what does not fit meanwhile is left out.

    Args:
        host: Of the broker.
        port: Of the broker.
        topic: Above all others.
        user: Empty for none.
        password: Never shown.
        encrypted: TLS with the system's certificates.
    """

    def __init__(
        self, host: str, port: int, topic: str, *, user: str = "", password: str = "", encrypted: bool = False
    ) -> None:
        self.name = f"mqtt {host}:{port}/{topic}"
        self._address, self._topic = (host, port), topic
        self._user, self._password, self._encrypted = user, password, encrypted
        self._client: Client | None = None
        self._state_client: Client | None = None
        self._info: StreamInfo | None = None
        self._last_state = self._state_text = ""

    def open(self, info: StreamInfo) -> None:
        """Begin to connect; whether the broker is there yet does not matter.

        Raises:
            EnvironmentFault: paho-mqtt is not installed (`PE-ENV-001`).
        """
        try:
            import paho.mqtt.client  # noqa: F401
        except ImportError as error:
            raise missing_extra("paho-mqtt", "mqtt") from error
        self._info = info
        self._state_text = _text(describe_end(info, "no picture yet"))
        gone = _text(describe_end(info, "the connection of the stream broke off"))
        self._client = self._connected(f"{self._topic}/status", "offline", self._greet)
        self._state_client = self._connected(f"{self._topic}/state", gone, self._tell_state)

    def _connected(self, will_topic: str, will: str, on_connect: Callable[..., None]) -> Client:
        """A client that is connecting; the broker publishes its will where it goes without a word."""
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(CallbackAPIVersion.VERSION2)
        if self._user:
            client.username_pw_set(self._user, self._password)
        if self._encrypted:
            client.tls_set_context(ssl.create_default_context())
        client.will_set(will_topic, will, qos=1, retain=True)
        client.max_queued_messages_set(_MOST_WAITING)
        client.reconnect_delay_set(min_delay=1, max_delay=5)
        client.on_connect = on_connect
        client.connect_async(*self._address, keepalive=_KEEP_ALIVE_S)
        client.loop_start()
        return client

    def write(self, item: StreamedFrame) -> None:
        """Publish one thing."""
        assert self._client is not None
        assert self._state_client is not None
        assert self._info is not None
        content = describe(item, self._info, utc_now())
        if content["kind"] == "frame" and self._client.is_connected():
            self._client.publish(f"{self._topic}/result", _text(content), qos=0)
        state = f"{item.signal} {item.withdrawn}"
        if state != self._last_state:
            self._last_state = state
            self._state_text = _text({**content, "kind": "state", "answer": None})
            self._state_client.publish(f"{self._topic}/state", self._state_text, qos=1, retain=True)

    def close(self) -> None:
        """Say goodbye and disconnect."""
        if self._client is None or self._state_client is None or self._info is None:
            return
        ended = self._state_text = _text(describe_end(self._info, "the stream has ended"))
        _leave(self._state_client, f"{self._topic}/state", ended)
        _leave(self._client, f"{self._topic}/status", "offline")
        self._client = self._state_client = None

    def _greet(self, client: Client, *_: Any) -> None:
        assert self._info is not None
        client.publish(f"{self._topic}/status", "online", qos=1, retain=True)
        client.publish(f"{self._topic}/stream", _text(describe_stream(self._info, utc_now())), qos=1, retain=True)

    def _tell_state(self, client: Client, *_: Any) -> None:
        """Say it anew on every connection: the last one's will may stand there, or an earlier run's state."""
        client.publish(f"{self._topic}/state", self._state_text, qos=1, retain=True)


def _leave(client: Client, topic: str, last_word: str) -> None:
    """Publish the last word and disconnect; where it does not arrive, go without a word, so that the will is done."""
    arrived = False
    if client.is_connected():
        message = client.publish(topic, last_word, qos=1, retain=True)
        with contextlib.suppress(RuntimeError, ValueError):  # the connection broke off in this instant
            message.wait_for_publish(_GOODBYE_S)
            arrived = message.is_published()
    if arrived:
        client.disconnect()
    client.loop_stop()


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def parse_mqtt(text: str) -> MqttSink:
    """The sink for `mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC` or `mqtts://...`, with or without the scheme's name.

    Raises:
        UsageError: It is written otherwise (`PE-SINK-006`); the message holds no password.
    """
    try:
        parts = urlsplit(text if "://" in text else f"mqtt:{text}" if text.startswith("//") else f"mqtt://{text}")
        topic = parts.path.strip("/")
        is_plain = not parts.query and not set(text) & set("#+")
        if parts.scheme in _PORTS and parts.hostname and topic and is_plain:
            return MqttSink(
                parts.hostname,
                parts.port or _PORTS[parts.scheme],
                topic,
                user=unquote(parts.username or ""),
                password=unquote(parts.password or ""),
                encrypted=parts.scheme == "mqtts",
            )
    except ValueError:
        pass
    raise UsageError(
        "PE-SINK-006",
        found="an MQTT address without a host or a topic",
        expected="mqtt://HOST:1883/TOPIC or mqtts://USER:PASSWORD@HOST/TOPIC",
        next_step="correct --sink",
    )
