"""Targets: what an export can be asked for."""

from physedge_export.targets.table import TARGETS, Target, find_target

__all__ = ["TARGETS", "Target", "find_target"]
