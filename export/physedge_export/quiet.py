"""Tracing without chatter: the libraries' log lines are held back, and what they warn of is not."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

from physedge_runtime.errors import BuildError

_CHATTY_LOGGERS = ("torch", "torch.onnx", "torch.export", "torch._dynamo", "torch.fx", "onnxscript", "onnx_ir")
_TRACING_FOLDERS = ("onnx", "export", "_export", "_dynamo", "fx", "jit", "_functorch", "_subclasses")


@contextlib.contextmanager
def strict_tracing() -> Iterator[None]:
    """Within it, a warning of the tracer itself ends in an error; log lines below errors are dropped.

    Warnings of other code (a deprecation inside a library, a network's own word) are passed on as they came.

    Raises:
        BuildError: The tracer warned (`PE-TRACE-003`): something was frozen into the graph or left out.
    """
    levels = {name: logging.getLogger(name).level for name in _CHATTY_LOGGERS}
    output = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(output):
        warnings.simplefilter("always")
        for name in _CHATTY_LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
    for warning in caught:
        if _is_of_the_tracer(warning):
            raise BuildError(
                "PE-TRACE-003",
                found=f"the tracer warned: {_first_line(warning.message)}",
                expected="a graph that does for every input what the network does",
                next_step="replace the Python branch or value that depends on a tensor's content by tensor operations",
            )
        if not issubclass(warning.category, DeprecationWarning | PendingDeprecationWarning | FutureWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _is_of_the_tracer(warning: warnings.WarningMessage) -> bool:
    if warning.category.__name__ == "TracerWarning":
        return True
    if issubclass(warning.category, DeprecationWarning | PendingDeprecationWarning | FutureWarning):
        return False
    parts = warning.filename.replace("\\", "/").split("/torch/")
    return len(parts) > 1 and parts[-1].split("/")[0] in _TRACING_FOLDERS


def _first_line(message: object) -> str:
    return (str(message).strip() or type(message).__name__).splitlines()[0][:300]
