"""The engine for TensorRT against a stand-in: what it decides, not what a GPU computes.

NVIDIA's header is not to be had from a package, and no GPU is here. So the engine is compiled against the header in
tensorrt_stand_in/, and the cache of engines that it reads is written by the Python runtime.
"""

from __future__ import annotations

import ctypes as c
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from debian import program
from native_build import SANITIZERS, compiled, configure_and_build
from native_contract import *  # noqa: F403 - its tests, for this engine
from native_library import VOLTAGES, frame
from tensorrt_plans import BUILD, HALF, UINT8, VERSION, StandIn, key_of, plan, tensor, tensors_of
from tiny_network import SIDE_PX
from tiny_voltages import voltage_bundle

from physedge_runtime import load
from physedge_runtime.bundle import read_bundle
from physedge_runtime.errors import EnvironmentFault, IntegrityError, PhysedgeError
from physedge_runtime.results import Segmentation

HERE = Path(__file__).parent / "tensorrt_stand_in"
SYSTEM_LIBRARIES = ("z", "sodium")
FRAME_SHAPE, ANSWER_SHAPE = (1, SIDE_PX, SIDE_PX, 3), (1, 1, SIDE_PX, SIDE_PX)


ENGINE_SOURCES = ("table", "cuda", "plan_store", "tensorrt")
OTHER_ENGINES = ("table", "openvino", "onnxruntime")


