"""The command line: one file a verb, gathered in `app`."""

from physedge.cli.app import main

__all__ = ["main"]
