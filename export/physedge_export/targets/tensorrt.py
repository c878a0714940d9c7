"""TensorRT 10, 11 and RTX: graphs with explicit precision, and the recipe by which an engine is built where it runs.

An engine is native code for one GPU and one library. It is never made on another machine's word and never travels in
a bundle.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files

from physedge_runtime.spec import ModelSpec

HALF_ENTRY = "model.fp16.onnx"
SIGNED_ENTRY = "model.int8-gpu.onnx"
DEFAULT_WORKSPACE_MIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an engine is built from a graph of the bundle.

    Attributes:
        graph: Entry of the graph.
        graph_sha256: Its hash.
        precision: `fp32`, `fp16` or `int8`: all of it stands in the graph, none in builder flags.
        input_name: Of the graph.
        input_shape: With the batch axis; the only one the engine serves.
        workspace_mib: Memory the builder may use.
    """

    graph: str
    graph_sha256: str
    precision: str
    input_name: str
    input_shape: tuple[int, ...]
    workspace_mib: int = DEFAULT_WORKSPACE_MIB

    @property
    def sha256(self) -> str:
        """Of the recipe as the bundle keeps it."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def trtexec(self) -> str:
        """The command line of NVIDIA's own tool; `--stronglyTyped` matters to TensorRT 10 and is ignored by 11."""
        return (
            f"trtexec --onnx={self.graph} --saveEngine={self.graph.removesuffix('.onnx')}.engine "
            f"--stronglyTyped --memPoolSize=workspace:{self.workspace_mib}"
        )

    def to_bytes(self) -> bytes:
        """The recipe as the bundle keeps it: JSON, sorted keys."""
        content = {
            "schema_version": 1,
            "graph": self.graph,
            "graph_sha256": self.graph_sha256,
            "precision": self.precision,
            "strongly_typed": True,
            "input_name": self.input_name,
            "input_shape": list(self.input_shape),
            "workspace_mib": self.workspace_mib,
            "least_version": {"tensorrt": "10.0", "tensorrt_rtx": "1.0"},
            "trtexec": self.trtexec,
            "golden": "the engine must reproduce the bundle's golden frames before its first live frame",
        }
        return (json.dumps(content, sort_keys=True, indent=2) + "\n").encode("utf-8")


def stand_alone_script(recipe: Recipe) -> str:
    """A Python program that builds the engine on a device without physedge."""
    text = (files("physedge_export.targets") / "build_engine.py.txt").read_text(encoding="utf-8")
    for mark, value in (
        ("@GRAPH@", recipe.graph),
        ("@ENGINE@", recipe.graph.removesuffix(".onnx") + ".engine"),
        ("@SHA256@", recipe.graph_sha256),
        ("@WORKSPACE@", str(recipe.workspace_mib)),
    ):
        text = text.replace(mark, value)
    return text


def recipe(entry: str, model: bytes, precision: str, spec: ModelSpec) -> Recipe:
    """The recipe of a graph."""
    return Recipe(
        graph=entry,
        graph_sha256=hashlib.sha256(model).hexdigest(),
        precision=precision,
        input_name="frame" if spec.frame is not None else "voltages",
        input_shape=(1, *spec.input_shape),
    )
