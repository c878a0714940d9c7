"""Cameras of this machine: listed, set and read back, on a fake driver; the numbers against Linux's own header."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from debian import program

from physedge_runtime.errors import UsageError
from physedge_runtime.sources import camera as camera_module
from physedge_runtime.sources import v4l2
from physedge_runtime.sources.camera import CameraSource
from physedge_runtime.sources.camera_settings import (
    CameraSettings,
    parse_camera_settings,
    set_controls,
    set_mode,
)
from physedge_runtime.sources.v4l2 import CameraControl, CameraMode, V4l2Device, list_cameras
from physedge_runtime.sources.v4l2_fake import FakeDriver

MODES = (
    CameraMode(format="MJPG", width=1920, height=1080, rates_hz=(60.0, 30.0)),
    CameraMode(format="MJPG", width=640, height=480, rates_hz=(120.0,)),
    CameraMode(format="YUYV", width=640, height=480, rates_hz=(30.0, 29.97)),
)
CONTROLS = (
    CameraControl(number=0x980900, name="Brightness", lowest=-64, highest=64, usual=0),
    CameraControl(number=0x980913, name="Gain", lowest=0, highest=100, usual=16),
    CameraControl(number=0x9A0901, name="Auto Exposure", lowest=0, highest=3, usual=3),
    CameraControl(number=0x9A0902, name="Exposure Time, Absolute", lowest=10, highest=5000, usual=157),
)


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver("HD Endoscope", modes=MODES, controls=CONTROLS)


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "video0"
    path.touch()
    return path


def test_what_a_camera_offers_is_read_from_its_driver(driver: FakeDriver, device: Path) -> None:
    with V4l2Device(device, ioctl=driver.ioctl) as opened:
        assert opened.card() == "HD Endoscope"
        assert opened.modes() == list(MODES)
        assert [control.name for control in opened.controls()] == [
            "brightness",
            "gain",
            "auto_exposure",
            "exposure_time_absolute",
        ]
        assert (opened.controls()[0].lowest, opened.controls()[0].highest) == (-64, 64)
    assert str(MODES[0]) == "MJPG 1920x1080 at 60, 30"


def test_cameras_are_listed_and_what_is_none_is_left_out(driver: FakeDriver, tmp_path: Path) -> None:
    for name in ("video0", "video10", "video2", "videos"):
        (tmp_path / name).touch()
    assert [number for number, *_ in list_cameras(tmp_path, ioctl=driver.ioctl)] == [0, 2, 10]
    assert list_cameras(tmp_path, ioctl=driver.ioctl)[0][1:] == ("HD Endoscope", MODES)
    assert list_cameras(tmp_path, ioctl=FakeDriver("metadata", able=0x04800000).ioctl) == []
    assert list_cameras(tmp_path) == [], "plain files answer no ioctl"


def test_controls_are_set_by_name_by_hand_first_and_read_back(driver: FakeDriver, device: Path) -> None:
    said = set_controls(device, CameraSettings(controls={"exposure": 123, "gain": 40}), ioctl=driver.ioctl)
    assert said == "controls are set to exposure_time_absolute 123, gain 40"
    assert driver.values == {0x9A0901: 1, 0x9A0902: 123, 0x980913: 40}, "exposure by hand, else it follows nobody"
    assert "auto_exposure 3" in set_controls(device, CameraSettings(controls={"exposure": None}), ioctl=driver.ioctl)
    assert set_controls(device, CameraSettings(), ioctl=driver.ioctl) == ""
    driver.step = 10
    said = set_controls(device, CameraSettings(controls={"gain": 47}), ioctl=driver.ioctl)
    assert said == "controls are set to gain 40 (asked for was 47)"


@pytest.mark.parametrize(
    ("controls", "said"),
    [
        ({"zoom": 3}, "brightness -64 to 64, gain 0 to 100"),
        ({"gain": 101}, "0 to 100"),
        ({"brightness": None}, "brightness=auto"),
    ],
)
def test_a_control_that_the_camera_lacks_is_refused_with_those_that_it_has(
    driver: FakeDriver, device: Path, controls: dict[str, int | None], said: str
) -> None:
    with pytest.raises(UsageError, match="PE-SRC-041") as caught:
        set_controls(device, CameraSettings(controls=controls), ioctl=driver.ioctl)
    assert said in str(caught.value)
    assert driver.values == {}


class FakeCapture:
    """cv2.VideoCapture of a camera that knows two modes, as a driver takes the nearest one."""

    def __init__(self, *_: Any) -> None:
        import cv2

        self.values = {
            cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV")),
            cv2.CAP_PROP_FRAME_WIDTH: 640.0,
            cv2.CAP_PROP_FRAME_HEIGHT: 480.0,
            cv2.CAP_PROP_FPS: 30.0,
        }
        self.order: list[int] = []
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def set(self, what: int, value: float) -> bool:
        import cv2

        self.order.append(what)
        largest = {cv2.CAP_PROP_FRAME_WIDTH: 1920, cv2.CAP_PROP_FRAME_HEIGHT: 1080, cv2.CAP_PROP_FPS: 30}
        self.values[what] = min(value, largest.get(what, value))
        return True

    def get(self, what: int) -> float:
        return self.values.get(what, 0.0)

    def grab(self) -> bool:
        return True

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((1080, 1920, 3), np.uint8)

    def release(self) -> None:
        self.released = True


def test_what_was_really_set_is_said() -> None:
    cv2 = pytest.importorskip("cv2", reason="the extra camera is not installed")
    capture = FakeCapture()
    settings = CameraSettings(size=(1920, 1080), rate_hz=60, format="MJPG")
    said = set_mode(capture, settings)  # type: ignore[arg-type]
    assert said == "the camera is set to 1920x1080 MJPG at 30 a second; asked for was 60 a second"
    wanted = [cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS]
    assert capture.order == wanted, "a format first: sizes and rates are those of a format"
    larger = set_mode(FakeCapture(), CameraSettings(size=(3840, 2160)))  # type: ignore[arg-type]
    assert larger == "the camera is set to 1920x1080 YUYV at 30 a second; asked for was 3840x2160"


def test_a_camera_is_set_when_it_is_opened_and_its_notes_say_so(
    monkeypatch: pytest.MonkeyPatch, driver: FakeDriver, device: Path
) -> None:
    cv2 = pytest.importorskip("cv2", reason="the extra camera is not installed")
    captures: list[FakeCapture] = []

    def open_capture(*arguments: Any) -> FakeCapture:
        captures.append(FakeCapture(*arguments))
        return captures[-1]

    monkeypatch.setattr(cv2, "VideoCapture", open_capture)
    monkeypatch.setattr(v4l2, "_system_ioctl", driver.ioctl)
    source = CameraSource(str(device), settings=CameraSettings(size=(1280, 720), controls={"gain": 30}))
    source.open()
    assert source.info.notes == (
        "the camera is set to 1280x720 YUYV at 30 a second",
        "controls are set to gain 30",
    )
    source.close()
    source.open()
    assert len(source.info.notes) == 2, "a camera that came back is set again and says nothing new"
    source.close()
    source.ask_for(CameraSettings(controls={"zoom": 1}))
    with pytest.raises(UsageError, match="PE-SRC-041"):
        source.open()
    assert captures[-1].released
    assert captures[0].order[-1] == cv2.CAP_PROP_BUFFERSIZE
    with pytest.raises(UsageError, match="PE-SRC-041"):
        CameraSource("gstreamer:videotestsrc ! appsink").ask_for(CameraSettings(rate_hz=60))
    assert camera_module.GSTREAMER == "gstreamer:"


def test_what_is_asked_for_is_read_from_the_command_line() -> None:
    asked = parse_camera_settings(
        size="1920x1080", rate_hz=60, pixel_format="mjpg", controls=["exposure=120", "Gain=auto", "brightness=-3"]
    )
    assert (asked.size, asked.rate_hz, asked.format) == ((1920, 1080), 60, "MJPG")
    assert asked.controls == {"exposure": 120, "gain": None, "brightness": -3}
    assert parse_camera_settings(size=None, rate_hz=None, pixel_format=None, controls=()).is_empty


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": "1920"},
        {"size": "0x0"},
        {"rate_hz": 0.0},
        {"rate_hz": float("nan")},
        {"pixel_format": "motion jpeg"},
        {"controls": ["gain"]},
        {"controls": ["=3"]},
        {"controls": ["gain=x"]},
    ],
)
def test_what_cannot_be_asked_for_is_one_sentence(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="PE-SRC-041"):
        parse_camera_settings(**{"size": None, "rate_hz": None, "pixel_format": None, "controls": (), **wrong})


PROGRAM = r"""
#include <linux/videodev2.h>
#include <stddef.h>
#include <stdio.h>
#define SAY(name) printf("\"%s\": %lu,", #name, (unsigned long)(name))
int main(void) {
    printf("{");
    SAY(VIDIOC_QUERYCAP); SAY(VIDIOC_ENUM_FMT); SAY(VIDIOC_ENUM_FRAMESIZES); SAY(VIDIOC_ENUM_FRAMEINTERVALS);
    SAY(VIDIOC_QUERYCTRL); SAY(VIDIOC_G_CTRL); SAY(VIDIOC_S_CTRL);
    SAY(V4L2_CAP_VIDEO_CAPTURE); SAY(V4L2_CAP_DEVICE_CAPS); SAY(V4L2_CAP_STREAMING); SAY(V4L2_CTRL_FLAG_NEXT_CTRL);
    SAY(offsetof(struct v4l2_capability, capabilities)); SAY(offsetof(struct v4l2_fmtdesc, pixelformat));
    SAY(offsetof(struct v4l2_frmivalenum, discrete)); SAY(offsetof(struct v4l2_queryctrl, minimum));
    printf("\"end\": 0}\n");
}
"""


def test_the_numbers_are_those_of_linux(tmp_path: Path) -> None:
    (tmp_path / "a.cpp").write_text(PROGRAM)
    subprocess.run([program("g++", "g++"), tmp_path / "a.cpp", "-o", tmp_path / "a"], check=True)
    said = json.loads(subprocess.run([tmp_path / "a"], capture_output=True, text=True, check=True).stdout)
    ours = {
        "VIDIOC_QUERYCAP": v4l2.QUERYCAP,
        "VIDIOC_ENUM_FMT": v4l2.ENUM_FMT,
        "VIDIOC_ENUM_FRAMESIZES": v4l2.ENUM_FRAMESIZES,
        "VIDIOC_ENUM_FRAMEINTERVALS": v4l2.ENUM_FRAMEINTERVALS,
        "VIDIOC_QUERYCTRL": v4l2.QUERYCTRL,
        "VIDIOC_G_CTRL": v4l2.G_CTRL,
        "VIDIOC_S_CTRL": v4l2.S_CTRL,
        "V4L2_CAP_VIDEO_CAPTURE": v4l2._CAPTURE,
        "V4L2_CAP_DEVICE_CAPS": v4l2._DEVICE_CAPS,
        "V4L2_CAP_STREAMING": v4l2._STREAMING,
        "V4L2_CTRL_FLAG_NEXT_CTRL": v4l2._NEXT_CONTROL,
    }
    assert {name: said[name] for name in ours} == ours
    offsets = [value for name, value in said.items() if name.startswith("offsetof")]
    assert offsets == [84, 44, 20, 40]
