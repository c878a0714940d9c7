"""Pictures of the page in every state, at four widths and in print, for people to look at.

    python benchmarks/page_states.py --scenes build/scenes --pictures build/page

The scenes come from `physedge synth endoscopy --out build/scenes --frames 4`; the states are handed to the page's sink
as a stream would.
"""

from __future__ import annotations

import argparse
import base64
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from page import open_browser, seconds_until
from selenium import webdriver

from physedge_runtime.frame import Colour, Frame, VoltageSpec
from physedge_runtime.results import (
    Classification,
    Reconstruction,
    Result,
    Segmentation,
    Signal,
    StageTimes,
    Trust,
    TrustState,
)
from physedge_runtime.sinks.page_access import PageAccess
from physedge_runtime.sinks.serve import ServeSink
from physedge_runtime.stream import StreamedFrame, StreamInfo, Withdrawal

SIZES = {360: 740, 768: 1024, 1280: 800, 2560: 1440}
STAGES = StageTimes(queue_ms=1.2, preprocess_ms=2.1, inference_ms=22.4, postprocess_ms=0.8)
TOKEN = "sixteen-letters-for-the-walk"


def segmented(scenes: Path) -> tuple[StreamInfo, StreamedFrame]:
    """A scene of the colon with its exact mask."""
    import cv2

    path = next((scenes / "train/images").glob("*.png"))
    pixels = np.asarray(cv2.imread(str(path)), np.uint8)
    mask = (np.asarray(cv2.imread(str(scenes / "train/masks" / path.name), 0)) > 0).astype(np.uint8)
    frame = Frame(pixels=pixels, frame_id=1024, captured_ns=0, colour=Colour.BGR)
    result = Segmentation(
        frame_id=1024,
        captured_ns=0,
        age_ms=31.0,
        stages=STAGES,
        mask=mask,
        probability=mask[np.newaxis].astype(np.float32) * 0.97,
        classes=("background", "polyp"),
        frame_shape=(pixels.shape[0], pixels.shape[1]),
    )
    info = StreamInfo(
        source="Endoscopy room 2",
        live=True,
        period_ns=33_000_000,
        engine="openvino 2026.0 cpu",
        classes=("background", "polyp"),
        bundle="pmrnet_s 0.1",
        bundle_trust="unsigned",
        max_age_ms=300,
    )
    trust = Trust(signals={"ring_entropy": 0.12, "physics_residual": 0.0041})
    return info, streamed(frame, replace(result, trust=trust))


def streamed(frame: Frame, result: Result) -> StreamedFrame:
    """As a stream hands it out."""
    return StreamedFrame(
        frame=frame,
        result=result,
        signal=Signal.LIVE,
        captured_ns=0,
        at_ns=31_000_000,
        age_ms=31.0,
        stages=result.stages,
        trust=result.trust,
        drops={"superseded": 12, "source_gap": 2},
    )


def states(shown: StreamedFrame) -> dict[str, StreamedFrame]:
    """What may leave a stream, by name."""
    unfit = replace(shown, result=None, stages=None, trust=None, withdrawn=Withdrawal.SIGNAL)
    notice = replace(unfit, frame=None)
    black = replace(shown.frame, pixels=np.zeros_like(shown.frame.pixels)) if shown.frame else None
    assert shown.result is not None
    doubt = Trust(state=TrustState.DOUBTFUL, reason="ring entropy", signals={"ring_entropy": 0.71})
    return {
        "live": shown,
        "doubtful": replace(shown, trust=doubt, result=replace(shown.result, trust=doubt)),
        "stale": replace(notice, signal=Signal.STALE, reason="no frame for 104 ms"),
        "lost": replace(notice, signal=Signal.LOST, reason="no frame for 171 ms"),
        "frozen": replace(unfit, signal=Signal.FROZEN, reason="the same picture again and again"),
        "black": replace(unfit, frame=black, signal=Signal.BLACK, reason="the picture is black"),
        "recovering": replace(unfit, signal=Signal.RECOVERING, reason="2 good pictures of 5"),
        "late": replace(unfit, withdrawn=Withdrawal.LATE, withdrawn_text="the answer took 412 ms"),
        "safe-state": replace(
            unfit, withdrawn=Withdrawal.SAFE_STATE, withdrawn_text="the engine failed 3 times in a row: device lost"
        ),
    }


def classified(shown: StreamedFrame) -> tuple[StreamInfo, StreamedFrame]:
    """A tumour with its growth."""
    across = np.linspace(-1, 1, 64)
    blob = np.exp(-(across[:, None] ** 2 + across**2) * 12).astype(np.float32)
    result = Classification(
        frame_id=7,
        captured_ns=0,
        age_ms=31.0,
        stages=STAGES,
        label="glioma",
        probability=np.array([0.86, 0.09, 0.05], np.float32),
        classes=("glioma", "meningioma", "no tumour"),
        maps={"density": np.stack([blob**3, blob**2, blob])},
        parameters={"D_mm2_per_day": 0.0412, "rho_per_day": 0.0113, "front_width_mm": 1.91},
        note="Read from one picture: they describe the drawn density, and are not measured in this patient.",
        times_days=(0.0, 30.0, 60.0),
    )
    info = StreamInfo(source="MR slices", live=False, period_ns=None, engine="onnxruntime 1.24", classes=result.classes)
    assert shown.frame is not None
    return info, streamed(shown.frame, result)


