"""CUDA through NVIDIA's own Python bindings: the few calls an engine needs, each checked.

Nothing here is loaded until an engine opens.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import EnvironmentFault

_NAMES = ("cuda.bindings.runtime", "cuda.cudart")
"""cuda-python 12.6 and newer, and the name before it (JetPack 6 has either)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuDevice:
    """A GPU, as far as an engine depends on it.

    Attributes:
        name: For example `NVIDIA GeForce RTX 4090`.
        compute_capability: Major and minor.
        driver: Highest CUDA version that the driver knows, for example `13.0`.
        free_bytes: Of its memory, now.
        total_bytes: Of its memory.
    """

    name: str
    compute_capability: tuple[int, int]
    driver: str
    free_bytes: int
    total_bytes: int

    @property
    def sm(self) -> str:
        """The compute capability as compilers write it, for example `sm_89`."""
        return f"sm_{self.compute_capability[0]}{self.compute_capability[1]}"

    def __str__(self) -> str:
        return f"{self.name} ({self.sm}, CUDA driver {self.driver})"


class Cuda:
    """Checked calls into the CUDA runtime.

    Raises:
        EnvironmentFault: The bindings are missing (`PE-TRT-002`), or a call failed (`PE-TRT-003`).
    """

    def __init__(self, runtime: Any = None) -> None:
        self._runtime = runtime if runtime is not None else load_bindings()

    def call(self, name: str, *arguments: Any) -> Any:
        """Call `name`; the one value it gives, or a tuple of several, or None."""
        status, *values = getattr(self._runtime, name)(*arguments)
        if int(status) != 0:
            raise EnvironmentFault(
                "PE-TRT-003",
                found=f"CUDA answered {name} with {getattr(status, 'name', status)}",
                expected="a GPU with a driver that fits the installed CUDA libraries",
                next_step="look at nvidia-smi (tegrastats on a Jetson), or use --engine onnxruntime",
            )
        return None if not values else values[0] if len(values) == 1 else tuple(values)

    def value(self, enumeration: str, member: str) -> Any:
        """A member of one of the bindings' enumerations."""
        return getattr(getattr(self._runtime, enumeration), member)

    def device(self, index: int = 0) -> GpuDevice:
        """The GPU with this number."""
        self.call("cudaSetDevice", index)
        properties = self.call("cudaGetDeviceProperties", index)
        free_bytes, total_bytes = self.call("cudaMemGetInfo")
        driver = int(self.call("cudaDriverGetVersion"))
        name = properties.name
        return GpuDevice(
            name=name.decode().rstrip("\0") if isinstance(name, bytes) else str(name),
            compute_capability=(int(properties.major), int(properties.minor)),
            driver=f"{driver // 1000}.{driver % 1000 // 10}",
            free_bytes=int(free_bytes),
            total_bytes=int(total_bytes),
        )


def load_bindings(importer: Callable[[str], Any] = importlib.import_module) -> Any:
    """NVIDIA's bindings of the CUDA runtime.

    Raises:
        EnvironmentFault: They are not installed (`PE-TRT-002`).
    """
    for name in _NAMES:
        try:
            return importer(name)
        except ImportError:
            continue
    raise EnvironmentFault(
        "PE-TRT-002",
        found="the package cuda-python is not installed",
        expected="NVIDIA's Python bindings of CUDA",
        next_step="install it with: pip install cuda-python (the version of the CUDA on this device)",
    )


class Tensor:
    """One tensor of an engine: an array here, pinned, and its twin on the GPU, both made once.

    Attributes:
        host: The array here; written before `upload`, valid after `download` and a wait.
        address: Of the twin.
    """

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._cuda = cuda
        self.host: NDArray[Any] = np.zeros(shape, dtype)
        self.address = int(cuda.call("cudaMalloc", self.host.nbytes))
        self._pinned = False
        try:
            cuda.call("cudaHostRegister", self.host.ctypes.data, self.host.nbytes, 0)
            self._pinned = True
        except EnvironmentFault:
            # Older Jetson modules cannot pin memory that exists already; the copy is slower, and as right.
            pass

    def upload(self, stream: Any) -> None:
        """Queue the copy to the GPU."""
        kind = self._cuda.value("cudaMemcpyKind", "cudaMemcpyHostToDevice")
        self._cuda.call("cudaMemcpyAsync", self.address, self.host.ctypes.data, self.host.nbytes, kind, stream)

    def download(self, stream: Any) -> None:
        """Queue the copy from the GPU."""
        kind = self._cuda.value("cudaMemcpyKind", "cudaMemcpyDeviceToHost")
        self._cuda.call("cudaMemcpyAsync", self.host.ctypes.data, self.address, self.host.nbytes, kind, stream)

    def close(self) -> None:
        """Give both memories back."""
        if self._pinned:
            self._cuda.call("cudaHostUnregister", self.host.ctypes.data)
            self._pinned = False
        if self.address:
            self._cuda.call("cudaFree", self.address)
            self.address = 0
