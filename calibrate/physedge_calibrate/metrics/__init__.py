"""The one implementation of every task metric: numpy and SciPy, no torch."""

from physedge_calibrate.metrics.segmentation import (
    SegmentationScores,
    asd,
    boundary_ring_dice,
    dice,
    hd95,
    iou,
    score_segmentation,
)
from physedge_calibrate.metrics.table import HEADLINES, METRICS, Metric, headline_metric, metric_for

__all__ = [
    "HEADLINES",
    "METRICS",
    "Metric",
    "SegmentationScores",
    "asd",
    "boundary_ring_dice",
    "dice",
    "hd95",
    "headline_metric",
    "iou",
    "metric_for",
    "score_segmentation",
]
