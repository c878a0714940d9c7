"""Pictures over OpenIGTLink: PLUS, 3D Slicer, research interfaces of scanners. We are the client.

The messages are pyigtl's, the connection is ours: pyigtl's own client takes a closed connection for a quiet one.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import SourceError, UsageError, missing_extra
from physedge_runtime.frame import Colour, Frame
from physedge_runtime.sources.base import READ_WAIT_S, SignalLost, SourceInfo

IGTL = "igtl"
_DEFAULT_PORT = 18944
_CONNECT_TIMEOUT_S = 3.0
_LARGEST_BODY_BYTES = 256 * 1024 * 1024
_MESSAGE_TIMEOUT_S = 2.0
_CRC_BYTES = 8
_SILENCE_S = 3.0
_MOST_NAMES = 12


class IgtlSource:
    """IMAGE messages of one device of an OpenIGTLink server.

    Args:
        url: `igtl://HOST:PORT/DEVICE`; port 18944 and every device where they are left out.
        clock: Monotonic nanoseconds.
    """

    def __init__(self, url: str, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._host, self._port, self._device = parse_igtl_url(url)
        self._clock = clock
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._next_id = 0
        self._last_message_id: int | None = None
        self._came_s = 0.0
        self._others: set[str] = set()

    @property
    def info(self) -> SourceInfo:
        """Live, of no stated rate."""
        return SourceInfo(name=f"igtl://{self._host}:{self._port}/{self._device}", live=True)

    def open(self) -> None:
        """Connect.

        Raises:
            SignalLost: Nobody listens there (`PE-SRC-012`).
            EnvironmentFault: pyigtl is not installed (`PE-ENV-001`).
        """
        if self._socket is not None:
            return
        try:
            import pyigtl  # noqa: F401
        except ImportError as error:
            raise missing_extra("pyigtl", "igtl") from error
        try:
            self._socket = socket.create_connection((self._host, self._port), timeout=_CONNECT_TIMEOUT_S)
        except OSError as error:
            raise SignalLost(
                "PE-SRC-012",
                found=f"no OpenIGTLink server answers at {self._host}:{self._port} ({error.strerror or error})",
                expected="a server that sends IMAGE messages",
                next_step="start the server, or correct --source igtl://HOST:PORT/DEVICE",
            ) from error
        self._socket.settimeout(READ_WAIT_S)
        self._received.clear()
        self._others.clear()
        self._came_s = time.monotonic()

    def read(self) -> Frame | None:
        """The next picture of the device, stamped when its last byte had arrived; other messages are passed over.

        Raises:
            SignalLost: The connection broke, a message stopped in its middle or was damaged, or no picture of the
                device came for three seconds; then what did come is told (`PE-SRC-008`).
            SourceError: The pictures are no uint8 images of one slice (`PE-SRC-013`).
        """
        message = self._next_message()
        if message is None or message.message_type != "IMAGE" or self._device not in ("", message.device_name):
            self._note_absence(message)
            return None
        captured_ns = self._clock()
        self._came_s = time.monotonic()
        pixels, colour = picture_of(message.image)
        frame = Frame(
            pixels=pixels,
            frame_id=self._number(int(message.message_id)),
            captured_ns=captured_ns,
            colour=colour,
            source_stamp_ns=round(message.timestamp * 1e9),
            metadata={"igtl_device": message.device_name, "ijk_to_world": message.ijk_to_world_matrix},
        )
        self._next_id = frame.frame_id + 1
        return frame

    def close(self) -> None:
        """Disconnect."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _note_absence(self, message: Any) -> None:
        if message is not None and len(self._others) < _MOST_NAMES:
            self._others.add(f"{message.message_type} of {message.device_name!r}")
        if time.monotonic() - self._came_s < _SILENCE_S:
            return
        wanted = f"no IMAGE of {self._device!r}" if self._device else "no IMAGE"
        told = f"but {', '.join(sorted(self._others))}" if self._others else "and nothing else"
        raise self._lost(f"it sent {wanted} for {_SILENCE_S:g} s, {told}")

    def _number(self, message_id: int) -> int:
        """The frame's number; a server that counts its messages (protocol 3) shows which were lost."""
        last, self._last_message_id = self._last_message_id, message_id
        if last is None or message_id <= last:
            return self._next_id
        return self._next_id + message_id - last - 1

    def _next_message(self) -> Any:
        from pyigtl.messages import MessageBase

        if not self._fill(MessageBase.IGTL_HEADER_SIZE, waits=False):
            return None
        first = bytes(self._received[: MessageBase.IGTL_HEADER_SIZE])
        try:
            header = MessageBase.parse_header(first)
        except Exception as error:  # what a damaged header raises depends on where it is damaged
            raise self._lost(f"what it sends is no OpenIGTLink, {type(error).__name__}") from error
        stated_crc = int.from_bytes(first[-_CRC_BYTES:], "big")
        size = header["body_size"]
        if size > _LARGEST_BODY_BYTES:
            raise self._lost(f"a message of {size} bytes was announced")
        end = MessageBase.IGTL_HEADER_SIZE + size
        self._fill(end, waits=True)
        body = bytes(self._received[MessageBase.IGTL_HEADER_SIZE : end])
        del self._received[:end]
        self._check(header["device_name"], stated_crc, body)
        message = MessageBase.create_message(header["message_type"])
        if message is None:
            return None
        try:
            message.unpack(header, body)
        except Exception as error:  # what a damaged body raises depends on where it is damaged
            raise self._lost(f"a damaged message came, {type(error).__name__}") from error
        return message

    def _check(self, device: str, stated_crc: int, body: bytes) -> None:
        from pyigtl.messages import CRC64

        if stated_crc != CRC64(body):
            raise self._lost(f"a message of the device {device!r} was damaged on its way: its checksum is wrong")

    def _fill(self, size: int, *, waits: bool) -> bool:
        """Receive until so many bytes are there; a message once begun must be complete within two seconds."""
        assert self._socket is not None
        give_up_s = time.monotonic() + _MESSAGE_TIMEOUT_S
        while len(self._received) < size:
            try:
                chunk = self._socket.recv(max(65536, size - len(self._received)))
            except TimeoutError:
                if not waits and not self._received:
                    return False
                if time.monotonic() > give_up_s:
                    raise self._lost("a message stopped in its middle") from None
                continue
            except OSError as error:
                raise self._lost(error.strerror or str(error)) from error
            if not chunk:
                raise self._lost("the server closed the connection")
            self._received += chunk
        return True

    def _lost(self, why: str) -> SignalLost:
        return SignalLost(
            "PE-SRC-008",
            found=f"{self.info.name} was lost, {why}",
            expected="a server that goes on sending",
            next_step="check the server, the network and the device's name in --source igtl://HOST:PORT/DEVICE",
        )


