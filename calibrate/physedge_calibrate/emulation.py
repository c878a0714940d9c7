"""What a graph with Q/DQ nodes computes when nothing saturates: each operator in float, on quantised values.

A difference between this and the optimised engine is an artefact of that engine's integer kernels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def emulate(
    model: bytes, inputs: Iterable[NDArray[np.generic]], *, input_name: str, threads: int = 1
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The outputs by name, one input at a time.

    Args:
        model: A serialised ONNX model.
        inputs: Inputs of the graph, with or without a batch axis of 1.
        input_name: Name of the graph's input.
        threads: Threads within an operator.
    """
    session = emulating_session(model, threads=threads)
    names = [output.name for output in session.get_outputs()]
    for image in inputs:
        values = session.run(names, {input_name: with_batch_axis(image)})
        yield {name: np.asarray(value, dtype=np.float32) for name, value in zip(names, values, strict=True)}


def emulating_session(model: bytes, *, threads: int) -> InferenceSession:
    """A session of ONNX Runtime that fuses float operators but never Q/DQ nodes with their neighbours."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Or it would quantise float weights between Q/DQ nodes by a rule of its own, and take integer kernels.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.intra_op_num_threads = threads
    # It would warn of weights that nothing uses.
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def with_batch_axis(frame: NDArray[np.generic]) -> NDArray[np.generic]:
    """A frame as the graph takes it, with a batch axis of 1 in front.

    A frame is (height, width, channel), (voltage,), or (2, voltage) with its reference; what has the axis keeps it.
    """
    has_axis = frame.ndim == 4 or (frame.ndim == 2 and len(frame) == 1)
    return frame if has_axis else frame[np.newaxis]
