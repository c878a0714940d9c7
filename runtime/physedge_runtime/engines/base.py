"""The contract of an engine: opened with a graph, asked one input at a time, closed.

The checks stand here once; an engine writes three hooks without checks.
"""

from __future__ import annotations

import abc
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import EnvironmentFault, PhysedgeError

Outputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """All that an engine is opened with.

    Attributes:
        graph: The ONNX file; its hash was checked before.
        graph_sha256: Of `graph`.
        input_shape: With the batch axis, (1, height, width, channel) uint8 or (1, voltage) float32.
        outputs: Output names and shapes with the batch axis, in order.
        threads: Threads of the engine; its own choice where None.
        bundle_sha256: Of the manifest of the bundle that the graph came in; empty outside one. With the next it
            decides which built engine of the cache belongs to the graph.
        recipe_sha256: Of the bundle's recipe for TensorRT; empty where it has none.
        options: What one engine alone understands, by its own names.
    """

    graph: bytes = field(repr=False)
    graph_sha256: str
    input_shape: tuple[int, ...]
    outputs: Mapping[str, tuple[int, ...]]
    threads: int | None = None
    bundle_sha256: str = ""
    recipe_sha256: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


class Engine(abc.ABC):
    """A graph made ready to run on one library and one device.

    Use as a context manager. `infer` may be called from several threads; calls wait for each other.

    Attributes:
        name: In the table of engines.
        overlaps: Calls do not wait here: the engine itself lets the copies of one overlap with the work of another.
        version: Of the library that runs the graph.
    """

    name: ClassVar[str]
    overlaps: ClassVar[bool] = False
    version: str = ""

    def __init__(self, request: EngineRequest) -> None:
        self.request = request
        self._lock = threading.Lock()
        self._is_open = False

    def open(self) -> Self:
        """Make the graph ready.

        Raises:
            EnvironmentFault: The library is missing, or refuses the graph (`PE-ENGINE-002`).
        """
        try:
            self._open()
        except PhysedgeError:
            raise
        except Exception as error:
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise EnvironmentFault(
                "PE-ENGINE-002",
                found=f"the engine {self.name} cannot open the graph ({first_line[:300]})",
                expected="a graph that this engine runs",
                next_step="try --engine onnxruntime, or export again for this target",
            ) from error
        self._is_open = True
        return self

    def infer(self, inputs: NDArray[Any]) -> Outputs:
        """Run the graph once.

        Args:
            inputs: (1, height, width, channel) uint8 or (1, voltage) float32, C-contiguous; it is not kept.

        Returns:
            Output name to float32 array with the batch axis, in the graph's order. The caller owns the arrays.

        Raises:
            RuntimeError: Called outside `open` and `close`.
        """
        if not self._is_open:
            raise RuntimeError(f"the engine {self.name} is not open; use it in a with block")
        if self.overlaps:
            return self._infer(inputs)
        with self._lock:
            return self._infer(inputs)

    def close(self) -> None:
        """Give everything back; further calls do nothing."""
        if self._is_open:
            self._is_open = False
            with self._lock:
                self._close()

    @property
    def fingerprint(self) -> str:
        """Library, version and the graph's hash in short: what answered."""
        return f"{self.name} {self.version} {self.request.graph_sha256[:12]}"

    def __enter__(self) -> Self:
        return self if self._is_open else self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abc.abstractmethod
    def _open(self) -> None: ...

    @abc.abstractmethod
    def _infer(self, inputs: NDArray[Any]) -> Outputs: ...

    @abc.abstractmethod
    def _close(self) -> None: ...