def picture_of(image: NDArray[Any]) -> tuple[NDArray[np.uint8], Colour]:
    """The picture in an IMAGE message of axes (slice, row, column) or (slice, row, column, component).

    Raises:
        SourceError: Not uint8, more than one slice, or neither one nor three components (`PE-SRC-013`).
    """
    components = image.shape[3] if image.ndim == 4 else 1
    if image.dtype != np.uint8 or image.ndim not in (3, 4) or image.shape[0] != 1 or components not in (1, 3):
        raise SourceError(
            "PE-SRC-013",
            found=f"an OpenIGTLink image of {image.dtype} {image.shape}",
            expected="uint8, one slice, one or three components",
            next_step="let the server send the picture as it is shown",
        )
    return (image[0], Colour.RGB) if components == 3 else (image.reshape(image.shape[1:3]), Colour.GREY)


def parse_igtl_url(url: str) -> tuple[str, int, str]:
    """Host, port and device of `igtl://HOST:PORT/DEVICE`.

    Raises:
        UsageError: It is written otherwise (`PE-SRC-014`).
    """
    try:
        parts = urlsplit(url)
        if parts.scheme == IGTL and parts.hostname:
            return parts.hostname, parts.port or _DEFAULT_PORT, parts.path.strip("/")
    except ValueError:
        pass
    raise UsageError(
        "PE-SRC-014",
        found=f"the OpenIGTLink address '{url}'",
        expected="igtl://HOST:PORT/DEVICE",
        next_step="correct --source",
    )
