"""`physedge train` as a person and a machine meet it."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tiny_segmenter import write_task

from physedge.cli.app import main
from physedge.deploy.network import DEMO_MODELS, load_weights
from physedge.project import read_project
from physedge.train.asked import classes_from_word, options_from_words, size_from_word
from physedge.train.fit import build_network, fit, spec_of
from physedge.train.progress import TrainingBar
from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Colour

SUPPORT = Path(__file__).parents[1] / "support"
_TINY = ("train", "tiny_segmenter:tiny", "--data", "task", "--size", "32", "--accelerator", "cpu", "--devices", "1")


_PLAIN: dict[str, Any] = {
    "model": "tiny_segmenter:tiny",
    "data": [Path("task")],
    "task": None,
    "size": "32",
    "classes": "square",
    "grey": False,
    "physics": "paper",
    "growth": (),
    "densities": None,
    "augment": "none",
    "output": None,
    "weights": None,
    "teacher": None,
    "epochs": 2,
    "batch": 4,
    "learning_rate": 0.01,
    "progressive": False,
    "seed": 4,
    "workers": 0,
    "devices": "1",
    "nodes": 1,
    "strategy": "auto",
    "accelerator": "cpu",
    "resume": False,
}


def _run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


def test_train_writes_the_run_and_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path / "task", train=8, val=4)
    assert _run(*_TINY, "--epochs", "1", "--classes", "square", "--json") == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert result["output"] == "runs/tiny"
    assert (result["train_pictures"], result["validation_pictures"], result["best_epoch"]) == (8, 4, 1)
    assert 0.0 <= result["validation_grid"]["dice"] <= 1.0
    assert "epoch 1/1" in printed.err
    assert "runs/tiny/worst.png" in printed.err
    project = read_project(tmp_path)
    assert project is not None
    assert project.weights == tmp_path / "runs/tiny/best.safetensors"
    assert _run(*_TINY, "--epochs", "1", "--classes", "square") == 2
    assert capsys.readouterr().err.startswith("PE-TRAIN-002: ")


# A shell that starts the tests in the background lets its children ignore the interrupt; a person's terminal does not.
_HEEDING_INTERRUPTS = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from physedge.cli import main; main()"
)


def test_an_interrupt_keeps_the_last_epoch_and_says_so(tmp_path: Path) -> None:
    write_task(tmp_path / "task", train=16, val=2)
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    process = subprocess.Popen(
        [sys.executable, "-c", _HEEDING_INTERRUPTS, *_TINY, "--epochs", "100000"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr as lines:
        for line in lines:
            if line.startswith("epoch 2/"):
                process.send_signal(signal.SIGINT)
                break
        rest = lines.read()
    assert process.wait(60) == 130
    assert "kept up to the last finished epoch in runs/tiny" in rest
    assert "--resume" in rest
    assert "Traceback" not in rest
    assert (tmp_path / "runs/tiny/last.ckpt").is_file()


def test_words_become_options() -> None:
    options = options_from_words(
        **{
            **_PLAIN,
            "model": "package.module:Factory",
            "size": "64x96",
            "classes": "liver, tumour",
            "grey": True,
            "physics": "strict",
            "devices": "2",
            "nodes": 3,
            "strategy": "ddp",
        }
    )
    assert (options.height_px, options.width_px, options.colour) == (64, 96, Colour.GREY)
    assert options.classes == ("background", "liver", "tumour")
    assert options.output == Path("runs/factory")
    assert (options.devices, options.nodes, options.strategy) == ("2", 3, "ddp")
    for word in ("physics", "augment", "size"):
        with pytest.raises(UsageError, match=f"PE-TRAIN-001: {word} = 'much'.*--{word}"):
            options_from_words(**{**_PLAIN, word: "much"})


@pytest.mark.parametrize("model", DEMO_MODELS)
def test_the_demos_weights_are_named_by_a_word(model: str) -> None:
    options = options_from_words(**{**_PLAIN, "model": model, "weights": Path("demo")})
    assert options.weights is not None
    own = build_network(options, spec_of(options), for_training=False)
    load_weights(own, options.weights)
    assert options_from_words(**{**_PLAIN, "weights": Path("demo.safetensors")}).weights == Path("demo.safetensors")


def test_a_network_without_weights_of_its_own_says_which_have_some() -> None:
    with pytest.raises(UsageError, match=r"PE-NETWORK-008: no weights for pmrnet .*pmrnet_s"):
        options_from_words(**{**_PLAIN, "model": "pmrnet", "weights": Path("demo")})


def test_sizes_and_classes_as_they_are_written() -> None:
    assert size_from_word("224") == (224, 224)
    assert classes_from_word("background,polyp") == ("background", "polyp")
    with pytest.raises(UsageError, match="PE-TRAIN-001"):
        size_from_word("0x7")


def test_the_bar_shows_epoch_loss_and_dice(tmp_path: Path) -> None:
    screen = io.StringIO()
    task = write_task(tmp_path / "task", train=8, val=2)
    options = options_from_words(**{**_PLAIN, "data": [task], "output": tmp_path / "run"})
    fit(options, callbacks=(TrainingBar(Console(file=screen, force_terminal=True, width=80)),))
    shown = screen.getvalue()
    assert "epoch 2/2" in shown
    assert "validating" in shown
    assert re.search(r"loss \d\.\d{3}  Dice \d\.\d{3}", shown)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in sys.modules if name.startswith("physedge.train.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightning", None)
    assert _run(*_TINY) == 3
    assert "[train]" in capsys.readouterr().err
