"""TensorRT 10, 11 and RTX: an engine that was built on this device, run with buffers that are made once.

One stream carries the copy in, the network and the copy out; where CUDA can, the three are recorded once as a graph and
launched as one. There are two lanes of buffers: while the GPU works on one caller's frame, another caller fills the
pinned memory of the second lane or takes its answer out, so that two threads keep the GPU busy without a pause.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.engines.base import Engine, EngineRequest, Outputs
from physedge_runtime.engines.cuda import Cuda, GpuDevice, Tensor
from physedge_runtime.engines.engine_cache import EngineCache, EngineKey, default_cache, is_version_compatible
from physedge_runtime.engines.tensorrt_library import Messages, TensorRtLibrary, find_library
from physedge_runtime.errors import EnvironmentFault, IntegrityError

_LANES = 2
_TRIAL_VOLTS = 1e-3
_NO_TIMING = 2
"""`cudaEventDisableTiming`: an event that is only waited for."""


def engine_key(request: EngineRequest, *, library: TensorRtLibrary, device: GpuDevice) -> EngineKey:
    """The key under which builder and engine agree."""
    return EngineKey(
        bundle_sha256=request.bundle_sha256,
        graph_sha256=request.graph_sha256,
        recipe_sha256=request.recipe_sha256,
        builder=library.kind,
        version=library.version,
        architecture=device.sm,
        device=device.name,
        driver=device.driver,
    )


class _Lane:
    """Buffers of one frame on its way, made once: input, outputs, the recorded launch, and the event of its end."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.input_name = ""
        self.launch: Any = None
        self.done: Any = None

    @property
    def input(self) -> Tensor:
        return self.tensors[self.input_name]

    def close(self) -> None:
        while self.tensors:
            _, tensor = self.tensors.popitem()
            tensor.close()


