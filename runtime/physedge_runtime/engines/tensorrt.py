"""TensorRT 10, 11 and RTX: an engine that was built on this device, run with buffers that are made once.

One stream carries the copy in, the network and the copy out; where CUDA can, the three are recorded once as a graph and
launched as one.
"""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.engines.base import Engine, EngineRequest, Outputs
from physedge_runtime.engines.cuda import Cuda, GpuDevice, Tensor
from physedge_runtime.engines.engine_cache import EngineCache, EngineKey, default_cache
from physedge_runtime.engines.tensorrt_library import Messages, TensorRtLibrary, find_library
from physedge_runtime.errors import EnvironmentFault, IntegrityError

_WARM_UP_RUNS = 2


def engine_key(*, graph_sha256: str, recipe_sha256: str, library: TensorRtLibrary, device: GpuDevice) -> EngineKey:
    """The key under which builder and engine agree."""
    return EngineKey(
        graph_sha256=graph_sha256,
        recipe_sha256=recipe_sha256,
        builder=library.kind,
        version=library.version,
        compute_capability=device.sm,
        gpu=device.name,
        driver=device.driver,
    )


class TensorRtEngine(Engine):
    """Runs an engine of the cache; it never builds one.

    Options:
        recipe_sha256: Of the recipe in the bundle; empty where there is none.
        cache: An `EngineCache`; this user's where it is left out.
        library, cuda: For tests.
    """

    name: ClassVar[str] = "tensorrt"

    def __init__(self, request: EngineRequest) -> None:
        super().__init__(request)
        self.is_captured = False
        self._tensors: dict[str, Tensor] = {}
        self._handles: list[tuple[str, Any]] = []
        self._launch: Any = None
        # TensorRT's own objects, without types of their own; all are made in `_open`.
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._kernels: Any = None

    def _open(self) -> None:
        options = self.request.options
        self._library: TensorRtLibrary = options.get("library") or find_library()
        self._cuda: Cuda = options.get("cuda") or Cuda()
        self._cache: EngineCache = options.get("cache") or default_cache()
        device = self._cuda.device()
        self.version = f"{self._library.version} on {device.name} ({device.sm})"
        self._key = engine_key(
            graph_sha256=self.request.graph_sha256,
            recipe_sha256=str(options.get("recipe_sha256", "")),
            library=self._library,
            device=device,
        )
        data = self._cache.load(self._key)
        if data is None:
            raise EnvironmentFault(
                "PE-TRT-012",
                found=f"no engine for {self._key}: {self._cache.explain_miss(self._key)}",
                expected="an engine that was built on this device",
                next_step="build it with: physedge export --build BUNDLE, or run with --build-if-missing",
            )
        try:
            self._load(data)
            self._allocate()
            self._warm_up()
        except BaseException:
            self._close()
            raise

    def _load(self, data: bytes) -> None:
        module, messages = self._library.module, Messages()
        self._logger = messages.logger(self._library)
        self._runtime = module.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise IntegrityError(
                "PE-TRT-013",
                found=f"{self._library} does not load the engine ({messages.reason})",
                expected="an engine that this library built on this GPU",
                next_step="build it again with: physedge export --build BUNDLE",
            )
        self._context = self._make_context()
        if self._context is None:
            raise EnvironmentFault(
                "PE-TRT-014",
                found=f"{self._library} cannot make the engine ready ({messages.reason})",
                expected="enough free GPU memory",
                next_step="close what else runs on the GPU, or use --engine onnxruntime",
            )

    def _make_context(self) -> Any:
        """The execution context; TensorRT-RTX gets the kernels that it compiled at an earlier start."""
        if not hasattr(self._engine, "create_runtime_config"):
            return self._engine.create_execution_context()
        config = self._engine.create_runtime_config()
        self._kernels = config.create_runtime_cache() if hasattr(config, "create_runtime_cache") else None
        if self._kernels is not None:
            kept = self._cache.load_kernels(self._key)
            if kept is not None:
                with contextlib.suppress(Exception):  # of another version: they are compiled again
                    self._kernels.deserialize(kept)
            config.set_runtime_cache(self._kernels)
        return self._engine.create_execution_context(config)

    def _allocate(self) -> None:
        module = self._library.module
        expected = {"": self.request.input_shape, **self.request.outputs}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            is_input = self._engine.get_tensor_mode(name) == module.TensorIOMode.INPUT
            shape = tuple(int(axis) for axis in self._engine.get_tensor_shape(name))
            wanted = expected.get("" if is_input else name)
            if wanted is None or shape != tuple(wanted):
                raise IntegrityError(
                    "PE-TRT-015",
                    found=f"the engine's tensor {name} has shape {shape}",
                    expected=f"{wanted if wanted is not None else 'one of ' + ', '.join(self.request.outputs)}",
                    next_step="build it again with: physedge export --build BUNDLE",
                )
            tensor = Tensor(self._cuda, shape, np.dtype(module.nptype(self._engine.get_tensor_dtype(name))))
            self._tensors[name] = tensor
            self._context.set_tensor_address(name, tensor.address)
            if is_input:
                self._input = tensor
        self._outputs = {name: self._tensors[name] for name in self.request.outputs}
        self._stream = self._cuda.call("cudaStreamCreate")
        self._handles.append(("cudaStreamDestroy", self._stream))

    def _warm_up(self) -> None:
        """Run until nothing is compiled or allocated any more, then record."""
        for _ in range(_WARM_UP_RUNS):
            self._queue()
            self._cuda.call("cudaStreamSynchronize", self._stream)
        for name, tensor in self._outputs.items():
            if not np.isfinite(tensor.host).all():
                raise IntegrityError(
                    "PE-TRT-016",
                    found=f"the engine answers a black frame with values of {name} that are not finite",
                    expected="finite answers",
                    next_step="use a graph of higher precision: --precision fp32",
                )
        if self._kernels is not None:
            with contextlib.suppress(EnvironmentFault, OSError):  # a start without them is slower, and as right
                self._cache.store_kernels(self._key, bytes(self._kernels.serialize()))
        self._record()

    def _record(self) -> None:
        """Record the three steps as one CUDA graph; where that is not possible they are queued one by one."""
        cuda = self._cuda
        try:
            mode = cuda.value("cudaStreamCaptureMode", "cudaStreamCaptureModeThreadLocal")
            cuda.call("cudaStreamBeginCapture", self._stream, mode)
            try:
                self._queue()
            finally:
                graph = cuda.call("cudaStreamEndCapture", self._stream)
            self._handles.append(("cudaGraphDestroy", graph))
            self._launch = cuda.call("cudaGraphInstantiate", graph, 0)
            self._handles.append(("cudaGraphExecDestroy", self._launch))
            self.is_captured = True
        except EnvironmentFault:
            self._launch = None

    def _queue(self) -> None:
        self._input.upload(self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise EnvironmentFault(
                "PE-TRT-017",
                found=f"{self._library} did not run the engine",
                expected="a GPU that answers",
                next_step="look at nvidia-smi (tegrastats on a Jetson), or use --engine onnxruntime",
            )
        for tensor in self._outputs.values():
            tensor.download(self._stream)

    def _infer(self, inputs: NDArray[Any]) -> Outputs:
        np.copyto(self._input.host, inputs)
        if self._launch is not None:
            self._cuda.call("cudaGraphLaunch", self._launch, self._stream)
        else:
            self._queue()
        self._cuda.call("cudaStreamSynchronize", self._stream)
        return {name: np.array(tensor.host, np.float32) for name, tensor in self._outputs.items()}

    def _close(self) -> None:
        self._launch = None
        while self._handles:
            destroy, handle = self._handles.pop()
            self._cuda.call(destroy, handle)
        # The context uses the buffers: it goes first.
        self._context = self._kernels = self._engine = self._runtime = None
        while self._tensors:
            _, tensor = self._tensors.popitem()
            tensor.close()
