"""The picture with its answer drawn on it, and a bar that says how far it may be believed.

The picture is always there; the answer is drawn only where there is one. Colours are of the Okabe-Ito palette, which
colour-blind people tell apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.frame import Colour, Frame
from physedge_runtime.frame_mask import labels_on_frame
from physedge_runtime.growth_reading import parameter_words
from physedge_runtime.results import Classification, Reconstruction, Result, Segmentation, Signal, TrustState
from physedge_runtime.sinks.density import draw_density
from physedge_runtime.sinks.measure import way_to_grid
from physedge_runtime.sinks.tank import draw_tank
from physedge_runtime.sources.opencv import import_opencv
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo, Withdrawal

if TYPE_CHECKING:
    from types import ModuleType

# Blue, green, red, as OpenCV draws.
_CLASS_COLOURS = ((233, 200, 60), (0, 159, 230), (115, 200, 0), (167, 121, 230), (66, 228, 240), (0, 94, 213))
_GOOD, _CAUTION, _BAD, _TEXT = (120, 210, 90), (0, 180, 245), (80, 80, 240), (235, 235, 235)
_HALO = (20, 20, 20)
_TINT = 0.12
_BAR_DARKNESS = 0.3
_VOLTAGES_CANVAS = (480, 480)
_CAUTION_SIGNALS = frozenset({Signal.STALE, Signal.RECOVERING})

Picture = NDArray[np.uint8]


class Overlay:
    """Draws what leaves a stream.

    Args:
        info: What streams.
    """

    def __init__(self, info: StreamInfo) -> None:
        self._info = info
        self._cv2: ModuleType = import_opencv()
        self._last: Picture | None = None

    def draw(self, item: StreamedFrame, *, with_bar: bool = True) -> Picture | None:
        """The picture to be seen now: uint8 (height, width, 3), blue first, of the frame's own size.

        A change of state without a picture shows the last one again, without its answer. None before the first one.
        `with_bar=False` leaves the words to whoever shows the picture.
        """
        if item.frame is not None:
            self._last = self._picture(item.frame, item.result)
        if self._last is None:
            return None
        canvas = self._last.copy()
        if item.result is not None:
            self._draw_answer(canvas, item.result)
        if with_bar:
            self._draw_bar(canvas, item)
        return canvas

    def _picture(self, frame: Frame, result: Result | None) -> Picture:
        pixels = frame.pixels
        if self._info.voltage_spec is not None:
            answer = result if isinstance(result, Reconstruction) else None
            return draw_tank(self._cv2, answer, self._info.voltage_spec)
        if pixels.ndim == 1:
            return self._map(result.image) if isinstance(result, Reconstruction) else _dark(_VOLTAGES_CANVAS)
        if pixels.ndim == 2 or pixels.shape[2] == 1:
            return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
        if frame.colour is Colour.RGB:
            pixels = pixels[:, :, ::-1]
        return np.ascontiguousarray(pixels)

    def _map(self, image: NDArray[np.float32]) -> Picture:
        """An image in colours, 0 in the middle of the scale."""
        largest = max(float(np.abs(image).max()), 1e-12)
        scaled = np.clip(127.5 + image * (127.5 / largest), 0, 255).astype(np.uint8)
        large = self._cv2.resize(scaled, _VOLTAGES_CANVAS[::-1], interpolation=self._cv2.INTER_CUBIC)
        return np.asarray(self._cv2.applyColorMap(large, self._cv2.COLORMAP_TWILIGHT_SHIFTED), np.uint8)

    def _draw_answer(self, canvas: Picture, result: Result) -> None:
        if isinstance(result, Classification):
            draw_density(canvas, result, self._info.frame_spec)
        if not isinstance(result, Segmentation):
            return
        way = way_to_grid(result, self._info.frame_spec)
        part = canvas[way.top : way.bottom, way.left : way.right]
        labels = labels_on_frame(result, self._info.frame_spec)[way.top : way.bottom, way.left : way.right]
        for label in range(1, len(result.classes)):
            inside = (labels == label).view(np.uint8)
            if inside.any():
                self._draw_region(part, inside, _CLASS_COLOURS[(label - 1) % len(_CLASS_COLOURS)])

    def _draw_region(self, part: Picture, inside: Picture, colour: tuple[int, int, int]) -> None:
        cv2 = self._cv2
        tinted = part[inside > 0].astype(np.float32)
        tinted += _TINT * (np.array(colour, np.float32) - tinted)
        part[inside > 0] = tinted.astype(np.uint8)
        outlines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        line_px = max(1, round(part.shape[0] / 240))
        drawn = np.ascontiguousarray(part)
        cv2.drawContours(drawn, outlines, -1, _HALO, line_px + 2, cv2.LINE_AA)
        cv2.drawContours(drawn, outlines, -1, colour, line_px, cv2.LINE_AA)
        part[:] = drawn

    def _draw_bar(self, canvas: Picture, item: StreamedFrame) -> None:
        """A dark strip at the lower edge: the signal, then the answer's age and trust, or why there is none."""
        cv2 = self._cv2
        height, width = canvas.shape[:2]
        bar_px = min(max(18, round(0.05 * height)), 40)
        strip = canvas[-bar_px:]
        strip[:] = (strip * _BAR_DARKNESS).astype(np.uint8)
        scale = bar_px / 42
        baseline = height - round(0.32 * bar_px)
        x = round(0.4 * bar_px)
        cv2.circle(canvas, (x, height - bar_px // 2), max(3, bar_px // 6), _signal_colour(item.signal), -1, cv2.LINE_AA)
        x += round(0.5 * bar_px)
        for text, colour in bar_texts(item, live=self._info.live):
            text = self._fitting(text, scale, width - x - 4)
            cv2.putText(canvas, text, (x, baseline), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
            x += self._width(text, scale) + round(0.6 * bar_px)
        if isinstance(item.result, Classification) and item.result.note:
            self._draw_reading(canvas, item.result, bar_px)

    def _draw_reading(self, canvas: Picture, result: Classification, bar_px: int) -> None:
        """Two rows above the bar: the parameters with their units, and the sentence about what they are."""
        cv2 = self._cv2
        row_px = max(14, round(0.7 * bar_px))
        scale = row_px / 42
        words = [text for text in (parameter_words(result.parameters), result.note) if text]
        bottom = canvas.shape[0] - bar_px
        part = canvas[max(0, bottom - row_px * len(words)) : bottom]
        part[:] = (part * _BAR_DARKNESS).astype(np.uint8)
        for place, text in enumerate(reversed(words)):
            text = self._fitting(text, scale, canvas.shape[1] - 8)
            where = (4, bottom - place * row_px - round(0.32 * row_px))
            cv2.putText(canvas, text, where, cv2.FONT_HERSHEY_SIMPLEX, scale, _TEXT, 1, cv2.LINE_AA)

    def _width(self, text: str, scale: float) -> int:
        return int(self._cv2.getTextSize(text, self._cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0])

    def _fitting(self, text: str, scale: float, width_px: int) -> str:
        if self._width(text, scale) <= width_px:
            return text
        while text and self._width(text + "...", scale) > width_px:
            text = text[:-1]
        return text.rstrip() + "..." if text else ""


def bar_texts(item: StreamedFrame, *, live: bool = True) -> list[tuple[str, tuple[int, int, int]]]:
    """The words of the status bar with their colours; of a file the frame's number instead of its age."""
    texts = [(str(item.signal), _signal_colour(item.signal))]
    if item.frame is not None and item.frame.part:
        texts.append((item.frame.part, _CAUTION if "not" in item.frame.part else _TEXT))
    if item.withdrawn is not None:
        why = item.reason if item.withdrawn is Withdrawal.SIGNAL and item.reason else item.withdrawn_text
        return [*texts, (f"no answer: {why}", _CAUTION)]
    if live or item.frame is None:
        texts.append((f"{item.age_ms:.0f} ms", _TEXT))
    else:
        texts.append((f"frame {item.frame.frame_id}", _TEXT))
    if item.trust is not None and item.trust.state is not TrustState.OK:
        texts.append((f"{item.trust.state}: {item.trust.reason}", _CAUTION))
    else:
        texts.append(("trust ok", _TEXT))
    if isinstance(item.result, Classification):
        texts.insert(1, (f"{item.result.label} {float(item.result.probability.max()):.2f}", _TEXT))
    if item.reason:
        texts.append((item.reason, _CAUTION))
    if item.dropped:
        texts.append((f"{item.dropped} dropped", _TEXT))
    return texts


def class_colours(count: int) -> list[str]:
    """The colour in which each class is drawn, as `#rrggbb`, background first (which is not drawn: empty)."""
    palette = [f"#{red:02x}{green:02x}{blue:02x}" for blue, green, red in _CLASS_COLOURS]
    return [palette[(label - 1) % len(palette)] if label else "" for label in range(count)]


def _signal_colour(signal: Signal) -> tuple[int, int, int]:
    if signal is Signal.LIVE:
        return _GOOD
    return _CAUTION if signal in _CAUTION_SIGNALS else _BAD


def _dark(shape: tuple[int, int]) -> Picture:
    return np.full((*shape, 3), 24, np.uint8)
