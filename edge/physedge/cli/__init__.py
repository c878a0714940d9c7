"""The command line: one file a verb, gathered in `main`."""

from physedge.cli.main import main

__all__ = ["main"]
