"""TensorRT 10, 11 and RTX and the CUDA bindings as their Python faces look, without a GPU behind them.

The engine that the fake builds answers `probability` with the mean of the frame, as a fraction of 255, at every pixel.
Device memory is ordinary memory, so that every copy that the code under test asks for really happens.
"""
# The names are NVIDIA's.
# ruff: noqa: N802, N815

from __future__ import annotations

import ctypes
import enum
import json
from types import SimpleNamespace
from typing import Any

import numpy as np

SHAPE = (1, 4, 6, 3)
OUTPUT = (1, 1, 4, 6)


class Status(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorNoDevice = 100
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorUnknown = 999


class FakeCuda:
    """The CUDA runtime's bindings: every function gives a status first."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(
        self,
        *,
        name: str = "NVIDIA GeForce RTX 4090",
        capability: tuple[int, int] = (8, 9),
        driver: int = 13000,
        pins: bool = True,
        captures: bool = True,
        fails: str = "",
    ) -> None:
        self.name, self.capability, self.driver = name, capability, driver
        self.pins, self.captures, self.fails = pins, captures, fails
        self.memory: dict[int, np.ndarray] = {}
        self.pinned: set[int] = set()
        self.recording: list[Any] | None = None
        self.open: list[str] = []
        self.launches = 0
        self.dies = False  # set it to lose the GPU in mid-stream

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("cuda") and name == object.__getattribute__(self, "fails"):
            return lambda *_: (Status.cudaErrorNoDevice,)
        return object.__getattribute__(self, name)

    def cudaSetDevice(self, index: int) -> tuple[Any, ...]:
        return (Status.cudaSuccess,)

    def cudaGetDeviceProperties(self, index: int) -> tuple[Any, ...]:
        major, minor = self.capability
        return Status.cudaSuccess, SimpleNamespace(name=self.name.encode(), major=major, minor=minor)

    def cudaMemGetInfo(self) -> tuple[Any, ...]:
        return Status.cudaSuccess, 8 << 30, 16 << 30

    def cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return Status.cudaSuccess, self.driver

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        block = np.zeros(size, np.uint8)
        self.memory[block.ctypes.data] = block
        return Status.cudaSuccess, block.ctypes.data

    def cudaFree(self, address: int) -> tuple[Any, ...]:
        del self.memory[address]
        return (Status.cudaSuccess,)

    def cudaHostRegister(self, address: int, size: int, flags: int) -> tuple[Any, ...]:
        if not self.pins:
            return (Status.cudaErrorMemoryAllocation,)
        self.pinned.add(address)
        return (Status.cudaSuccess,)

    def cudaHostUnregister(self, address: int) -> tuple[Any, ...]:
        self.pinned.remove(address)
        return (Status.cudaSuccess,)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: Any) -> tuple[Any, ...]:
        self.queue(lambda: ctypes.memmove(target, source, size))
        return (Status.cudaSuccess,)

    def queue(self, work: Any) -> None:
        if self.recording is not None:
            self.recording.append(work)
        else:
            work()

    def cudaStreamCreate(self) -> tuple[Any, ...]:
        self.open.append("stream")
        return Status.cudaSuccess, 77

    def cudaStreamDestroy(self, stream: Any) -> tuple[Any, ...]:
        self.open.remove("stream")
        return (Status.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: Any) -> tuple[Any, ...]:
        return (Status.cudaSuccess,)

    def cudaEventCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        assert flags == 2  # no timing: it is only waited for
        self.open.append("event")
        return Status.cudaSuccess, len(self.open)

    def cudaEventRecord(self, event: Any, stream: Any) -> tuple[Any, ...]:
        return (Status.cudaSuccess,)

    def cudaEventSynchronize(self, event: Any) -> tuple[Any, ...]:
        return (Status.cudaErrorUnknown if self.dies else Status.cudaSuccess,)

    def cudaEventDestroy(self, event: Any) -> tuple[Any, ...]:
        self.open.remove("event")
        return (Status.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: Any, mode: Any) -> tuple[Any, ...]:
        if not self.captures:
            return (Status.cudaErrorStreamCaptureUnsupported,)
        self.recording = []
        return (Status.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: Any) -> tuple[Any, ...]:
        graph, self.recording = self.recording, None
        self.open.append("graph")
        return Status.cudaSuccess, graph

    def cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[Any, ...]:
        self.open.append("launch")
        return Status.cudaSuccess, graph

    def cudaGraphLaunch(self, launch: Any, stream: Any) -> tuple[Any, ...]:
        self.launches += 1
        for work in launch:
            work()
        return (Status.cudaSuccess,)

    def cudaGraphDestroy(self, graph: Any) -> tuple[Any, ...]:
        self.open.remove("graph")
        return (Status.cudaSuccess,)

    def cudaGraphExecDestroy(self, launch: Any) -> tuple[Any, ...]:
        self.open.remove("launch")
        return (Status.cudaSuccess,)


class Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


class ILogger:
    Severity = Severity

    def __init__(self) -> None: ...


class Monitor:
    def __init__(self) -> None: ...


class FakeConfig:
    """A builder's configuration that knows the attributes of its version and no others, as NVIDIA's does."""

    def __init__(self, allowed: frozenset[str]) -> None:
        object.__setattr__(self, "allowed", allowed)
        object.__setattr__(self, "limits", {})
        object.__setattr__(self, "flags", [])

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in object.__getattribute__(self, "allowed"):
            raise AttributeError(f"'IBuilderConfig' object has no attribute '{name}'")
        object.__setattr__(self, name, value)

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        self.limits[pool] = size

    def set_flag(self, flag: Any) -> None:
        self.flags.append(flag)


class FakeParser:
    def __init__(self, network: Any, logger: Any, module: FakeTensorRt) -> None:
        self.module, self.network = module, network

    def parse(self, data: bytes) -> bool:
        self.network.data = data
        return not self.module.parse_error

    @property
    def num_errors(self) -> int:
        return int(bool(self.module.parse_error))

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(node_name=lambda: "flow.step/Det", desc=lambda: self.module.parse_error)


class FakeTensorRt:
    """One version's Python face.

    Args:
        version: As `__version__` says.
        rtx: With compute capabilities, runtime caches and no GPU needed.
        missing: Names that this version does not have, for example `STRONGLY_TYPED`.
        parse_error: What the parser says; it reads the graph where this is empty.
        build_error: What the logger hears before the builder gives nothing.
        cuda: The bindings under it, for execution.
        answer: What the engine makes of a frame; the mean where None.
        output_shape: Of its answer.
        validity: Bits of what its reader has against every engine.
    """

    nptype = staticmethod(lambda kind: np.dtype(kind).type)

    def __init__(
        self,
        version: str = "10.3.0",
        *,
        rtx: bool = False,
        missing: tuple[str, ...] = (),
        parse_error: str = "",
        build_error: str = "",
        cuda: FakeCuda | None = None,
        answer: float | None = None,
        output_shape: tuple[int, ...] = OUTPUT,
        validity: int = 0,
    ) -> None:
        self.__version__ = version
        self.parse_error, self.build_error, self.cuda = parse_error, build_error, cuda
        self.answer, self.output_shape, self.rtx, self.validity = answer, output_shape, rtx, validity
        self.ILogger, self.IProgressMonitor = ILogger, Monitor
        self.missing = missing
        self.is_eleven = not rtx and int(version.partition(".")[0]) >= 11
        weak = {} if self.is_eleven or rtx else {"FP16": "fp16", "INT8": "int8", "OBEY_PRECISION_CONSTRAINTS": "obey"}
        names = {
            "NetworkDefinitionCreationFlag": {"STRONGLY_TYPED": 1},
            "MemoryPoolType": {"WORKSPACE": "workspace"},
            "HardwareCompatibilityLevel": {"AMPERE_PLUS": "ampere+"},
            "BuilderFlag": {"VERSION_COMPATIBLE": "version", **weak},
            "ComputeCapability": {"SM89": "sm89", "SM75": "sm75"} if rtx else {},
        }
        if not (self.is_eleven or rtx):
            self.IInt8EntropyCalibrator2 = type("IInt8EntropyCalibrator2", (), {})
        if validity:
            self.EngineInvalidityDiagnostics = enum.IntFlag(
                "EngineInvalidityDiagnostics", {"VERSION_MISMATCH": 1, "UNSUPPORTED_CC": 2, "MALFORMED_ENGINE": 32}
            )
        for enumeration, members in names.items():
            kept = {name: value for name, value in members.items() if name not in missing}
            setattr(self, enumeration, SimpleNamespace(**kept))
        self.TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")
        self.built: list[dict[str, Any]] = []
        self.kernels_read: list[bytes] = []
        self.runtimes: list[Any] = []

    def Builder(self, logger: Any) -> Any:
        return SimpleNamespace(
            create_network=lambda flags: SimpleNamespace(flags=flags, data=b""),
            create_builder_config=self._config,
            build_serialized_network=lambda network, config: self._build(network, config, logger),
        )

    def _config(self) -> Any:
        allowed = {"progress_monitor", "hardware_compatibility_level", "num_compute_capabilities", "capability"}
        allowed |= set() if self.is_eleven or self.rtx else {"int8_calibrator", "algorithm_selector"}
        allowed -= set(self.missing)
        config = FakeConfig(frozenset(allowed))
        if "progress_monitor" in allowed:
            config.progress_monitor = None
        if self.rtx:
            setter = lambda capability, index: setattr(config, "capability", capability)  # noqa: E731
            object.__setattr__(config, "set_compute_capability", setter)
        return config

    def OnnxParser(self, network: Any, logger: Any) -> FakeParser:
        return FakeParser(network, logger, self)

    def _build(self, network: Any, config: Any, logger: Any) -> bytes | None:
        if self.build_error:
            logger.log(Severity.ERROR, self.build_error)
            return None
        monitor = getattr(config, "progress_monitor", None)
        if monitor is not None:
            monitor.phase_start("Building", None, 2)
            monitor.phase_start("Timing", "Building", 9)
            monitor.step_complete("Timing", 1)
            monitor.step_complete("Building", 1)
            monitor.phase_finish("Building")
        self.built.append({"network_flags": network.flags, **vars(config)})
        plan = {"version": self.__version__, "size": len(network.data), "carries_runtime": "version" in config.flags}
        return json.dumps(plan).encode()

    def Runtime(self, logger: Any) -> Any:
        def load(data: bytes) -> Any:
            if json.loads(data).get("carries_runtime") and not reader.engine_host_code_allowed:
                logger.log(Severity.ERROR, "The plan contains host code, which was not allowed")
                return None
            if json.loads(data)["version"] != self.__version__ and not json.loads(data).get("carries_runtime"):
                logger.log(Severity.ERROR, "Serialization assertion failed. Version tag does not match")
                return None
            return self._engine()

        reader = SimpleNamespace(deserialize_cuda_engine=load, engine_host_code_allowed=False)
        self.runtimes.append(reader)
        if self.validity:
            reader.get_engine_validity = lambda data: ("INVALID", self.validity)
        return reader

    def _engine(self) -> Any:
        tensors = [("frame", "in", SHAPE, "uint8"), ("probability", "out", self.output_shape, "float32")]
        by_name = {name: (mode, shape, kind) for name, mode, shape, kind in tensors}
        engine = SimpleNamespace(
            num_io_tensors=2,
            get_tensor_name=lambda index: tensors[index][0],
            get_tensor_mode=lambda name: by_name[name][0],
            get_tensor_shape=lambda name: by_name[name][1],
            get_tensor_dtype=lambda name: by_name[name][2],
            create_execution_context=lambda config=None: self._context(),
        )
        if self.rtx:
            engine.create_runtime_config = lambda: SimpleNamespace(
                create_runtime_cache=lambda: SimpleNamespace(
                    deserialize=self.kernels_read.append, serialize=lambda: b"kernels"
                ),
                set_runtime_cache=lambda cache: None,
            )
        return engine

    def _context(self) -> Any:
        addresses: dict[str, int] = {}

        def execute(stream: int) -> bool:
            assert self.cuda is not None
            bound = dict(addresses)  # what is recorded keeps the addresses of its recording

            def work() -> None:
                assert self.cuda is not None
                frame = self.cuda.memory[bound["frame"]]
                output = self.cuda.memory[bound["probability"]].view(np.float32)
                output[:] = frame.mean() / 255 if self.answer is None else self.answer

            self.cuda.queue(work)
            return True

        return SimpleNamespace(set_tensor_address=addresses.__setitem__, execute_async_v3=execute)
