"""`benchmarks/gpu.py` without a GPU: everything is said not to be run; on fakes: a row with times and differences."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import fake_nvidia as fakes
import numpy as np
import pytest

from physedge.deploy import engine_build
from physedge_runtime import net
from physedge_runtime.engines.cuda import Cuda
from physedge_runtime.engines.tensorrt import TensorRtEngine
from physedge_runtime.engines.tensorrt_library import TensorRtLibrary

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Write = Callable[..., Path]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sys.modules.pop("gpu", None)
    import gpu

    monkeypatch.setattr(gpu, "torch_answers", lambda *_: {"torch eager, half precision": "torch sees no GPU"})
    return gpu


def test_where_nothing_can_run_every_row_says_why(
    gpu: ModuleType, write_tiny: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    if not gpu.device_line().startswith("no GPU"):
        pytest.skip("a GPU is here")
    assert gpu.main([str(write_tiny()), "--rounds", "2"]) == 3
    printed = capsys.readouterr().out
    for name in ("TensorRT fp32", "ONNX Runtime, TensorRT-RTX plug-in, fp32", "ONNX Runtime, CUDA provider, fp32"):
        assert f"not run: {name}: " in printed
    assert "frames/s" in printed and "| TensorRT" not in printed  # a table without a single figure


def test_on_fakes_a_row_has_times_and_the_record_has_the_same(
    gpu: ModuleType,
    write_tiny: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bindings = fakes.FakeCuda(name="NVIDIA H200")
    monkeypatch.setattr(fakes, "SHAPE", (1, 32, 32, 3))
    module = fakes.FakeTensorRt("11.4.1", cuda=bindings, output_shape=(1, 1, 32, 32))
    library = TensorRtLibrary(kind="tensorrt", version="11.4.1", module=module)
    monkeypatch.setattr(engine_build, "find_library", lambda: library)
    monkeypatch.setattr(engine_build, "Cuda", lambda: Cuda(bindings))
    monkeypatch.setattr(gpu, "Cuda", lambda: Cuda(bindings))
    real = gpu.open_engine

    def open_fake(name: str, request: Any) -> Any:
        if name != "tensorrt":
            return real(name, request)
        return TensorRtEngine(net.replace(request, options={"cuda": Cuda(bindings), "library": library})).open()

    monkeypatch.setattr(gpu, "open_engine", open_fake)
    # What the fake answers is the frame's mean, not the network: the golden frames would throw it away.
    monkeypatch.setattr(engine_build.Net, "replay_golden", lambda *_: ())
    record = tmp_path / "record.json"
    assert gpu.main([str(write_tiny()), "--rounds", "70", "-o", str(record)]) == 0
    printed = capsys.readouterr().out
    told = json.loads(record.read_text(encoding="utf-8"))
    (row,) = told["rows"]
    assert row["name"] == "TensorRT fp32" and row["calls"] == 70
    assert row["median_ms"] > 0 and row["frames_per_second"] == pytest.approx(1e3 / row["median_ms"])
    assert "p90" in row["percentiles_ms"] and "p99" not in row["percentiles_ms"]  # 70 calls allow no p99
    assert row["frames_per_second_two_threads"] > 0
    # The mean of noise at every pixel against the tiny network's own answer: far off, and it is said.
    assert row["largest_difference"] > 0.3
    assert 0.4 < row["pixels_in_another_class"] < 0.6
    assert "| TensorRT fp32 | " in printed and "floor on H200" in printed
    assert told["not_run"]["torch eager, half precision"] == "torch sees no GPU"


def test_the_floor_is_products_and_bytes_at_the_peak(
    gpu: ModuleType, write_tiny: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from physedge_runtime import load

    monkeypatch.setattr(gpu, "device_line", lambda: "NVIDIA H200 (sm_90, CUDA driver 13.0)")
    bundle = load(write_tiny(macs=989_000_000, parameters=1_000_000))
    said, floor = gpu.floors(bundle)
    moved = 2_000_000 + 32 * 32 * 3 + 4 * 32 * 32
    assert f"{moved:,} bytes" in said
    # 2 x 989e6 operations at 989e12 a second are 2 us; the bytes at 4.8e12 a second are 0.42 us.
    assert floor == f"floor on H200: 2.0 us of products, {moved / 4.8e6:.1f} us of memory traffic"
    assert np.isclose(moved / 4.8e6, 0.418, atol=1e-3)