def run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@pytest.fixture(scope="module")
def stand_in_build(native_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in's two libraries, and libphysedge with this engine alone, from the objects that all tests build."""
    compiler, root = program("g++", "g++"), tmp_path_factory.mktemp("tensorrt")
    (root / "lib").mkdir()
    (root / "include").symlink_to(HERE)
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{HERE}", f"-L{root / 'lib'}"]
    run(compiler, *flags, HERE / "cuda.cpp", "-o", root / "lib/libcudart.so")
    run(compiler, *flags, HERE / "nvinfer.cpp", "-o", root / "lib/libnvinfer.so", "-lcudart")
    options = [f"-DTENSORRT_ROOT={root}", f"-DCUDA_ROOT={root}", f"-DPHYSEDGE_SANITIZE={SANITIZERS}"]
    options += ["-DPHYSEDGE_OPENVINO=OFF", "-DPHYSEDGE_TENSORRT=ON"]
    wanted = tuple(f"src/engines/{name}.cpp.o" for name in ENGINE_SOURCES)
    configure_and_build(root / "build", *options, targets=wanted)
    objects = [*(root / "build").rglob("*.cpp.o"), *(native_build / "CMakeFiles/physedge_json.dir").rglob("*.cpp.o")]
    shared = (native_build / "CMakeFiles/physedge_objects.dir").rglob("*.cpp.o")
    objects += [path for path in shared if path.name.removesuffix(".cpp.o") not in OTHER_ENGINES]
    libraries = [f"-L{root / 'lib'}", "-lnvinfer", "-lcudart", *(f"-l{name}" for name in SYSTEM_LIBRARIES)]
    link = ["-shared", "-Wl,--no-undefined", f"-Wl,-rpath,{root / 'lib'}"]
    link += [f"-fsanitize={SANITIZERS}"] if SANITIZERS else []
    run(compiler, *link, *objects, "-o", root / "build/libphysedge.so", *libraries)
    return root


@pytest.fixture(scope="module")
def cuda(stand_in_build: Path) -> c.CDLL:
    """The stand-in's own functions."""
    return c.CDLL(str(stand_in_build / "lib/libcudart.so"))


@pytest.fixture
def native(stand_in_build: Path, cuda: c.CDLL, tmp_path: Path) -> Iterator[StandIn]:
    """The library, with an empty cache; everything that is made on the GPU must have been given back at the end."""
    before = cuda.stand_in_alive()
    yield StandIn(stand_in_build / "build/libphysedge.so", tmp_path / "cache")
    cuda.stand_in_plant(b"")
    assert cuda.stand_in_alive() == before


@pytest.fixture
def engine() -> str:
    """The contract's tests ask for it."""
    return "tensorrt"


@pytest.fixture
def real_engine() -> str:
    """The contract's tests ask for it."""
    return "tensorrt"


def refused(native: StandIn, path: Path) -> PhysedgeError:
    with pytest.raises(PhysedgeError) as caught:
        native.open_as_it_is(path).close()
    return caught.value


def test_it_is_the_engine_of_a_bundle_that_was_exported_for_it(
    native: StandIn, write_tiny: Callable[..., Path]
) -> None:
    assert native.engines == ("tensorrt", "fake")
    with native.open(write_tiny(target="tensorrt"), engine=b"auto") as net:
        assert net.info.engine.startswith(b"tensorrt 10.3.0 on Stand-in GPU (sm_87) ")
        assert net.info.golden_frames == 1
        assert net.info.golden_max_error < 1e-6


def test_answers_are_those_of_python_on_another_engine(
    native: StandIn, cuda: c.CDLL, write_tiny: Callable[..., Path]
) -> None:
    generator, path = np.random.default_rng(6), write_tiny()
    with load(path).open(engine="onnxruntime") as python, native.open(path) as net:
        launches = cuda.stand_in_launches()
        for size in ((40, 50), (480, 640), (7, 300)):
            pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
            expected, ours = python.infer(pixels), net.infer(frame(pixels, frame_id=9))
            assert isinstance(expected, Segmentation)
            np.testing.assert_array_equal(ours.mask, expected.mask)
            np.testing.assert_allclose(ours.outputs["probability"], expected.probability, atol=1e-6)
            assert (ours.raw.frame_id, ours.raw.finite, ours.raw.trust) == (9, 1, 0)
        assert cuda.stand_in_launches() == launches + 3


def test_where_nothing_can_be_recorded_the_steps_are_queued(
    native: StandIn, cuda: c.CDLL, write_tiny: Callable[..., Path]
) -> None:
    pixels = np.full((40, 50, 3), 200, np.uint8)
    with native.open(write_tiny()) as net:
        recorded = net.infer(frame(pixels)).outputs["probability"].copy()
    launches = cuda.stand_in_launches()
    cuda.stand_in_plant(b"no capture")
    with native.open(write_tiny()) as net:
        np.testing.assert_array_equal(net.infer(frame(pixels)).outputs["probability"], recorded)
    assert cuda.stand_in_launches() == launches


@pytest.mark.parametrize("reference", [False, True])
def test_voltages_become_an_image(native: StandIn, tmp_path: Path, reference: bool) -> None:
    path = voltage_bundle(tmp_path / "eit.physedge", reference=reference)
    volts = np.random.default_rng(7).normal(size=(2, 12) if reference else 12).astype(np.float32)
    with native.open(path) as net:
        ours = net.infer(frame(volts, VOLTAGES))
        np.testing.assert_allclose(ours.outputs["image"], volts.flat[0] + 0.5, atol=1e-6)
        np.testing.assert_allclose(ours.outputs["spread"], -volts.flat[0] - 0.5, atol=1e-6)


@pytest.mark.parametrize("version", [VERSION, f"{VERSION}.{BUILD}"])
def test_the_version_may_be_written_with_or_without_its_build(
    native: StandIn, write_tiny: Callable[..., Path], version: str
) -> None:
    path = write_tiny()
    native.build(path, version=version)
    native.open_as_it_is(path).close()


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ({"version": "10.2.0"}, "version was 10.2.0, is 10.3.0"),
        ({"driver": "12.4"}, "driver was 12.4, is 12.6"),
        ({"device": "Orin", "architecture": "sm_86"}, "architecture was sm_86, is sm_87, device was Orin"),
        ({"bundle_sha256": "0" * 64}, "bundle_sha256 was 0000"),
    ],
)
def test_an_engine_for_something_else_is_not_taken(
    native: StandIn, write_tiny: Callable[..., Path], key: dict[str, str], said: str
) -> None:
    path = write_tiny()
    native.build(path, **key)
    error = refused(native, path)
    assert (error.identifier, error.exit_status) == ("PE-TRT-012", 3)
    assert "no engine for Stand-in GPU sm_87, tensorrt 10.3.0, driver 12.6" in error.found
    assert said in error.found


def test_an_engine_of_this_device_is_none_of_another(
    native: StandIn, cuda: c.CDLL, write_tiny: Callable[..., Path]
) -> None:
    path = write_tiny()
    native.open(path).close()
    cuda.stand_in_plant(b"other device")
    assert "device was Stand-in GPU, is Other GPU" in refused(native, path).found


def test_a_cache_that_is_missing_or_open_to_others_is_refused(native: StandIn, write_tiny: Callable[..., Path]) -> None:
    path = write_tiny()
    error = refused(native, path)
    assert error.identifier == "PE-TRT-012"
    assert "no engine was built on this device yet" in error.found
    engine = native.build(path)
    with pytest.raises(EnvironmentFault, match="PE-TRT-010"):
        native.open_as_it_is(path, cache_folder=None)
    engine.parent.chmod(0o770)
    assert refused(native, path).identifier == "PE-TRT-010"
    engine.parent.chmod(0o700)
    real = engine.parent.rename(native.cache / "elsewhere")
    engine.parent.symlink_to(real)
    assert refused(native, path).identifier == "PE-TRT-010"


