"""Calibration sets, quantisation, task metrics and the accuracy gate."""