class TensorRtEngine(Engine):
    """Runs an engine of the cache; it never builds one.

    Options:
        cache: An `EngineCache`; this user's where it is left out.
        library, cuda: For tests.
    """

    name: ClassVar[str] = "tensorrt"
    overlaps: ClassVar[bool] = True

    def __init__(self, request: EngineRequest) -> None:
        super().__init__(request)
        self.is_captured = False
        self._lanes: list[_Lane] = []
        self._free: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        self._queueing = threading.Lock()
        self._is_warm = False
        self._handles: list[tuple[str, Any]] = []
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
        self._key = engine_key(self.request, library=self._library, device=device)
        data = self._cache.load(self._key)
        if data is None and (earlier := self._cache.earlier(self._key)) is not None:
            self._key, data = earlier, self._cache.load(earlier)
            self.version += f", built by {earlier.version}"
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
        if self._carries_a_runtime():
            self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            faults = self._library.faults_of(self._runtime, data)
            reason = "; ".join((*(fault.lower().replace("_", " ") for fault in faults), messages.reason))
            raise IntegrityError(
                "PE-TRT-013",
                found=f"{self._library} does not load the engine ({reason})",
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

    def _carries_a_runtime(self) -> bool:
        """Whether the engine was built version-compatible, and may load the runtime that TensorRT put into it.

        That is a library for the processor, run in this process; TensorRT loads none unless it is told to. It is told
        for an engine that this device built with that option, for a bundle whose hashes held: the cache belongs to
        this user alone, and bytes and record were compared. For any other the default stays, and TensorRT refuses.
        """
        is_asked = is_version_compatible(self._cache.note(self._key))
        return is_asked and bool(self.request.bundle_sha256) and hasattr(self._runtime, "engine_host_code_allowed")

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
        self._stream = self._cuda.call("cudaStreamCreate")
        self._handles.append(("cudaStreamDestroy", self._stream))
        for _ in range(_LANES):
            lane = _Lane()
            self._lanes.append(lane)  # first: whatever fails below gives back what was made
            self._fill(lane)
            lane.done = self._cuda.call("cudaEventCreateWithFlags", _NO_TIMING)
            self._handles.append(("cudaEventDestroy", lane.done))

    def _fill(self, lane: _Lane) -> None:
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
            dtype = np.dtype(module.nptype(self._engine.get_tensor_dtype(name)))
            lane.tensors[name] = Tensor(self._cuda, shape, dtype)
            if is_input:
                lane.input_name = name

    def _warm_up(self) -> None:
        """Run every lane until nothing is compiled or allocated any more, look at the answers, then record."""
        generator, shape = np.random.default_rng(0), self.request.input_shape
        for lane in self._lanes:
            is_picture = lane.input.host.dtype == np.uint8
            noise = generator.integers(0, 256, shape) if is_picture else generator.normal(0, _TRIAL_VOLTS, shape)
            dark = self._try(lane, np.zeros(shape))
            loud = self._try(lane, noise)
            if all(np.ptp(loud[name]) == 0 and np.array_equal(loud[name], dark[name]) for name in loud):
                raise _useless("a black frame and a noisy one with one and the same value everywhere")
        if self._kernels is not None:
            with contextlib.suppress(EnvironmentFault, OSError):  # a start without them is slower, and as right
                self._cache.store_kernels(self._key, bytes(self._kernels.serialize()))
        self.is_captured = all(self._record(lane) for lane in self._lanes)
        for lane in self._lanes:
            self._free.put(lane)
        self._is_warm = True

    def _try(self, lane: _Lane, inputs: NDArray[Any]) -> Outputs:
        np.copyto(lane.input.host, inputs.astype(lane.input.host.dtype))
        self._queue(lane)
        self._cuda.call("cudaStreamSynchronize", self._stream)
        answers = self._answers(lane)
        for name, values in answers.items():
            if not np.isfinite(values).all():
                raise _useless(f"a trial frame with values of {name} that are not finite")
        return answers

    def _record(self, lane: _Lane) -> bool:
        """Record the three steps as one CUDA graph; where that is not possible they are queued one by one."""
        cuda = self._cuda
        try:
            mode = cuda.value("cudaStreamCaptureMode", "cudaStreamCaptureModeThreadLocal")
            cuda.call("cudaStreamBeginCapture", self._stream, mode)
            try:
                self._queue(lane)
            finally:
                graph = cuda.call("cudaStreamEndCapture", self._stream)
            self._handles.append(("cudaGraphDestroy", graph))
            launch = cuda.call("cudaGraphInstantiate", graph, 0)
        except EnvironmentFault:
            return False
        self._handles.append(("cudaGraphExecDestroy", launch))
        lane.launch = launch
        return True

    def _queue(self, lane: _Lane) -> None:
        for name, tensor in lane.tensors.items():
            self._context.set_tensor_address(name, tensor.address)
        lane.input.upload(self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise EnvironmentFault(
                "PE-TRT-017",
                found=f"{self._library} did not run the engine",
                expected="a GPU that answers",
                next_step="look at nvidia-smi (tegrastats on a Jetson), or use --engine onnxruntime",
            )
        for name in self.request.outputs:
            lane.tensors[name].download(self._stream)

    def _infer(self, inputs: NDArray[Any]) -> Outputs:
        lane = self._free.get()
        try:
            np.copyto(lane.input.host, inputs)
            with self._queueing:
                if lane.launch is not None:
                    self._cuda.call("cudaGraphLaunch", lane.launch, self._stream)
                else:
                    self._queue(lane)
                self._cuda.call("cudaEventRecord", lane.done, self._stream)
            self._cuda.call("cudaEventSynchronize", lane.done)
            return self._answers(lane)
        finally:
            self._free.put(lane)

    def _answers(self, lane: _Lane) -> Outputs:
        return {name: np.array(lane.tensors[name].host, np.float32) for name in self.request.outputs}

    def _close(self) -> None:
        if self._is_warm:
            self._is_warm = False
            for _ in self._lanes:
                self._free.get()  # waits for whoever is still in `infer`
        while self._handles:
            destroy, handle = self._handles.pop()
            self._cuda.call(destroy, handle)
        # The context uses the buffers: it goes first.
        self._context = self._kernels = self._engine = self._runtime = None
        while self._lanes:
            self._lanes.pop().close()


def _useless(what: str) -> IntegrityError:
    return IntegrityError(
        "PE-TRT-016",
        found=f"the engine answers {what}",
        expected="finite answers that depend on the frame",
        next_step="use a graph of higher precision: --precision fp32",
    )
