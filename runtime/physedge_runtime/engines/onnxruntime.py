"""ONNX Runtime on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.engines.base import Engine, Outputs
from physedge_runtime.errors import missing_extra

if TYPE_CHECKING:
    import onnxruntime

_QUIET = 3  # errors only


class OnnxRuntimeEngine(Engine):
    """Runs the graph with ONNX Runtime's CPU provider, all optimisations on.

    Options:
        optimise: False runs the graph as it is written, INT8 emulated in float: what the graph means, not what a
            processor makes of it.
        profile: A path prefix; the profile of every operator is written there at `close`.
        optimised_graph: A path; the graph that runs in the end is written there, for this processor only.
    """

    name: ClassVar[str] = "onnxruntime"

    def _open(self) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise missing_extra("onnxruntime", "export") from error
        self.version = onnxruntime.__version__
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _QUIET
        if self.request.threads is not None:
            options.intra_op_num_threads = self.request.threads
        options.inter_op_num_threads = 1
        # Spinning workers take the core from the capture and display threads beside them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not self.request.options.get("optimise", True):
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        profile = self.request.options.get("profile")
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        optimised = self.request.options.get("optimised_graph")
        if optimised is not None:
            options.optimized_model_filepath = str(optimised)
        self._session: onnxruntime.InferenceSession | None = onnxruntime.InferenceSession(
            self.request.graph, options, providers=["CPUExecutionProvider"]
        )
        self._input_name = self._session.get_inputs()[0].name
        self._output_names = [output.name for output in self._session.get_outputs()]

    def _infer(self, inputs: NDArray[Any]) -> Outputs:
        assert self._session is not None
        answers = self._session.run(self._output_names, {self._input_name: inputs})
        return {name: np.asarray(answer, np.float32) for name, answer in zip(self._output_names, answers, strict=True)}

    def _close(self) -> None:
        if self._session is not None and self.request.options.get("profile") is not None:
            self.profile_path = self._session.end_profiling()
        self._session = None
