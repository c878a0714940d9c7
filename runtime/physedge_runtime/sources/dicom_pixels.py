"""Decoded pixels of a DICOM file to a picture as it is meant to be seen, by the rules of DICOM PS3.3, C.11 and C.7.6.3.

The chain of a grey picture: modality (rescale or table), then the values of interest (window or table), then the
presentation (inverted or not). An enhanced object states each in its functional groups, frame by frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.sources.dicom_header import Header, frame_group, numbers_of, text_of

if TYPE_CHECKING:
    from pydicom import Dataset

_WIDE_SPREAD_LOW, _WIDE_SPREAD_HIGH = 0.5, 99.5
_NO_WINDOW = "the window is left alone"


class Renderer:
    """Turns the decoded frames of one data set into uint8 pictures.

    Args:
        header: Of the file; what is unusable in it is noted there.
    """

    def __init__(self, header: Header) -> None:
        self._header, self._dataset = header, header.dataset
        self._photometric = text_of(self._dataset, "PhotometricInterpretation").upper()
        shape = text_of(self._dataset, "PresentationLUTShape").upper()
        self._is_inverted = self._photometric == "MONOCHROME1" or shape == "INVERSE"

    def check(self) -> None:
        """Note what is unusable for the first frame, so that it is said before any picture."""
        self._window(0)
        self._rescale(0)

    def picture(self, pixels: NDArray[Any], frame: int) -> NDArray[np.uint8]:
        """One frame: uint8 (height, width), or (height, width, 3) in RGB order.

        Args:
            pixels: (height, width) or (height, width, 3), as pydicom decodes them, YBR already turned into RGB.
            frame: Its number in the file, from 0.
        """
        if self._photometric == "PALETTE COLOR":
            return _palette(pixels, self._dataset)
        if pixels.ndim == 3:
            return _to_eight_bits(pixels)
        grey = self._grey(pixels, frame)
        return np.asarray(255 - grey if self._is_inverted else grey, np.uint8)

    def _grey(self, pixels: NDArray[Any], frame: int) -> NDArray[np.uint8]:
        values, has_table = self._modality(pixels, frame)
        window = self._window(frame)
        if window is not None:
            return _scaled(values, *_limits(*window, self._function(frame)), function=self._function(frame))
        if self._dataset.get("VOILUTSequence"):
            return self._looked_up(values)
        bits = int(self._dataset.BitsStored)
        if bits <= 8 and not has_table:
            low = -(2 ** (bits - 1)) if pixels.dtype.kind == "i" else 0
            return _scaled(pixels, low, low + 2**bits - 1)
        return _scaled(values, *np.percentile(values, (_WIDE_SPREAD_LOW, _WIDE_SPREAD_HIGH)))

    def _modality(self, pixels: NDArray[Any], frame: int) -> tuple[NDArray[Any], bool]:
        """The device's values, and whether they came out of a table."""
        if self._dataset.get("ModalityLUTSequence"):
            from pydicom.pixels.processing import apply_modality_lut

            return np.asarray(apply_modality_lut(pixels, self._dataset), np.float64), True
        rescale = self._rescale(frame)
        return (pixels if rescale is None else pixels.astype(np.float64) * rescale[0] + rescale[1]), False

    def _rescale(self, frame: int) -> tuple[float, float] | None:
        """Slope and intercept of this frame; None without them."""
        group = frame_group(self._dataset, "PixelValueTransformationSequence", frame)
        of = self._dataset if group is None else group
        why = "the stored values are taken as they are"
        slope = self._header.numbers("RescaleSlope", why, of=of)
        intercept = self._header.numbers("RescaleIntercept", why, of=of)
        return (slope[0], intercept[0]) if slope and intercept and slope[0] != 0 else None

    def _window(self, frame: int) -> tuple[float, float] | None:
        """Centre and width of the first window of this frame."""
        group = frame_group(self._dataset, "FrameVOILUTSequence", frame)
        for of in (group, self._dataset):
            if of is None:
                continue
            centre = self._header.numbers("WindowCenter", _NO_WINDOW, of=of)
            width = self._header.numbers("WindowWidth", _NO_WINDOW, of=of)
            if not centre or not width:
                continue
            if width[0] >= 1 or (width[0] > 0 and self._function(frame) != "LINEAR"):
                return centre[0], width[0]
            self._header.note("WindowWidth of the DICOM file is no width", _NO_WINDOW)
        return None

    def _function(self, frame: int) -> str:
        group = frame_group(self._dataset, "FrameVOILUTSequence", frame)
        stated = text_of(group, "VOILUTFunction") if group is not None else text_of(self._dataset, "VOILUTFunction")
        return stated.upper() if stated.upper() in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"

    def _looked_up(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        from pydicom.pixels.processing import apply_voi

        if values.dtype.kind == "f":
            values = np.rint(values).astype(np.int32)
        looked_up = np.asarray(apply_voi(values, self._dataset), np.float64)
        bits = int(numbers_of(self._dataset.VOILUTSequence[0], "LUTDescriptor")[2])
        return _scaled(looked_up, 0, 2**bits - 1)


def _limits(centre: float, width: float, function: str) -> tuple[float, float]:
    """The values that become black and white (PS3.3, C.11.2.1.2 and C.11.2.1.3)."""
    if function == "LINEAR":
        return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    return centre - width / 2, centre + width / 2


def _scaled(values: NDArray[Any], low: float, high: float, *, function: str = "LINEAR") -> NDArray[np.uint8]:
    """From black at `low` to white at `high`; of a sigmoid they are its centre and width (PS3.3, C.11.2.1.3.1)."""
    if function == "SIGMOID":
        steepness = -4 / (high - low)
        grey = 255 / (1 + np.exp(np.clip(steepness * (values - (low + high) / 2), -700, 700)))
    elif high - low < 1e-9:  # a window of one value: a threshold
        grey = np.where(values > low, 255.0, 0.0)
    else:
        grey = (values - low) * (255 / (high - low))
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def _palette(pixels: NDArray[Any], dataset: Dataset) -> NDArray[np.uint8]:
    from pydicom.pixels.processing import apply_color_lut

    is_big_endian = dataset.original_encoding[1] is False
    # pydicom reads segmented tables in the file's order of bytes, whole ones always in little endian.
    swapped = is_big_endian and "RedPaletteColorLookupTableData" in dataset
    looked_up = apply_color_lut(pixels, _tables_in_little_endian(dataset) if swapped else dataset)
    return _to_eight_bits(looked_up[..., :3])


def _tables_in_little_endian(dataset: Dataset) -> Dataset:
    """The palette alone, its tables' words swapped."""
    import pydicom

    swapped = pydicom.Dataset()
    for colour in ("Red", "Green", "Blue"):
        descriptor, data = f"{colour}PaletteColorLookupTableDescriptor", f"{colour}PaletteColorLookupTableData"
        setattr(swapped, descriptor, dataset[descriptor].value)
        setattr(swapped, data, np.frombuffer(dataset[data].value, ">u2").astype("<u2").tobytes())
    return swapped


def _to_eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """The upper eight bits."""
    surplus_bits = 8 * pixels.dtype.itemsize - 8
    return np.asarray(pixels >> surplus_bits if surplus_bits > 0 else pixels, np.uint8)