@pytest.mark.parametrize("change", ["bytes", "link", "record", "no record", "key"])
def test_an_engine_that_was_exchanged_is_refused(native: StandIn, write_tiny: Callable[..., Path], change: str) -> None:
    path = write_tiny()
    engine = native.build(path)
    record = engine.with_suffix(".json")
    said = json.loads(record.read_text())
    if change == "bytes":
        engine.write_bytes(engine.read_bytes()[:-1] + b"?")
    elif change == "link":
        engine.symlink_to(engine.rename(engine.with_suffix(".elsewhere")))
    elif change == "record":
        record.write_text("[" * 300)
    elif change == "no record":
        record.unlink()
    else:
        record.write_text(json.dumps({**said, "key": {**said["key"], "driver": "12.5"}}))
    assert refused(native, path).identifier == ("PE-TRT-012" if change == "link" else "PE-TRT-011")


def test_the_cache_is_found_under_the_name_that_python_gives(native: StandIn, write_tiny: Callable[..., Path]) -> None:
    """A key with what JSON escapes; nothing else than the name says where the engine lies."""
    path = write_tiny()
    key = key_of(read_bundle(path))
    assert native.build(path).name == f"{key.digest}.engine"
    native.open_as_it_is(path).close()


@pytest.mark.parametrize("fault", ["another version", "no plan at all"])
def test_an_engine_that_the_library_does_not_load_is_refused(
    native: StandIn, write_tiny: Callable[..., Path], fault: str
) -> None:
    path = write_tiny()
    native.build(path, built_by=10200)
    if fault == "no plan at all":
        native.store.store(key_of(read_bundle(path)), b"?")
    error = refused(native, path)
    assert (error.identifier, error.exit_status) == ("PE-TRT-013", 4)
    assert ("stdVersionRead" if fault == "another version" else "magicTag does not match") in error.found


@pytest.mark.parametrize("told", [True, False, 1, None])
def test_code_in_an_engine_runs_only_where_it_was_built_so(
    native: StandIn, write_tiny: Callable[..., Path], told: object
) -> None:
    path = write_tiny()
    bundle = read_bundle(path)
    note = {"options": {"version_compatible": told}} if told is not None else {}
    native.store.store(key_of(bundle), plan(*tensors_of(bundle), carries_runtime=True), note=note)
    if told is True:
        native.open_as_it_is(path).close()
        return
    error = refused(native, path)
    assert (error.identifier, error.exit_status) == ("PE-TRT-013", 4)
    assert "host code" in error.found


@pytest.mark.parametrize(
    ("version", "told", "taken"),
    [("10.2.9", True, True), ("10.2.9", False, False), ("10.10.0", True, False), ("11.0.0", True, False)],
)
def test_an_engine_of_an_earlier_library_is_taken_where_it_was_built_for_later_ones(
    native: StandIn, write_tiny: Callable[..., Path], version: str, told: bool, taken: bool
) -> None:
    path = write_tiny()
    bundle = read_bundle(path)
    data = plan(*tensors_of(bundle), version=10200, carries_runtime=True)
    key = key_of(bundle, version=version)
    native.store.store(key, data, note={"options": {"version_compatible": told}})
    native.store.store(
        key_of(bundle, version="10.1.0", driver="1.0"), b"", note={"options": {"version_compatible": True}}
    )
    assert (native.store.earlier(key_of(bundle)) == key) is taken
    if taken:
        native.open_as_it_is(path).close()
    else:
        assert refused(native, path).identifier == "PE-TRT-012"


def test_without_a_gpu_and_without_memory_it_says_so(
    native: StandIn, cuda: c.CDLL, write_tiny: Callable[..., Path]
) -> None:
    path = write_tiny()
    native.build(path)
    found = {}
    for fault in ("no device", "no memory", "no context", "enqueue", "illegal address"):
        cuda.stand_in_plant(fault.encode())
        error = refused(native, path)
        found[fault] = (error.identifier, error.exit_status, error.found)
    assert found == {
        "no device": ("PE-TRT-003", 3, "CUDA answered cudaSetDevice with cudaErrorNoDevice"),
        "no memory": ("PE-TRT-003", 3, "CUDA answered cudaMallocHost with cudaErrorMemoryAllocation"),
        "no context": (
            "PE-TRT-014",
            3,
            "TensorRT cannot make the engine ready ([executionContext.cpp::initializeExecutionContext] out of memory)",
        ),
        "enqueue": ("PE-TRT-017", 3, "the GPU does not run the engine (TensorRT did not take the frame)"),
        "illegal address": (
            "PE-TRT-017",
            3,
            "the GPU does not run the engine (an illegal memory access was encountered)",
        ),
    }


