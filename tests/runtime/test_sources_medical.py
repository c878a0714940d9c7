"""DICOM, OpenIGTLink and voltages, against real files and a real server."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stream_dicom
from stream_dicom import tissue_region
from stream_fakes import FakeNet, picture

from physedge_runtime.errors import SourceError, UsageError
from physedge_runtime.frame import Colour, Frame
from physedge_runtime.results import Result, Segmentation, StageTimes
from physedge_runtime.sinks.base import CollectingSink
from physedge_runtime.sinks.record import describe
from physedge_runtime.sources import SignalLost, Source, SourceEnded, igtl, open_source
from physedge_runtime.sources.igtl import parse_igtl_url, picture_of
from physedge_runtime.stream.loop import stream


def all_frames(source: Source) -> list[Frame]:
    source.open()
    frames: list[Frame] = []
    try:
        while True:
            frame = source.read()
            if frame is not None:
                frames.append(frame)
    except SourceEnded:
        return frames
    finally:
        source.close()


def read_one(source: Source, timeout_s: float = 10.0) -> Frame:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        frame = source.read()
        if frame is not None:
            return frame
    raise AssertionError("no frame came")


# DICOM.


@pytest.fixture
def write_dicom(tmp_path: Path) -> Callable[..., Path]:
    """Writes an ultrasound multi-frame file of the given frames (frame, height, width[, 3])."""
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    return partial(stream_dicom.write_dicom, tmp_path / "MUELLER^ANNA.dcm")


GREY_FRAMES = np.random.default_rng(0).integers(0, 256, (4, 20, 30), np.uint8)


@pytest.mark.parametrize("compress", [False, True])
def test_every_frame_of_a_dicom_file_comes_as_it_was_stored(write_dicom: Callable[..., Path], compress: bool) -> None:
    source = open_source(str(write_dicom(GREY_FRAMES, compress=compress, FrameTime="40.0")))
    frames = all_frames(source)
    assert [frame.frame_id for frame in frames] == [0, 1, 2, 3]
    np.testing.assert_array_equal([frame.pixels for frame in frames], GREY_FRAMES)
    assert [frame.source_stamp_ns for frame in frames] == [0, 40_000_000, 80_000_000, 120_000_000]
    assert all(frame.colour is Colour.GREY for frame in frames)
    assert (source.info.period_ns, source.info.frames, source.info.live) == (40_000_000, 4, False)


def test_colours_come_out_as_red_green_blue(write_dicom: Callable[..., Path]) -> None:
    pydicom = pytest.importorskip("pydicom")
    red = np.zeros((2, 16, 16, 3), np.uint8)
    red[..., 0] = 250
    ybr = np.stack([pydicom.pixels.convert_color_space(frame, "RGB", "YBR_FULL") for frame in red])
    frames = all_frames(open_source(str(write_dicom(ybr, PhotometricInterpretation="YBR_FULL"))))
    assert frames[0].colour is Colour.RGB
    assert np.abs(frames[0].pixels.astype(int) - red[0]).max() <= 3


def test_monochrome1_is_inverted(write_dicom: Callable[..., Path]) -> None:
    frames = all_frames(open_source(str(write_dicom(GREY_FRAMES, PhotometricInterpretation="MONOCHROME1"))))
    np.testing.assert_array_equal(frames[0].pixels, 255 - GREY_FRAMES[0])


def test_sixteen_bits_go_through_the_files_window(write_dicom: Callable[..., Path]) -> None:
    ramp = np.linspace(0, 4000, 600).astype(np.uint16).reshape(1, 20, 30)
    windowed = all_frames(open_source(str(write_dicom(ramp, WindowCenter="2000", WindowWidth="2000"))))[0].pixels
    assert windowed.dtype == np.uint8
    assert windowed[ramp[0] <= 1000].max() == 0
    assert windowed[ramp[0] >= 3000].min() == 255
    assert abs(int(windowed[ramp[0] >= 2000].min()) - 128) <= 2
    without = all_frames(open_source(str(write_dicom(ramp))))[0].pixels
    assert (without.min(), without.max()) == (0, 255)


def test_an_ultrasound_image_is_cut_to_its_tissue_region(write_dicom: Callable[..., Path]) -> None:
    regions = [tissue_region(0, 0, 29, 4, data_type=2), tissue_region(5, 6, 24, 17)]
    frames = all_frames(open_source(str(write_dicom(GREY_FRAMES, SequenceOfUltrasoundRegions=regions))))
    np.testing.assert_array_equal(frames[0].pixels, GREY_FRAMES[0, 6:18, 5:25])
    assert frames[0].metadata["region_px"] == (5, 6, 25, 18)


@pytest.mark.parametrize(
    ("changes", "stamps_ms"),
    [({"FrameTimeVector": [0, 30, 50, 30]}, [0, 30, 80, 110]), ({"CineRate": "50"}, [0, 20, 40, 60]), ({}, None)],
)
def test_frame_times_come_from_whichever_element_states_them(
    write_dicom: Callable[..., Path], changes: dict[str, Any], stamps_ms: list[int] | None
) -> None:
    frames = all_frames(open_source(str(write_dicom(GREY_FRAMES, **changes))))
    stamps = [frame.source_stamp_ns for frame in frames]
    assert stamps == ([None] * 4 if stamps_ms is None else [value * 1_000_000 for value in stamps_ms])


def test_no_identifier_leaves_a_dicom_file_by_a_log(write_dicom: Callable[..., Path]) -> None:
    path = write_dicom(GREY_FRAMES)
    sink = CollectingSink()
    events: list[str] = []
    with stream(FakeNet(), str(path), sinks=[sink], on_event=lambda event: events.append(event.text)) as running:
        running.wait()
    assert sink.info is not None
    spoken = json.dumps([describe(item, sink.info, "") for item in sink.items]) + " ".join(events) + str(sink.info)
    uid = str(sink.items[0].frame.metadata["dicom"].StudyInstanceUID) if sink.items[0].frame else ""
    assert uid
    assert "MUELLER" not in spoken
    assert uid not in spoken


def test_what_is_no_dicom_image_is_refused_without_its_name(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    path = tmp_path / "MUELLER^ANNA.dcm"
    for content in (None, b"", b"no dicom at all" * 100):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SourceError, match=r"PE-SRC-002|PE-SRC-011") as caught:
            all_frames(open_source(str(path)))
        assert "MUELLER" not in str(caught.value)


def test_truncated_pixels_are_an_error_and_no_picture(write_dicom: Callable[..., Path]) -> None:
    path = write_dicom(GREY_FRAMES)
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(SourceError, match="PE-SRC-011"):
        all_frames(open_source(str(path)))


# OpenIGTLink.


@pytest.fixture
def igtl_server() -> Iterator[Any]:
    pyigtl = pytest.importorskip("pyigtl", reason="the extra igtl is not installed")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    server = pyigtl.OpenIGTLinkServer(port=0, local_server=True)
    yield server
    server.stop()
    for number, handler in handlers.items():
        signal.signal(number, handler)  # pyigtl puts its own in


def send_image(server: Any, image: np.ndarray, name: str = "Image", stamp_s: float = 1000.5) -> None:
    import pyigtl

    server.send_message(pyigtl.ImageMessage(image, device_name=name, timestamp=stamp_s), wait=False)


def test_pictures_come_from_a_real_openigtlink_server(igtl_server: Any) -> None:
    import pyigtl

    source = open_source(f"igtl://127.0.0.1:{igtl_server.server_address[1]}/Image")
    source.open()
    with closing(source):
        grey = picture(1)[:, :, 0]
        send_image(igtl_server, grey[np.newaxis])
        frame = read_one(source)
        np.testing.assert_array_equal(frame.pixels, grey)
        assert frame.source_stamp_ns == pytest.approx(1000.5e9, abs=1000)
        igtl_server.send_message(pyigtl.StringMessage("not a picture"), wait=False)
        send_image(igtl_server, picture(2)[np.newaxis], name="Other")
        send_image(igtl_server, picture(3)[np.newaxis])
        colour = read_one(source)
        np.testing.assert_array_equal(colour.pixels, picture(3))
        assert (colour.colour, colour.frame_id) == (Colour.RGB, 1)


def test_a_stream_runs_on_openigtlink(igtl_server: Any) -> None:
    url = f"igtl://127.0.0.1:{igtl_server.server_address[1]}/Image"
    stop = threading.Event()

    def send() -> None:
        number = 0
        while not stop.wait(0.02):
            number += 1
            send_image(igtl_server, picture(number)[np.newaxis], stamp_s=number * 0.02)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        with stream(FakeNet(), url, max_age_ms=5000) as running:
            results = [next(running) for _ in range(5)]
    finally:
        stop.set()
        sender.join()
    assert all(isinstance(result, Result) for result in results)


def test_a_server_that_closes_is_lost_and_one_that_is_not_there_too() -> None:
    pytest.importorskip("pyigtl", reason="the extra igtl is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        source = open_source(f"igtl://127.0.0.1:{port}")
        source.open()
        connection, _ = server.accept()
        assert source.read() is None
        connection.sendall(b"\0" * 30)
        connection.close()
        with pytest.raises(SignalLost, match="PE-SRC-008"):
            read_one(source)
        source.close()
    with pytest.raises(SignalLost, match=r"PE-SRC-012: no OpenIGTLink server answers"):
        source.open()


def test_an_absurd_or_damaged_message_is_not_believed() -> None:
    pyigtl = pytest.importorskip("pyigtl", reason="the extra igtl is not installed")
    from pyigtl.messages import CRC64

    good = pyigtl.ImageMessage(picture(0)[np.newaxis], device_name="Image").pack()
    huge = bytearray(good)
    huge[42:50] = (1 << 40).to_bytes(8, "big")
    damaged = bytearray(good)
    damaged[58 + 3] = 99  # a scalar type that does not exist
    damaged[50:58] = CRC64(bytes(damaged[58:])).to_bytes(8, "big")
    for content, reason in ((huge, "announced"), (damaged, "damaged")):
        with socket.create_server(("127.0.0.1", 0)) as server:
            source = open_source(f"igtl://127.0.0.1:{server.getsockname()[1]}/Image")
            source.open()
            connection, _ = server.accept()
            connection.sendall(bytes(content))
            with pytest.raises(SignalLost, match=reason):
                read_one(source)
            connection.close()
            source.close()


def test_a_picture_that_changed_on_its_way_is_lost_at_once() -> None:
    pyigtl = pytest.importorskip("pyigtl", reason="the extra igtl is not installed")
    changed = bytearray(pyigtl.ImageMessage(picture(0)[np.newaxis], device_name="Image").pack())
    changed[-100] ^= 1
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = open_source(f"igtl://127.0.0.1:{server.getsockname()[1]}/Image")
        source.open()
        connection, _ = server.accept()
        with connection, closing(source):
            connection.sendall(bytes(changed))
            with pytest.raises(SignalLost, match=r"PE-SRC-008: .*checksum"):
                read_one(source)


def test_what_a_server_sends_in_place_of_the_wanted_picture_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pyigtl = pytest.importorskip("pyigtl", reason="the extra igtl is not installed")
    monkeypatch.setattr(igtl, "_SILENCE_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = open_source(f"igtl://127.0.0.1:{server.getsockname()[1]}/Image")
        for sent, told in (([], "and nothing else"), (["Image_Reference"], "IMAGE of 'Image_Reference'")):
            source.open()
            connection, _ = server.accept()
            with connection, closing(source):
                for name in sent:
                    connection.sendall(pyigtl.ImageMessage(picture(0)[np.newaxis], device_name=name).pack())
                    connection.sendall(pyigtl.TransformMessage(np.eye(4), device_name="ProbeToReference").pack())
                with pytest.raises(SignalLost, match=f"no IMAGE of 'Image' for 0.5 s, .*{told}") as caught:
                    read_one(source)
                assert ("TRANSFORM of 'ProbeToReference'" in caught.value.found) == bool(sent)


def test_what_is_no_openigtlink_is_lost_and_no_traceback() -> None:
    pytest.importorskip("pyigtl", reason="the extra igtl is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = open_source(f"igtl://127.0.0.1:{server.getsockname()[1]}")
        source.open()
        connection, _ = server.accept()
        with connection, closing(source):
            connection.sendall(b"\xff" * 58)
            with pytest.raises(SignalLost, match="no OpenIGTLink"):
                read_one(source)


@pytest.mark.parametrize(
    "image", [np.zeros((1, 4, 4), np.uint16), np.zeros((2, 4, 4), np.uint8), np.zeros((1, 4, 4, 2), np.uint8)]
)
def test_images_that_are_no_pictures_are_refused(image: np.ndarray) -> None:
    with pytest.raises(SourceError, match="PE-SRC-013"):
        picture_of(image)


def test_openigtlink_addresses() -> None:
    assert parse_igtl_url("igtl://plus") == ("plus", 18944, "")
    assert parse_igtl_url("igtl://plus:1234/Image_Reference") == ("plus", 1234, "Image_Reference")
    for wrong in ("igtl://", "igtl://host:port/x"):
        with pytest.raises(UsageError, match="PE-SRC-014"):
            parse_igtl_url(wrong)


# Voltages.


def reconstruct(frame: Frame) -> Result:
    return Segmentation(
        frame_id=frame.frame_id,
        captured_ns=frame.captured_ns,
        age_ms=0,
        stages=StageTimes(),
        mask=np.zeros((4, 4), np.uint8),
        probability=np.zeros((1, 4, 4), np.float32),
        classes=("background", "inclusion"),
        frame_shape=(4, 4),
    )


@pytest.mark.parametrize("name", ["v.npy", "v.csv", "v.txt"])
def test_recorded_voltages_come_frame_by_frame(tmp_path: Path, name: str) -> None:
    voltages = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    if name == "v.npy":
        np.save(tmp_path / name, voltages)
    else:
        separator = "," if name == "v.csv" else " "
        lines = ["# measured", *(separator.join(repr(float(value)) for value in row) for row in voltages)]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    frames = all_frames(open_source(f"voltages:{tmp_path}/{name}"))
    np.testing.assert_array_equal([frame.pixels for frame in frames], voltages)
    assert frames[0].pixels.dtype == np.float32


@pytest.mark.parametrize("content", ["", "1 2\n3\n", "1 two\n"])
def test_a_file_without_voltages_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "v.csv").write_text(content)
    with pytest.raises(SourceError, match="PE-SRC-015"):
        open_source(f"voltages:{tmp_path}/v.csv").open()


def test_pickled_arrays_are_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(SourceError, match="PE-SRC-015"):
        open_source(f"voltages:{tmp_path}/v.npy").open()


def test_live_voltages_come_over_tcp_and_the_stream_survives_a_break() -> None:
    generator = np.random.default_rng(0)
    stop = threading.Event()

    def device(server: socket.socket) -> None:
        for _ in range(2):
            connection, _ = server.accept()
            with connection:
                for _ in range(25):
                    line = ",".join(f"{value:.6f}" for value in generator.normal(size=16))
                    connection.sendall(line.encode() + b"\n")
                    stop.wait(0.01)
        stop.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = threading.Thread(target=device, args=(server,))
        sender.start()
        url = f"voltages:tcp://127.0.0.1:{server.getsockname()[1]}"
        sink = CollectingSink()
        end = time.monotonic() + 20
        with stream(FakeNet(reconstruct), url, sinks=[sink], max_age_ms=5000) as running:
            while running.summary().captured < 50:
                assert time.monotonic() < end
                threading.Event().wait(0.01)
        stop.set()
        sender.join()
    assert any(item.signal == "LOST" for item in sink.items)
    assert running.summary().answers > 10


def test_a_line_that_holds_no_numbers_is_a_lost_signal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = open_source(f"voltages:tcp://127.0.0.1:{server.getsockname()[1]}")
        source.open()
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"GET / HTTP/1.1\r\n")
            with pytest.raises(SignalLost, match="something else than numbers"):
                read_one(source)
        source.close()


@pytest.mark.parametrize("text", ["voltages:tcp://host", "voltages:tcp://:99"])
def test_voltage_addresses_are_checked(text: str) -> None:
    with pytest.raises(UsageError, match="PE-SRC-017"):
        open_source(text)
