"""Two processes, started as Lightning starts them on several devices, train one network."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from tiny_segmenter import write_task

from physedge.train.batches import ShuffledShare

SUPPORT = Path(__file__).parents[1] / "support"


def test_two_processes_hold_the_same_weights(tmp_path: Path) -> None:
    write_task(tmp_path / "task", train=16, val=5)
    environment = {
        **os.environ,
        "PYTHONPATH": str(SUPPORT),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    done = subprocess.run(
        [sys.executable, str(SUPPORT / "two_processes.py"), str(tmp_path / "task"), str(tmp_path / "run")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = ((tmp_path / f"rank{rank}.txt").read_text() for rank in (0, 1))
    assert first == second
    assert first.startswith("2 ")
    assert [(tmp_path / f"scored{helper}.txt").read_text() for helper in (0, 1)] == ["True", "False"]
    # The validation table was put together from both: what the epochs say is what the final scoring finds.
    with (tmp_path / "run/metrics.csv").open() as lines:
        best = max(float(row["val_dice"]) for row in csv.DictReader(lines))
    with (tmp_path / "run/validation.csv").open() as lines:
        scores = [float(row["dice_grid"]) for row in csv.DictReader(lines)]
    assert len(scores) == 5
    np.testing.assert_allclose(np.mean(scores), best, atol=1e-5)


def test_two_shares_of_an_epoch_are_disjoint_and_change_with_it() -> None:
    def share(rank: int, epoch: int) -> list[int]:
        sampler = ShuffledShare(11, seed=3, rank=rank, world=2)
        sampler.set_epoch(epoch)
        return list(sampler)

    for epoch in (0, 1):
        both = share(0, epoch) + share(1, epoch)
        assert len(both) == len(set(both)) == 10  # equal shares, so that nobody waits for the other
    assert share(0, 0) != share(0, 1)
    assert share(0, 0) == share(0, 0)


def test_more_processes_than_samples_still_have_one_each() -> None:
    shares = [list(ShuffledShare(2, seed=0, rank=rank, world=3)) for rank in range(3)]
    assert [len(share) for share in shares] == [1, 1, 1]
