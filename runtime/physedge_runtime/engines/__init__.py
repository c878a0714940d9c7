"""Engines: one file each, one table."""

from physedge_runtime.engines.base import Engine, EngineRequest, Outputs
from physedge_runtime.engines.table import ENGINES, open_engine

__all__ = ["ENGINES", "Engine", "EngineRequest", "Outputs", "open_engine"]
