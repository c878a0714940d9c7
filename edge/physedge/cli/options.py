"""Options that several verbs share, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; people's text goes to stderr.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, max=256, help="Threads of the engine; its own choice if not said.")
]
EngineOption = Annotated[str, typer.Option("--engine", help="auto, onnxruntime, openvino, tensorrt or fake.")]
PrecisionOption = Annotated[
    str | None, typer.Option("--precision", help="fp32, fp16 or int8 instead of what ships for the engine.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="A built-in network, or package.module:factory with --spec.")
]
WeightsOption = Annotated[
    Path | None, typer.Option("--weights", help="Trained weights, safetensors; demo: those that come along.")
]
SpecOption = Annotated[Path | None, typer.Option("--spec", help="spec.toml of the network (docs/spec.md).")]
OnnxOption = Annotated[Path | None, typer.Option("--onnx", help="A network that comes as ONNX, with --spec.")]
MetricOption = Annotated[
    str | None,
    typer.Option(
        "--metric", help="That decides: dice, iou, hd95, asd, accuracy, macro_f1, ssim ...; the task's own if not said."
    ),
]
StrataOption = Annotated[
    str | None,
    typer.Option(
        "--strata",
        help="FILE.csv (columns file, stratum), or a pattern of file names with one group, as '_(benign|malignant)_'.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Keep 99.9 % of full precision instead of 99 %.")]
MaxDropOption = Annotated[
    float | None,
    typer.Option("--max-drop", min=0, max=1, help="An absolute bound on the mean loss, besides the share."),
]
TrustOption = Annotated[
    list[Path] | None,
    typer.Option("--trust", help="Public key NAME.pub; one of those given must have signed. May be repeated."),
]
RootOption = Annotated[
    Path | None,
    typer.Option("--root", help="Where bundles are installed; as device.toml says, else ~/.local/state/physedge."),
]
AllowRejectedOption = Annotated[
    bool, typer.Option("--allow-rejected", help="Open a bundle that was not accepted; every result says so.")
]
OnlyAsExportedOption = Annotated[
    bool, typer.Option("--only-as-exported", help="Refuse a reduced graph that computes here otherwise than at export.")
]
IsolateOption = Annotated[
    bool | None,
    typer.Option(
        "--isolate/--no-isolate",
        help="Open it in a child process first, where a crash ends nothing; what no trusted key signed, if not said.",
    ),
]
BuildIfMissingOption = Annotated[
    bool, typer.Option("--build-if-missing", help="Build the TensorRT engine for this GPU where there is none yet.")
]
