"""Trace, audit, parity and targets: from a module to the graphs that ship."""
