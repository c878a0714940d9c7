"""What every engine of libphysedge owes, whatever its graph: tests that a module imports and gives its fixtures to.

They ask for `engine` (any), `real_engine` (one that may hang), `native` (the library) and `write_tiny` (a bundle).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from native_library import STAGES, WATCHDOG, Native, frame

from physedge_runtime.errors import PhysedgeError, UsageError

__all__ = [
    "test_a_second_thread_is_told_and_waits_for_nothing",
    "test_a_watchdog_that_gives_up_ends_the_waiting_for_good",
    "test_nets_are_opened_and_freed_many_times",
    "test_the_watchdog_is_fed_at_every_stage",
]


def test_the_watchdog_is_fed_at_every_stage(engine: str, write_tiny: Callable[..., Path], native: Native) -> None:
    stages: list[str] = []

    @WATCHDOG
    def feed(_: object, stage: int) -> int:
        stages.append(STAGES[stage])
        return 0

    with native.open(write_tiny(), engine=engine.encode(), watchdog=feed) as net:
        assert stages[0] == "open"
        stages.clear()
        net.infer(frame(np.zeros((40, 40, 3), np.uint8)))
        assert (stages[0], stages[1], stages[-1]) == ("preprocess", "engine", "done")


def test_a_watchdog_that_gives_up_ends_the_waiting_for_good(
    real_engine: str, write_tiny: Callable[..., Path], native: Native
) -> None:
    opened = threading.Event()

    @WATCHDOG
    def give_up(_: object, stage: int) -> int:
        return int(opened.is_set() and STAGES[stage] == "engine")

    pixels = np.zeros((40, 40, 3), np.uint8)
    with native.open(write_tiny(), engine=real_engine.encode(), watchdog=give_up) as net:
        net.infer(frame(pixels))
        opened.set()
        for _ in range(2):
            with pytest.raises(PhysedgeError, match="PE-NATIVE-004") as caught:
                net.infer(frame(pixels))
            assert caught.value.exit_status == 7


def test_a_second_thread_is_told_and_waits_for_nothing(
    engine: str, write_tiny: Callable[..., Path], native: Native
) -> None:
    inside, go_on = threading.Event(), threading.Event()
    opened = threading.Event()

    @WATCHDOG
    def hold(_: object, stage: int) -> int:
        if opened.is_set() and STAGES[stage] == "engine":
            inside.set()
            go_on.wait(30)
        return 0

    pixels = np.zeros((40, 40, 3), np.uint8)
    with native.open(write_tiny(), engine=engine.encode(), watchdog=hold) as net:
        opened.set()
        first = threading.Thread(target=lambda: net.infer(frame(pixels)))
        first.start()
        assert inside.wait(30)
        try:
            with pytest.raises(UsageError, match="PE-NATIVE-002"):
                net.infer(frame(pixels))
        finally:
            go_on.set()
            first.join(30)
        net.infer(frame(pixels))


def test_nets_are_opened_and_freed_many_times(engine: str, write_tiny: Callable[..., Path], native: Native) -> None:
    """Two of one engine at once, freed in either order, with and without a frame in between."""
    path, pixels = write_tiny(), np.full((40, 40, 3), 200, np.uint8)
    first = native.open(path, engine=engine.encode())
    for _ in range(3):
        second = native.open(path, engine=engine.encode())
        np.testing.assert_array_equal(first.infer(frame(pixels)).mask, second.infer(frame(pixels)).mask)
        first.close()
        first = native.open(path, engine=engine.encode())
        second.close()
    first.close()
