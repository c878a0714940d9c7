"""On an NVIDIA GPU with a TensorRT: an engine is built, answers the golden frames, and keeps its promises.

Run with `pytest -m gpu`. Everything here is real: the library, the driver, the GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from physedge.deploy.engine_build import build_if_missing, build_on_device
from physedge_runtime.bundle import Bundle, read_bundle
from physedge_runtime.engines.cuda import Cuda
from physedge_runtime.engines.engine_cache import default_cache
from physedge_runtime.engines.tensorrt import TensorRtEngine, engine_key
from physedge_runtime.engines.tensorrt_library import find_library
from physedge_runtime.errors import EnvironmentFault, IntegrityError, PhysedgeError
from physedge_runtime.net import engine_request

pytestmark = pytest.mark.gpu
SHAPE = (1, 32, 32, 3)


@pytest.fixture
def bundle(write_tiny: Callable[..., Path]) -> Bundle:
    """The tiny bundle, where a GPU and a library can build its engine; skipped by name elsewhere."""
    try:
        find_library()
        Cuda().device()
    except PhysedgeError as error:
        pytest.skip(error.found)
    return read_bundle(write_tiny())


def opened(bundle: Bundle) -> TensorRtEngine:
    request = engine_request(bundle, bundle.manifest.artefacts[0], options={"cache": default_cache()})
    return TensorRtEngine(request).open()


def frames(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, SHAPE, dtype=np.uint8) for _ in range(count)]


def test_an_engine_is_built_once_and_answers_the_formula(bundle: Bundle) -> None:
    assert build_on_device(bundle).built
    assert "is there already" in build_if_missing(bundle, engine="tensorrt")
    frame = frames(1)[0]
    expected = 1 / (1 + np.exp(-8 * (frame[0, :, :, 0] / 255.0 - 0.5)))
    with bundle.open(engine="tensorrt") as net:
        np.testing.assert_allclose(net.outputs(frame)["probability"][0, 0], expected, atol=2e-3)


def test_the_same_frame_gives_the_same_bits_a_thousand_times_from_two_threads(bundle: Bundle) -> None:
    build_on_device(bundle)
    pictures = frames(2)
    with opened(bundle) as engine, ThreadPoolExecutor(2) as callers:
        assert engine.is_captured
        answers = list(callers.map(lambda index: engine.infer(pictures[index % 2])["probability"], range(1000)))
    assert {answer.tobytes() for answer in answers[::2]} != {answer.tobytes() for answer in answers[1::2]}
    assert (
        len({answer.tobytes() for answer in answers[::2]}) == len({answer.tobytes() for answer in answers[1::2]}) == 1
    )


def test_nothing_of_the_gpus_memory_is_lost(bundle: Bundle) -> None:
    build_on_device(bundle)
    opened(bundle).close()  # what the libraries keep for good is there now
    before = Cuda().device().free_bytes
    for _ in range(5):
        with opened(bundle) as engine:
            engine.infer(frames(1)[0])
    assert before - Cuda().device().free_bytes < 8 << 20


def test_a_poisoned_and_a_foreign_engine_are_refused(bundle: Bundle) -> None:
    built = build_on_device(bundle)
    genuine = built.path.read_bytes()
    built.path.write_bytes(bytes([genuine[0] ^ 1]) + genuine[1:])
    with pytest.raises(IntegrityError, match="PE-TRT-011"):
        opened(bundle)
    built.cache.forget(built.key)
    request = engine_request(bundle, bundle.manifest.artefacts[0])
    key = engine_key(request, library=find_library(), device=replace(Cuda().device(), driver="1.0"))
    built.cache.store(key, genuine)
    with pytest.raises(EnvironmentFault, match=r"PE-TRT-012.*driver was 1\.0"):
        opened(bundle)
