"""Results to an MQTT broker: the objects of `docs/results_jsonl.md`, one message each, no pixels.

Topics, below the one that is named:

    status   `online`, and `offline` by the broker's own hand when we are gone (a last will); retained
    stream   what streams; retained
    result   every picture's answer, or the reason why there is none; at most once
    state    every change of state; at least once, retained
"""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from physedge_runtime.errors import UsageError, missing_extra
from physedge_runtime.sinks.jsonl import utc_now
from physedge_runtime.sinks.record import describe, describe_stream
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo

if TYPE_CHECKING:
    from paho.mqtt.client import Client

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_KEEP_ALIVE_S = 10
_MOST_WAITING = 200


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
        self._info: StreamInfo | None = None
        self._last_state = ""

    def open(self, info: StreamInfo) -> None:
        """Begin to connect; whether the broker is there yet does not matter.

        Raises:
            EnvironmentFault: paho-mqtt is not installed (`PE-ENV-001`).
        """
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise missing_extra("paho-mqtt", "mqtt") from error
        self._info = info
        client = Client(CallbackAPIVersion.VERSION2)
        if self._user:
            client.username_pw_set(self._user, self._password)
        if self._encrypted:
            client.tls_set_context(ssl.create_default_context())
        client.will_set(f"{self._topic}/status", "offline", qos=1, retain=True)
        client.max_queued_messages_set(_MOST_WAITING)
        client.reconnect_delay_set(min_delay=1, max_delay=5)
        client.on_connect = self._greet
        client.connect_async(*self._address, keepalive=_KEEP_ALIVE_S)
        client.loop_start()
        self._client = client

    def write(self, item: StreamedFrame) -> None:
        """Publish one thing."""
        assert self._client is not None
        assert self._info is not None
        content = describe(item, self._info, utc_now())
        text = json.dumps(content, allow_nan=False, separators=(",", ":"))
        if content["kind"] == "frame" and self._client.is_connected():
            self._client.publish(f"{self._topic}/result", text, qos=0)
        state = f"{item.signal} {item.withdrawn}"
        if state != self._last_state:
            self._last_state = state
            self._client.publish(f"{self._topic}/state", text, qos=1, retain=True)

    def close(self) -> None:
        """Say goodbye and disconnect."""
        if self._client is not None:
            if self._client.is_connected():
                self._client.publish(f"{self._topic}/status", "offline", qos=1, retain=True).wait_for_publish(2.0)
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def _greet(self, client: Client, *_: Any) -> None:
        assert self._info is not None
        client.publish(f"{self._topic}/status", "online", qos=1, retain=True)
        stream = json.dumps(describe_stream(self._info, utc_now()), allow_nan=False)
        client.publish(f"{self._topic}/stream", stream, qos=1, retain=True)


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
