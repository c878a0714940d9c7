"""Laws of a network that no average may buy off: held against the graph that ships, on the engine that runs it."""

from physedge_calibrate.laws.law import LawCheck, broken_laws

__all__ = ["LawCheck", "broken_laws"]
