"""What a graph with Q/DQ nodes computes when nothing saturates: each operator in float, on quantised values.

A difference between this and the optimised engine is an artefact of that engine's integer kernels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray


def emulate(
    model: bytes, inputs: Iterable[NDArray[np.generic]], *, input_name: str, threads: int = 1
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The outputs of ONNX Runtime with every optimisation off, by output name, one input at a time.

    Args:
        model: A serialised ONNX model.
        inputs: Inputs of the graph, with or without a batch axis of 1.
        input_name: Name of the graph's input.
        threads: Threads within an operator.
    """
    import onnxruntime

    from physedge_calibrate.quantize import with_batch_axis

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    for image in inputs:
        values = session.run(names, {input_name: with_batch_axis(image)})
        yield {name: np.asarray(value, dtype=np.float32) for name, value in zip(names, values, strict=True)}
