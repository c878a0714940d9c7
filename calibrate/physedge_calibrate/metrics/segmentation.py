"""How well one mask agrees with another: Dice, IoU, HD95, ASD and the Dice of the boundary ring.

All are per image and averaged afterwards, never pooled over a batch: a pooled figure lets large lesions hide
small ones. Two empty masks agree (Dice 1, distance 0). One empty mask is a miss (Dice 0) whose distance is the
diagonal of the image, and it is counted.

A label map holds whole numbers with 0 for the background; a boolean mask is the label map of one class.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Spacing = tuple[float, float]
UNIT_SPACING: Spacing = (1.0, 1.0)
RING_WIDTH_PX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationScores:
    """The scores of every sample, in the order in which the samples came.

    Attributes:
        dice: (sample,), float64, 0 to 1, averaged over the foreground classes.
        iou: (sample,), float64, 0 to 1, averaged over the foreground classes.
        hd95_px: (sample,), float64, in pixels, or in the unit of the spacing where one was given.
        asd_px: (sample,), float64, same unit.
        ring_dice: (sample,), float64, 0 to 1: Dice of the rings around both contours.
        one_empty: (sample,), bool: in at least one class, exactly one of prediction and truth was empty.
    """

    dice: NDArray[np.float64]
    iou: NDArray[np.float64]
    hd95_px: NDArray[np.float64]
    asd_px: NDArray[np.float64]
    ring_dice: NDArray[np.float64]
    one_empty: NDArray[np.bool_]

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"expected the same number of samples in every score, got {lengths}")

    def __len__(self) -> int:
        return len(self.dice)

    @property
    def empty_count(self) -> int:
        """Samples whose distances are the image's diagonal because exactly one mask was empty."""
        return int(self.one_empty.sum())


def score_segmentation(
    predictions: Iterable[NDArray[np.generic]],
    truths: Iterable[NDArray[np.generic]],
    *,
    class_count: int = 1,
    spacing: Spacing = UNIT_SPACING,
) -> SegmentationScores:
    """The scores of every pair of label maps, read one pair at a time.

    Args:
        predictions: Label maps (height, width), boolean or whole numbers.
        truths: As many label maps of the same shapes.
        class_count: Number of foreground classes; a map's values are 0 to `class_count`.
        spacing: Height and width of a pixel, for the distances.

    Raises:
        ValueError: The two iterables differ in length, or a pair differs in shape.
    """
    rows = [
        _score_pair(prediction, truth, class_count, spacing)
        for prediction, truth in zip(predictions, truths, strict=True)
    ]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 6)
    return SegmentationScores(
        dice=table[:, 0],
        iou=table[:, 1],
        hd95_px=table[:, 2],
        asd_px=table[:, 3],
        ring_dice=table[:, 4],
        one_empty=table[:, 5] > 0,
    )


