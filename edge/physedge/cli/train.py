"""`physedge train`: from a folder of labelled pictures to weights, their specification and a record of the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physedge.cli.console import emit, note, progress, say
from physedge.cli.options import JsonOption, SeedOption
from physedge_runtime.errors import missing_extra

if TYPE_CHECKING:
    from physedge.train.fit import TrainResult


def train(
    model: Annotated[str, typer.Argument(help="pmrnet_e, pmrnet_s, physnet_e, ..., or package.module:factory.")],
    data: Annotated[
        list[Path],
        typer.Option(
            "--data",
            help="Folder of images/ and masks/, or of one folder a class; or train/ and val/ of these.",
        ),
    ],
    size: Annotated[
        str | None, typer.Option("--size", help="Side of the network's input, or HEIGHTxWIDTH; the network's own.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="What a network of one's own answers: segmentation, classification.")
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the training set.")] = 100,
    batch: Annotated[int, typer.Option("--batch", help="Pictures a step and device.")] = 8,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="At its highest.")] = 2e-3,
    seed: SeedOption = 0,
    classes: Annotated[
        str | None, typer.Option("--classes", help="What is found, separated by commas; lesion, or the class folders.")
    ] = None,
    grey: Annotated[bool, typer.Option("--grey", help="A network with one input channel.")] = False,
    physics: Annotated[str, typer.Option("--physics", help="paper or strict.")] = "paper",
    growth: Annotated[
        list[str] | None, typer.Option("--growth", help="KEY=VALUE of the tumour model, or off; repeatable.")
    ] = None,
    densities: Annotated[
        Path | None,
        typer.Option("--densities", help="Set of physedge synth tumour; u_0 of a tumour model is learned from it."),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option("--augment", help="strong (any way up, other lamps), mild (ultrasound), mri, none; by the task."),
    ] = None,
    progressive: Annotated[
        bool, typer.Option("--progressive", help="First half of the epochs at 0.7 of the size: a third faster.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the run; runs/MODEL.")] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="Begin with these instead of a fresh network; demo: the built-in ones."),
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option("--teacher", help="Folder of a finished run; its answers are learned besides.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last finished epoch.")] = False,
    workers: Annotated[int, typer.Option("--workers", help="Processes that decode, for very large sets.")] = 0,
    devices: Annotated[str, typer.Option("--devices", help="A number, or auto.")] = "auto",
    nodes: Annotated[int, typer.Option("--nodes", help="Machines.")] = 1,
    strategy: Annotated[str, typer.Option("--strategy", help="Lightning's: auto, ddp ...")] = "auto",
    accelerator: Annotated[str, typer.Option("--accelerator", help="Lightning's: auto, cpu, gpu ...")] = "auto",
    json_output: JsonOption = False,
) -> None:
    """Train a network; keeps the best weights, the last state, and what a person wants to see."""
    from physedge.train.asked import options_from_words

    options = options_from_words(
        model=model,
        data=data,
        task=task,
        size=size,
        classes=classes,
        grey=grey,
        physics=physics,
        growth=growth or (),
        densities=densities,
        augment=augment,
        output=output,
        weights=weights,
        teacher=teacher,
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        progressive=progressive,
        seed=seed,
        workers=workers,
        devices=devices,
        nodes=nodes,
        strategy=strategy,
        accelerator=accelerator,
        resume=resume,
    )
    try:
        from physedge.train.fit import fit, is_helper
        from physedge.train.progress import bar
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "train") from error
    from physedge.train.run_files import write_project

    try:
        result = fit(options, progress=progress, report=note, callbacks=bar())
    except KeyboardInterrupt:
        kept = (options.output / "last.ckpt").is_file()
        note(
            f"kept up to the last finished epoch in {options.output}; go on with the same command and --resume"
            if kept
            else "no epoch was finished, nothing is kept"
        )
        raise
    if is_helper():
        return
    project = write_project(Path.cwd(), options)
    assert result.scores is not None
    say(
        f"trained on {len(result.splits.train)} samples, validated on {len(result.splits.val)} ({result.splits.how})",
        f"best epoch {result.best.epoch}: {result.scores.sentence()}",
        f"weights {result.weights}, specification {result.spec}",
        f"look at {result.output / 'worst.png'} and {result.output / 'curves.png'}",
        f"{project.name} names them for the next verbs: physedge export",
        json_output=json_output,
    )
    emit(as_json(result), json_output)


def as_json(result: TrainResult) -> dict[str, object]:
    """The result as a machine reads it."""
    assert result.scores is not None
    return {
        "schema_version": 1,
        "output": str(result.output),
        "weights": str(result.weights),
        "spec": str(result.spec),
        "best_epoch": result.best.epoch,
        "train_pictures": len(result.splits.train),
        "validation_pictures": len(result.splits.val),
        "test_pictures": len(result.splits.test),
        "split": result.splits.how,
        "seconds": result.epochs_seconds,
        **result.scores.to_dict(),
    }