FRAME, ANSWER = tensor("frame", FRAME_SHAPE, UINT8, is_input=1), tensor("probability", ANSWER_SHAPE)
TENSORS = {
    "another size": (tensor("frame", (1, 16, 16, 3), UINT8, is_input=1), ANSWER),
    "another rank": (FRAME, tensor("probability", ANSWER_SHAPE[1:])),
    "an input of floats": (tensor("frame", FRAME_SHAPE, is_input=1), ANSWER),
    "an output of halves": (FRAME, tensor("probability", ANSWER_SHAPE, HALF)),
    "another name": (FRAME, tensor("answer", ANSWER_SHAPE)),
    "an output too many": (FRAME, ANSWER, tensor("more", ANSWER_SHAPE)),
    "an output too few": (FRAME,),
    "two inputs": (FRAME, tensor("gain", FRAME_SHAPE, UINT8, is_input=1), ANSWER),
    "no input": (ANSWER,),
    "no address": (tensor("frame", FRAME_SHAPE, UINT8, is_input=1, takes_no_address=1), ANSWER),
}


@pytest.mark.parametrize("fault", TENSORS)
def test_an_engine_with_other_tensors_is_refused(native: StandIn, write_tiny: Callable[..., Path], fault: str) -> None:
    path = write_tiny()
    native.build(path, *TENSORS[fault])
    error = refused(native, path)
    assert (error.identifier, error.exit_status) == ("PE-TRT-015", 4)


@pytest.mark.parametrize(
    ("table", "identifier"),
    [
        (np.full(256, 0.7), "PE-TRT-016"),
        (np.full(256, np.inf), "PE-TRT-016"),
        (np.where(np.arange(256) == 77, np.nan, 0.7), "PE-TRT-016"),
        (np.linspace(0, 1, 256), "PE-BUNDLE-020"),
    ],
)
def test_an_engine_that_answers_wrongly_is_refused(
    native: StandIn, write_tiny: Callable[..., Path], table: np.ndarray, identifier: str
) -> None:
    """One value everywhere, no number, and at last the golden frames."""
    path = write_tiny()
    native.build(path, FRAME, tensor("probability", ANSWER_SHAPE, table=table.astype(np.float32)))
    with pytest.raises(IntegrityError, match=identifier):
        native.open_as_it_is(path)


@pytest.mark.parametrize("fault", ["launch", "illegal address"])
def test_a_frame_that_fails_is_an_error_and_the_next_is_answered(
    native: StandIn, cuda: c.CDLL, write_tiny: Callable[..., Path], fault: str
) -> None:
    pixels = np.full((40, 40, 3), 200, np.uint8)
    with native.open(write_tiny()) as net:
        expected = net.infer(frame(pixels)).outputs["probability"].copy()
        cuda.stand_in_plant(fault.encode())
        with pytest.raises(EnvironmentFault, match="PE-NATIVE-005") as caught:
            net.infer(frame(pixels))
        said = {"launch": "unspecified launch failure", "illegal address": "an illegal memory access was encountered"}
        assert caught.value.found == f"the engine failed: {said[fault]}"
        cuda.stand_in_plant(b"")
        np.testing.assert_array_equal(net.infer(frame(pixels)).outputs["probability"], expected)


def test_a_gpu_that_hangs_is_given_up_in_time_with_all_that_it_may_write_to(
    native: StandIn, cuda: c.CDLL, write_tiny: Callable[..., Path]
) -> None:
    net = native.open(write_tiny(), hang_ms=50, watchdog_ms=10)
    held = cuda.stand_in_alive()
    cuda.stand_in_plant(b"hang")
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(PhysedgeError, match="PE-NATIVE-004") as caught:
            net.infer(frame(np.zeros((40, 40, 3), np.uint8)))
        assert caught.value.exit_status == 7
    net.close()
    assert time.monotonic() - started < 20
    lost = cuda.stand_in_alive()
    assert lost == held
    cuda.stand_in_count(-lost)


@pytest.mark.skipif(bool(SANITIZERS), reason="a sanitizer hooks the heap itself, and takes more stack")
@pytest.mark.requirement("REQ-NATIVE-MEMORY")
def test_a_frame_takes_nothing_from_the_heap(
    native: StandIn, stand_in_build: Path, tmp_path: Path, write_tiny: Callable[..., Path]
) -> None:
    path, here = write_tiny(), HERE.parent
    native.build(path)
    sources = [here / "per_frame.c", here / "allocation_hook.c"]
    options = ["-rdynamic", "-fno-builtin", "-pthread", f"-Wl,-rpath-link,{stand_in_build / 'lib'}"]
    made = compiled(tmp_path / "per_frame", sources, stand_in_build / "build", *options)
    environment = {**os.environ, "PHYSEDGE_CACHE": str(native.cache)}
    done = subprocess.run([made, path, "tensorrt", "60"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["ours"], report["all"]) == (0, 0)
