"""The moving bar of a training, on the error stream."""

from __future__ import annotations

import sys

import lightning.pytorch as pl
from lightning.pytorch.callbacks import RichProgressBar


def bar() -> tuple[pl.Callback, ...]:
    """Lightning's bar with loss and Dice, where somebody sits before a terminal; else nothing."""
    if not sys.stderr.isatty():
        return ()
    return (RichProgressBar(leave=False, console_kwargs={"stderr": True}),)