def tank() -> tuple[StreamInfo, StreamedFrame]:
    """A tank with an object in it, and one electrode off."""
    spec = VoltageSpec(count=208, electrodes=16, protocol="adjacent", reference=True)
    across = np.linspace(-1, 1, 64)
    image = np.exp(-((across[:, None] + 0.3) ** 2 + (across - 0.2) ** 2) * 18).astype(np.float32)
    reason = "electrode 5: its voltages do not fit the others, and the image is made without them"
    trust = Trust(state=TrustState.DOUBTFUL, reason=reason, signals={"electrode": 3.4}, places={"electrode": 5})
    result = Reconstruction(frame_id=3, captured_ns=0, age_ms=4.0, stages=STAGES, trust=trust, image=image, unit="S/m")
    frame = Frame(pixels=np.zeros((2, 208), np.float32), frame_id=3, captured_ns=0)
    info = StreamInfo(
        source="tank", live=True, period_ns=None, engine="openvino 2026.0 cpu", voltage_spec=spec, max_age_ms=2000
    )
    return info, streamed(frame, result)


class Walk:
    """A browser that takes a picture at every width."""

    def __init__(self, folder: Path) -> None:
        self.browser = open_browser()
        self._folder = folder

    def word(self, word: str) -> None:
        """Wait until the page says this."""
        seconds_until(lambda: self.browser.find_element("id", "state").text == word)

    def press(self, key: str) -> None:
        """Press a key of the page."""
        webdriver.ActionChains(self.browser).send_keys(key).perform()

    def shoot(self, name: str) -> None:
        """The page at every width, all of its height."""
        for width, height in SIZES.items():
            size: dict[str, Any] = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 800}
            self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            time.sleep(0.3)
            shot = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": width < 900})
            (self._folder / f"{name}-{width}.png").write_bytes(base64.b64decode(shot["data"]))

    def print_page(self, name: str) -> None:
        """The page on paper."""
        (self._folder / f"{name}.pdf").write_bytes(base64.b64decode(self.browser.print_page()))


def alone(walk: Walk, name: str, info: StreamInfo, item: StreamedFrame, word: str) -> None:
    """One state of one stream."""
    sink = ServeSink("127.0.0.1", 0)
    sink.open(info)
    sink.write(item)
    walk.browser.get(sink.url)
    walk.word(word)
    walk.shoot(name)
    sink.close()


def main() -> None:
    """Walk through it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    asked = parser.parse_args()
    asked.pictures.mkdir(parents=True, exist_ok=True)
    info, shown = segmented(asked.scenes)
    walk = Walk(asked.pictures)
    try:
        walk_states(walk, info, shown)
        alone(walk, "classification", *classified(shown), "PLAYBACK")
        alone(walk, "tank", *tank(), "LIVE")
    finally:
        walk.browser.quit()


def walk_states(walk: Walk, info: StreamInfo, shown: StreamedFrame) -> None:
    """All states of one stream, its pauses, its restarts and its end."""
    make: Callable[[int, str], ServeSink] = lambda port, token: ServeSink(  # noqa: E731
        "0.0.0.0", port, access=PageAccess(token)
    )
    sink = make(0, TOKEN)
    sink.open(info)
    walk.browser.get(sink.url)
    words = {"doubtful": "LIVE", "late": "LIVE", "safe-state": "SAFE STATE"}
    for name, item in states(shown).items():
        for _ in range(3):
            sink.write(shown)
            time.sleep(0.1)
        sink.write(item)
        walk.word(words.get(name, name.upper()))
        walk.shoot(name)
        if name in ("live", "lost"):
            walk.print_page(f"print-{name}")
    sink.write(shown)
    walk.word("LIVE")
    walk.press("e")
    walk.shoot("engineer")
    walk.press("e")
    walk.press(" ")
    walk.shoot("paused")
    walk.press(" ")
    port = int(sink.url.partition("?")[0].rstrip("/").rpartition(":")[2])
    sink.close()
    walk.word("NO CONNECTION")
    walk.shoot("no-connection")
    sink = make(port, TOKEN)
    sink.open(info)
    sink.write(shown)
    walk.word("LIVE")
    walk.shoot("restarted-same-token")
    sink.close()
    sink = make(port, "another-token-than-before")
    sink.open(info)
    walk.word("RESTARTED")
    walk.shoot("restarted")
    sink.close()


if __name__ == "__main__":
    main()