def dice(prediction: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """Twice the common area over the sum of both areas, 2|P∩T| / (|P|+|T|); 1 where both are empty.

    Args:
        prediction: Mask (height, width); everything but 0 is foreground.
        truth: Mask of the same shape.
    """
    p, t = _masks(prediction, truth)
    total = np.count_nonzero(p) + np.count_nonzero(t)
    return 2.0 * np.count_nonzero(p & t) / total if total else 1.0


def iou(prediction: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """The common area over the united area, |P∩T| / |P∪T|; 1 where both are empty."""
    p, t = _masks(prediction, truth)
    union = np.count_nonzero(p | t)
    return np.count_nonzero(p & t) / union if union else 1.0


def hd95(prediction: NDArray[np.generic], truth: NDArray[np.generic], *, spacing: Spacing = UNIT_SPACING) -> float:
    """The 95th percentile of the distances from each contour to the other, both directions in one set.

    Some tools take the larger of the two directed percentiles instead, which is never smaller.
    """
    return float(np.percentile(contour_distances(prediction, truth, spacing=spacing), 95))


def asd(prediction: NDArray[np.generic], truth: NDArray[np.generic], *, spacing: Spacing = UNIT_SPACING) -> float:
    """The mean of the distances from each contour to the other, both directions in one set."""
    return float(np.mean(contour_distances(prediction, truth, spacing=spacing)))


def boundary_ring_dice(
    prediction: NDArray[np.generic], truth: NDArray[np.generic], *, width_px: int = RING_WIDTH_PX
) -> float:
    """Dice of the two rings of pixels within `width_px` of each contour, inside or outside.

    A large region has a good Dice with a poor contour; this figure looks at the contour alone.
    """
    p, t = _masks(prediction, truth)
    box = _common_box(p, t, margin=width_px)
    return 1.0 if box is None else dice(_ring(p[box], width_px), _ring(t[box], width_px))


def contour_distances(
    prediction: NDArray[np.generic], truth: NDArray[np.generic], *, spacing: Spacing = UNIT_SPACING
) -> NDArray[np.float64]:
    """The distance of every contour pixel of each mask to the nearest contour pixel of the other.

    A contour pixel is a foreground pixel with a background pixel, or the edge of the image, above, below, left
    or right of it.

    Returns:
        (point,) float64 in units of `spacing`; one 0 where both masks are empty, and one image diagonal where
        exactly one is.
    """
    from scipy.spatial import KDTree

    p, t = _masks(prediction, truth)
    if not p.any() and not t.any():
        return np.zeros(1)
    if not p.any() or not t.any():
        return np.array([float(np.hypot(p.shape[0] * spacing[0], p.shape[1] * spacing[1]))])
    # A tree over some hundred contour points is eight times faster than a distance transform of the image.
    from_p, from_t = (np.argwhere(_contour(mask)) * np.asarray(spacing) for mask in (p, t))
    to_t, _ = KDTree(from_t).query(from_p)
    to_p, _ = KDTree(from_p).query(from_t)
    return np.concatenate([np.asarray(to_t, np.float64), np.asarray(to_p, np.float64)])


def _score_pair(
    prediction: NDArray[np.generic], truth: NDArray[np.generic], class_count: int, spacing: Spacing
) -> NDArray[np.float64]:
    rows = []
    for label in range(1, class_count + 1):
        p, t = _masks(
            prediction if class_count == 1 else prediction == label,
            truth if class_count == 1 else truth == label,
        )
        distances = contour_distances(p, t, spacing=spacing)
        rows.append(
            (
                dice(p, t),
                iou(p, t),
                float(np.percentile(distances, 95)),
                float(distances.mean()),
                boundary_ring_dice(p, t),
                float(p.any() != t.any()),
            )
        )
    return np.asarray(np.mean(np.array(rows, dtype=np.float64), axis=0))


def _masks(prediction: NDArray[np.generic], truth: NDArray[np.generic]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    if prediction.ndim != 2 or prediction.shape != truth.shape:
        raise ValueError(f"expected two maps (height, width) of one shape, got {prediction.shape} and {truth.shape}")
    return prediction.astype(bool), truth.astype(bool)


def _contour(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def _ring(mask: NDArray[np.bool_], width_px: int) -> NDArray[np.bool_]:
    from scipy.ndimage import binary_dilation

    steps = range(-width_px, width_px + 1)
    disk = np.array([[y * y + x * x <= width_px * width_px for x in steps] for y in steps])
    return np.asarray(binary_dilation(_contour(mask), disk), dtype=bool)


def _common_box(first: NDArray[np.bool_], second: NDArray[np.bool_], *, margin: int) -> tuple[slice, slice] | None:
    united = first | second
    spans = [np.flatnonzero(united.any(axis=axis)) for axis in (1, 0)]
    if any(len(span) == 0 for span in spans):
        return None
    rows, columns = (slice(max(int(span[0]) - margin, 0), int(span[-1]) + margin + 1) for span in spans)
    return rows, columns
