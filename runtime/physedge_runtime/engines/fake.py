"""An engine without a network, for tests of whatever stands around one. It ships, since users test too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.engines.base import Engine, EngineRequest, Outputs
from physedge_runtime.trust import is_signal


class FakeEngine(Engine):
    """Answers with the mean brightness of the input, pixel by pixel where the shapes allow; trust signals with 0.

    Give the option `answer`, a function of the input that returns the outputs by name, to answer anything else, to
    raise, or to
    hand out NaN. The golden frames are not replayed on it.

    Example:
        >>> request = EngineRequest(graph=b"", graph_sha256="0" * 64, input_shape=(1, 2, 2, 1), outputs={"mean": (1,)})
        >>> with FakeEngine(request) as engine:
        ...     print(engine.infer(np.full((1, 2, 2, 1), 51, np.uint8))["mean"])
        [0.2]
    """

    name: ClassVar[str] = "fake"
    version = "1"

    def _open(self) -> None:
        self._answer: Callable[[NDArray[Any]], Outputs] = self.request.options.get("answer") or self._brightness

    def _infer(self, inputs: NDArray[Any]) -> Outputs:
        return self._answer(inputs)

    def _brightness(self, inputs: NDArray[Any]) -> Outputs:
        scale = 255.0 if inputs.dtype == np.uint8 else 1.0
        brightness = inputs.astype(np.float32).mean(axis=-1) / np.float32(scale)
        return {
            name: np.zeros(shape, np.float32) if is_signal(name) else _spread(brightness, shape)
            for name, shape in self.request.outputs.items()
        }

    def _close(self) -> None:
        pass


def _spread(brightness: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    if brightness.ndim == 3 and len(shape) == 4 and brightness.shape[1:] == tuple(shape[2:]):
        return np.ascontiguousarray(np.broadcast_to(brightness[:, np.newaxis], shape))
    return np.full(shape, np.float32(brightness.mean()))


__all__ = ["EngineRequest", "FakeEngine"]
