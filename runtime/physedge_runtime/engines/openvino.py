"""OpenVINO on the CPU."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.device import this_device
from physedge_runtime.engines.base import Engine, Outputs
from physedge_runtime.engines.engine_cache import EngineCache, EngineKey
from physedge_runtime.errors import EnvironmentFault, IntegrityError, missing_extra
from physedge_runtime.ir import is_ir, unpack_ir
from physedge_runtime.telemetry import silence_openvino

if TYPE_CHECKING:
    import openvino


class OpenVinoEngine(Engine):
    """Runs the graph with OpenVINO's CPU plug-in, one request at a time, for latency.

    Compiling takes most of the time of a start, so a compiled graph is kept where a cache is given. It saves time only:
    where the cache cannot be used, or does not hold what was stored, the graph is compiled.

    Options:
        cache: An `EngineCache`; nothing is kept where it is left out.
        profile: True counts the time of every operator; `profiling_info` gives it after an inference.
    """

    name: ClassVar[str] = "openvino"

    def _open(self) -> None:
        silence_openvino()
        try:
            import openvino
        except ImportError as error:
            raise missing_extra("openvino", "openvino") from error
        self.version = openvino.__version__.partition("-")[0]
        core = openvino.Core()
        properties: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            # Without it a processor with bfloat16 would answer in bfloat16, and nobody judged that.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        if self.request.threads is not None:
            properties["INFERENCE_NUM_THREADS"] = self.request.threads
        if self.request.options.get("profile"):
            properties["PERF_COUNT"] = True
        compiled = self._compiled(core, properties, openvino.__version__)
        self._graph: openvino.CompiledModel | None = compiled
        self._request: openvino.InferRequest | None = compiled.create_infer_request()
        self._output_names = [self._promised_name(output) for output in compiled.outputs]

    def _promised_name(self, output: Any) -> str:
        """An output that only rearranges another value has the names of both; one of them was promised."""
        names: list[str] = sorted(output.get_names())
        return next((name for name in names if name in self.request.outputs), names[0])

    def _compiled(self, core: openvino.Core, properties: dict[str, Any], version: str) -> openvino.CompiledModel:
        cache: EngineCache | None = self.request.options.get("cache")
        if cache is None:
            return self._compile(core, properties)
        device = this_device()
        key = EngineKey(
            bundle_sha256=self.request.bundle_sha256,
            graph_sha256=self.request.graph_sha256,
            recipe_sha256=hashlib.sha256(json.dumps(properties, sort_keys=True).encode()).hexdigest(),
            builder=self.name,
            version=version,
            architecture=" ".join((device.architecture, *device.instruction_sets)),
            device=device.processor,
        )
        with contextlib.suppress(EnvironmentFault, IntegrityError, OSError, RuntimeError):
            kept = cache.load(key)
            if kept is not None:
                return core.import_model(kept, "CPU", properties)
        compiled = self._compile(core, properties)
        with contextlib.suppress(EnvironmentFault, OSError, RuntimeError):
            cache.store(key, compiled.export_model().getvalue())
        return compiled

    def _compile(self, core: openvino.Core, properties: dict[str, Any]) -> openvino.CompiledModel:
        return core.compile_model(self._read(core), "CPU", properties)

    def _read(self, core: openvino.Core) -> openvino.Model:
        graph = self.request.graph
        if not is_ir(graph):
            return core.read_model(model=graph)
        xml, weights = unpack_ir(graph)
        return core.read_model(model=xml, weights=weights)

    def _infer(self, inputs: NDArray[Any]) -> Outputs:
        assert self._request is not None
        self._request.infer([inputs], share_inputs=True, share_outputs=True)
        # The request writes its output tensors again next time: what leaves here is a copy.
        return {
            name: np.array(self._request.get_output_tensor(index).data, np.float32)
            for index, name in enumerate(self._output_names)
        }

    def profiling_info(self) -> list[Any]:
        """Time of every operator in the last inference; needs the option `profile`."""
        assert self._request is not None
        return list(self._request.profiling_info)

    def compiled_graph(self) -> openvino.Model:
        """The operators that run, with what each was made of in its runtime information."""
        assert self._graph is not None
        return self._graph.get_runtime_model()

    def _close(self) -> None:
        self._request = self._graph = None
