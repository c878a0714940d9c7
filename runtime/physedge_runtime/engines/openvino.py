"""OpenVINO on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.engines.base import Engine, Outputs
from physedge_runtime.errors import missing_extra
from physedge_runtime.telemetry import silence_openvino

if TYPE_CHECKING:
    import openvino


class OpenVinoEngine(Engine):
    """Runs the graph with OpenVINO's CPU plug-in, one request at a time, for latency.

    Options:
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
        compiled = core.compile_model(core.read_model(model=self.request.graph), "CPU", properties)
        self._request: openvino.InferRequest | None = compiled.create_infer_request()
        self._output_names = [output.get_any_name() for output in compiled.outputs]

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

    def _close(self) -> None:
        self._request = None
