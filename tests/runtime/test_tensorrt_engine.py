"""The TensorRT engine on fakes of NVIDIA's libraries: buffers, recording, the cache, every way it can be refused."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_nvidia as fakes
import numpy as np
import pytest

from physedge_runtime.engines import EngineRequest, engine_cache
from physedge_runtime.engines.cuda import Cuda, load_bindings
from physedge_runtime.engines.engine_cache import EngineCache, EngineKey
from physedge_runtime.engines.tensorrt import TensorRtEngine, engine_key
from physedge_runtime.engines.tensorrt_library import TensorRtLibrary, find_library
from physedge_runtime.errors import EnvironmentFault, IntegrityError, PhysedgeError

GRAPH = "a" * 64


class Bench:
    """Everything an engine is opened with; `build` puts an engine into the cache."""

    def __init__(self, folder: Path, *, version: str = "10.3.0", cuda: Any = None, **options: Any) -> None:
        self.bindings = cuda or fakes.FakeCuda()
        self.module = fakes.FakeTensorRt(version, cuda=self.bindings, **options)
        kind = "tensorrt_rtx" if options.get("rtx") else "tensorrt"
        self.tensorrt = TensorRtLibrary(kind=kind, version=version, module=self.module)
        self.cache = EngineCache(folder / "cache")
        self.cuda = Cuda(self.bindings)

    @property
    def key(self) -> EngineKey:
        return engine_key(self.request(), library=self.tensorrt, device=self.cuda.device())

    def build(self, *, carries_runtime: bool = False, note: dict[str, Any] | None = None) -> Path:
        network = type("Network", (), {"data": b"graph", "flags": 0})()
        config = self.module._config()
        if carries_runtime:
            config.set_flag("version")
        return self.cache.store(self.key, self.module._build(network, config, None), note=note)

    def request(self, **changes: str) -> EngineRequest:
        identity = {"bundle_sha256": "c" * 64, "graph_sha256": GRAPH, "recipe_sha256": "d" * 64, **changes}
        return EngineRequest(
            graph=b"",
            input_shape=fakes.SHAPE,
            outputs={"probability": fakes.OUTPUT},
            options={"library": self.tensorrt, "cuda": self.cuda, "cache": self.cache},
            **identity,
        )

    def engine(self) -> TensorRtEngine:
        return TensorRtEngine(self.request())


def refused(bench: Bench) -> PhysedgeError:
    with pytest.raises(PhysedgeError) as caught:
        bench.engine().open()
    assert not bench.bindings.memory and not bench.bindings.pinned and not bench.bindings.open
    return caught.value


@pytest.mark.parametrize("captures", [True, False])
@pytest.mark.parametrize("pins", [True, False])
def test_frames_go_in_and_answers_come_out(tmp_path: Path, captures: bool, pins: bool) -> None:
    bench = Bench(tmp_path, cuda=fakes.FakeCuda(captures=captures, pins=pins))
    bench.build()
    with bench.engine() as engine:
        assert engine.is_captured == captures
        for value in (51, 204):
            answer = engine.infer(np.full(fakes.SHAPE, value, np.uint8))["probability"]
            assert answer.shape == fakes.OUTPUT and answer.dtype == np.float32
            np.testing.assert_allclose(answer, value / 255, atol=1e-6)
        assert bench.bindings.launches == (2 if captures else 0)
        assert engine.fingerprint.startswith("tensorrt 10.3.0 on NVIDIA GeForce RTX 4090 (sm_89) aaaa")
    assert not bench.bindings.memory and not bench.bindings.pinned and not bench.bindings.open


def test_answers_belong_to_the_caller(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.build()
    with bench.engine() as engine:
        first = engine.infer(np.full(fakes.SHAPE, 255, np.uint8))["probability"]
        engine.infer(np.zeros(fakes.SHAPE, np.uint8))
        assert first.min() == 1.0


def test_rtx_keeps_what_it_compiled(tmp_path: Path) -> None:
    bench = Bench(tmp_path, version="1.7.1", rtx=True)
    bench.build()
    with bench.engine():
        assert bench.module.kernels_read == []
    with bench.engine():
        assert bench.module.kernels_read == [b"kernels"]


def test_a_missing_engine_is_one_sentence(tmp_path: Path) -> None:
    error = refused(Bench(tmp_path))
    assert error.identifier == "PE-TRT-012" and error.exit_status == 3
    assert "no engine was built on this device yet" in str(error) and "export --build" in str(error)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            {"cuda_options": {"name": "NVIDIA GeForce RTX 3060", "capability": (8, 6)}},
            "architecture was sm_89, is sm_86",
        ),
        ({"cuda_options": {"driver": 12040}}, "driver was 13.0, is 12.4"),
        ({"version": "11.4.1"}, "version was 10.3.0, is 11.4.1"),
    ],
)
def test_another_gpu_driver_or_library_is_a_miss(tmp_path: Path, other: dict[str, Any], words: str) -> None:
    Bench(tmp_path).build()
    bench = Bench(
        tmp_path,
        version=other.get("version", "10.3.0"),
        cuda=fakes.FakeCuda(**other.get("cuda_options", {})),
    )
    error = refused(bench)
    assert error.identifier == "PE-TRT-012" and words in str(error)


@pytest.mark.parametrize("what", ["bundle_sha256", "graph_sha256", "recipe_sha256"])
def test_another_bundle_graph_or_recipe_is_a_miss(tmp_path: Path, what: str) -> None:
    """A stale engine: the bundle has been replaced since it was built."""
    bench = Bench(tmp_path)
    bench.build()
    with pytest.raises(EnvironmentFault, match=rf"PE-TRT-012.*{what} was [acd]+, is b+.*export --build"):
        TensorRtEngine(bench.request(**{what: "b" * 64})).open()


def test_a_poisoned_engine_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    path = bench.build()
    path.write_bytes(path.read_bytes().replace(b"10.3.0", b"66.6.6"))
    error = refused(bench)
    assert error.identifier == "PE-TRT-011" and error.exit_status == 4


def test_an_engine_whose_record_is_gone_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.build().with_suffix(".json").unlink()
    assert refused(bench).identifier == "PE-TRT-011"


def test_an_engine_of_another_key_is_refused(tmp_path: Path) -> None:
    """Somebody swapped two engines with their records: both hashes hold, the keys do not."""
    bench, other = Bench(tmp_path), Bench(tmp_path, cuda=fakes.FakeCuda(driver=12000))
    mine, theirs = bench.build(), other.build()
    for suffix in (".engine", ".json"):
        mine.with_suffix(suffix).write_bytes(theirs.with_suffix(suffix).read_bytes())
    assert refused(bench).identifier == "PE-TRT-011"


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_cache_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    bench = Bench(tmp_path)
    bench.build()
    bench.cache.folder.chmod(mode)
    assert refused(bench).identifier == "PE-TRT-010"
    with pytest.raises(EnvironmentFault, match=r"PE-TRT-010.*others could put code there"):
        bench.build()


def test_a_cache_that_is_a_link_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.build()
    real = bench.cache.folder.rename(tmp_path / "elsewhere")
    bench.cache.folder.symlink_to(real)
    error = refused(bench)
    assert error.identifier == "PE-TRT-010" and "is a link" in str(error)


def test_the_engines_used_longest_ago_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_cache, "_MOST_ENGINES", 2)
    bench = Bench(tmp_path)
    keys = [replace(bench.key, driver=str(number)) for number in range(3)]
    for age, key in zip((3, 2), keys, strict=False):
        path = bench.cache.store(key, b"engine")
        os.utime(path, (path.stat().st_mtime - age, path.stat().st_mtime - age))
    assert bench.cache.load(keys[0]) == b"engine"  # from now on the other one was used longest ago
    bench.cache.store(keys[2], b"engine")
    assert [bench.cache.load(key) is not None for key in keys] == [True, False, True]
    assert len(list(bench.cache.folder.iterdir())) == 4


def test_a_power_cut_while_an_engine_is_stored_leaves_none_or_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    real = Path.replace
    for cut_before in (1, 2):
        bench.cache.store(bench.key, b"old")
        done = []

        def replace_or_die(path: Path, target: Path, done: list[int] = done, last: int = cut_before) -> Path:
            done.append(1)
            if len(done) == last:
                raise OSError("no power")
            return real(path, target)

        with monkeypatch.context() as patched, pytest.raises(OSError, match="no power"):
            patched.setattr(Path, "replace", replace_or_die)
            bench.cache.store(bench.key, b"new")
        assert bench.cache.load(bench.key) is None


def test_a_new_cache_belongs_to_this_user_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.build()
    assert bench.cache.folder.stat().st_mode & 0o777 == 0o700
    bench.cache.forget(bench.key)
    assert list(bench.cache.folder.iterdir()) == []


def test_an_engine_that_the_library_does_not_load_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.cache.store(bench.key, b'{"version": "10.2.0"}')
    error = refused(bench)
    assert error.identifier == "PE-TRT-013" and "Version tag does not match" in str(error)


def test_an_engine_that_was_built_version_compatible_may_load_its_runtime(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.build(carries_runtime=True, note={"options": {"version_compatible": True}})
    with bench.engine().open():
        assert bench.module.runtimes[-1].engine_host_code_allowed is True


@pytest.mark.parametrize(
    "note", [None, {"options": {"version_compatible": False}}, {"options": {"version_compatible": 1}}]
)
def test_an_engine_that_was_not_asked_to_carry_code_gets_none_run(tmp_path: Path, note: dict[str, Any] | None) -> None:
    bench = Bench(tmp_path)
    bench.build(carries_runtime=True, note=note)
    error = refused(bench)
    assert error.identifier == "PE-TRT-013" and "host code" in str(error)
    assert bench.module.runtimes[-1].engine_host_code_allowed is False


def test_the_latest_engine_of_an_earlier_library_is_taken_where_it_was_built_for_later_ones(tmp_path: Path) -> None:
    told = {"options": {"version_compatible": True}}
    for version, note in (("10.9.0", told), ("10.10.0", told), ("10.12.0", None), ("11.9.0", told)):
        Bench(tmp_path, version=version).build(carries_runtime=True, note=note)
    bench = Bench(tmp_path, version="11.1.0")
    with bench.engine().open() as engine:
        assert engine.version.startswith("11.1.0 on ") and engine.version.endswith(", built by 10.10.0")
    with pytest.raises(EnvironmentFault, match=r"PE-TRT-012.*recipe_sha256 was d+, is b+"):
        TensorRtEngine(bench.request(recipe_sha256="b" * 64)).open()
    bench.cache.path(replace(bench.key, version="10.10.0")).write_bytes(b"other")
    assert refused(bench).identifier == "PE-TRT-011"


def test_an_engine_outside_of_a_bundle_gets_no_code_run(tmp_path: Path) -> None:
    """Nobody vouches for it: there is no manifest whose hashes held."""
    bench = Bench(tmp_path)
    request = bench.request(bundle_sha256="")
    key = engine_key(request, library=bench.tensorrt, device=bench.cuda.device())
    plan = b'{"version": "10.3.0", "carries_runtime": true}'
    bench.cache.store(key, plan, note={"options": {"version_compatible": True}})
    with pytest.raises(IntegrityError, match=r"PE-TRT-013.*host code"):
        TensorRtEngine(request).open()


def test_a_foreign_engine_is_named_by_the_librarys_own_reader(tmp_path: Path) -> None:
    bench = Bench(tmp_path, version="11.4.1", validity=3)
    bench.cache.store(bench.key, b'{"version": "11.3.0"}')
    error = refused(bench)
    assert error.identifier == "PE-TRT-013" and "(version mismatch; unsupported cc;" in str(error)


def test_an_engine_of_another_shape_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, output_shape=(1, 2, 4, 6))
    bench.build()
    assert refused(bench).identifier == "PE-TRT-015"


def test_an_engine_that_answers_nan_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, answer=float("nan"))
    bench.build()
    assert refused(bench).identifier == "PE-TRT-016"


def test_an_engine_that_answers_every_frame_alike_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, answer=0.25)
    bench.build()
    error = refused(bench)
    assert error.identifier == "PE-TRT-016" and "one and the same value everywhere" in str(error)


def test_two_callers_use_two_lanes_of_one_stream(tmp_path: Path) -> None:
    """While the GPU works for one caller, another fills and launches the second lane; no answer goes astray."""
    bench = Bench(tmp_path)
    bench.build()
    waiting, go_on, bindings = threading.Semaphore(0), threading.Event(), bench.bindings

    def slow(_event: Any) -> tuple[Any, ...]:
        waiting.release()
        assert go_on.wait(10)
        return (fakes.Status.cudaSuccess,)

    with bench.engine() as engine, ThreadPoolExecutor(3) as callers:
        bindings.cudaEventSynchronize = slow
        answers = [callers.submit(engine.infer, np.full(fakes.SHAPE, value, np.uint8)) for value in (0, 51, 102)]
        assert waiting.acquire(timeout=10) and waiting.acquire(timeout=10)  # two are on their way at once
        assert not waiting.acquire(blocking=False)  # the third waits for a lane
        assert bindings.launches == 2
        go_on.set()
        for value, answer in zip((0, 51, 102), answers, strict=True):
            np.testing.assert_allclose(answer.result(10)["probability"], value / 255, atol=1e-6)
    assert not bindings.memory and not bindings.open


def test_a_gpu_that_is_lost_says_so_and_can_be_closed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.build()
    engine = bench.engine().open()
    bench.bindings.dies = True
    for _ in range(3):  # no lane gets lost with it
        with pytest.raises(EnvironmentFault, match=r"PE-TRT-003.*cudaErrorUnknown"):
            engine.infer(np.zeros(fakes.SHAPE, np.uint8))
    engine.close()
    assert not bench.bindings.memory and not bench.bindings.open


def test_a_failing_cuda_call_names_itself(tmp_path: Path) -> None:
    bench = Bench(tmp_path, cuda=fakes.FakeCuda(fails="cudaSetDevice"))
    with pytest.raises(EnvironmentFault, match=r"PE-TRT-003: CUDA answered cudaSetDevice with cudaErrorNoDevice"):
        bench.engine().open()


def test_the_bindings_are_found_under_both_names() -> None:
    def only(name: str) -> Any:
        def importer(wanted: str) -> Any:
            if wanted != name:
                raise ModuleNotFoundError(wanted)
            return wanted

        return importer

    assert load_bindings(only("cuda.bindings.runtime")) == "cuda.bindings.runtime"
    assert load_bindings(only("cuda.cudart")) == "cuda.cudart"
    with pytest.raises(EnvironmentFault, match="PE-TRT-002"):
        load_bindings(only("nothing"))


def importer_of(**modules: Any) -> Any:
    def importer(name: str) -> Any:
        module = modules.get(name)
        if module is None:
            raise ModuleNotFoundError(name)
        if isinstance(module, Exception):
            raise module
        return module

    return importer


def test_the_library_is_found_by_what_is_installed() -> None:
    ten, rtx = fakes.FakeTensorRt("10.3.0"), fakes.FakeTensorRt("1.7.1", rtx=True)
    assert str(find_library(importer=importer_of(tensorrt=ten, tensorrt_rtx=rtx))) == "TensorRT 10.3.0"
    assert str(find_library("tensorrt_rtx", importer=importer_of(tensorrt=ten, tensorrt_rtx_bindings=rtx))) == (
        "TensorRT-RTX 1.7.1"
    )
    with pytest.raises(EnvironmentFault, match=r"PE-TRT-001: no TensorRT is installed"):
        find_library(importer=importer_of())
    broken = importer_of(tensorrt=OSError("libnvinfer.so.10: cannot open shared object file"))
    with pytest.raises(EnvironmentFault, match=r"PE-TRT-001: tensorrt does not load \(libnvinfer"):
        find_library(importer=broken)


@pytest.mark.parametrize(("missing", "bits"), [((), 2), (("STRONGLY_TYPED",), 0)])
def test_strong_typing_is_asked_for_where_it_can_be(missing: tuple[str, ...], bits: int) -> None:
    module = fakes.FakeTensorRt("11.4.1", missing=missing)
    assert TensorRtLibrary(kind="tensorrt", version="11.4.1", module=module).network_flags() == bits


def test_an_integrity_error_is_not_taken_for_a_library_that_refuses(tmp_path: Path) -> None:
    bench = Bench(tmp_path, answer=float("inf"))
    bench.build()
    with pytest.raises(IntegrityError):
        bench.engine().open()
