"""The one implementation of every task metric: numpy and SciPy, no torch."""

from physedge_calibrate.metrics.classification import (
    confusion_matrix,
    correct,
    macro_f1,
    macro_f1_drop_interval,
    macro_f1_interval,
)
from physedge_calibrate.metrics.confidence import (
    auroc,
    auroc_interval,
    calibration_error_interval,
    expected_calibration_error,
    reliability,
)
from physedge_calibrate.metrics.reconstruction import correlation, relative_error, ssim
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
    "auroc",
    "auroc_interval",
    "boundary_ring_dice",
    "calibration_error_interval",
    "confusion_matrix",
    "correct",
    "correlation",
    "dice",
    "expected_calibration_error",
    "hd95",
    "headline_metric",
    "iou",
    "macro_f1",
    "macro_f1_drop_interval",
    "macro_f1_interval",
    "metric_for",
    "relative_error",
    "reliability",
    "score_segmentation",
    "ssim",
]
