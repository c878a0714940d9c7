"""A compiled graph is kept for the next start: the same answers, and never a reason not to start."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from other_user import NOBODY, needs_root
from tiny_network import tiny_graph

from physedge_runtime.engines import EngineRequest
from physedge_runtime.engines.engine_cache import EngineCache
from physedge_runtime.engines.openvino import OpenVinoEngine
from physedge_runtime.errors import IntegrityError

pytest.importorskip("openvino")
SHAPE = (1, 32, 32, 3)


class Compiling(OpenVinoEngine):
    """Counts how often it compiles."""

    compiled = 0

    def _compile(self, *arguments: object) -> object:  # type: ignore[override]
        self.compiled += 1
        return super()._compile(*arguments)  # type: ignore[arg-type]


def answer(cache: EngineCache | None, *, bundle: str = "b", threads: int = 1, bias: float = 0.0) -> tuple[int, bytes]:
    """How often a start compiled, and the bytes of its answer."""
    graph = tiny_graph(bias=bias)
    request = EngineRequest(
        graph=graph,
        graph_sha256=hashlib.sha256(graph).hexdigest(),
        input_shape=SHAPE,
        outputs={"probability": (1, 1, 32, 32)},
        threads=threads,
        bundle_sha256=bundle * 64,
        options={} if cache is None else {"cache": cache},
    )
    frame = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    with Compiling(request) as engine:
        return engine.compiled, engine.infer(frame)["probability"].tobytes()


def test_the_second_start_does_not_compile_and_answers_the_same_bits(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache")
    count, fresh = answer(None)
    assert (count, answer(None)[0]) == (1, 1)
    assert answer(cache) == (1, fresh)
    assert answer(cache) == (0, fresh)


def test_another_bundle_graph_or_number_of_threads_is_compiled(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache")
    answer(cache)
    assert answer(cache, bundle="c")[0] == 1
    assert answer(cache, threads=2)[0] == 1
    count, other = answer(cache, bias=1.0)
    assert count == 1 and other == answer(None, bias=1.0)[1]


def test_what_is_not_as_it_was_stored_is_compiled_again_and_mended(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache")
    _, fresh = answer(cache)
    (path,) = cache.folder.glob("*.engine")
    for poison in (b"", b"no graph", path.read_bytes()[:-1] + b"x"):
        path.write_bytes(poison)
        assert answer(cache) == (1, fresh)
        assert answer(cache) == (0, fresh)


@pytest.mark.parametrize("suffix", ["engine", "json"])
def test_a_link_or_a_file_that_others_can_change_is_compiled_again(tmp_path: Path, suffix: str) -> None:
    cache = EngineCache(tmp_path / "cache")
    _, fresh = answer(cache)
    (path,) = cache.folder.glob(f"*.{suffix}")
    path.chmod(0o666)
    assert answer(cache) == (1, fresh)
    assert answer(cache) == (0, fresh)
    kept = path.replace(tmp_path / "kept")
    path.symlink_to(kept)
    with pytest.raises((OSError, IntegrityError)):
        cache.load(next(iter(cache._keys()))) if suffix == "engine" else cache._read(path)
    assert answer(cache) == (1, fresh)
    assert not path.is_symlink()


@needs_root
@pytest.mark.parametrize("place", ["folder", "engine", "json"])
def test_what_belongs_to_a_stranger_is_not_loaded(tmp_path: Path, place: str) -> None:
    cache = EngineCache(tmp_path / "cache")
    _, fresh = answer(cache)
    changed = cache.folder if place == "folder" else next(cache.folder.glob(f"*.{place}"))
    os.chown(changed, NOBODY, NOBODY)
    assert answer(cache) == (1, fresh)


def test_a_cache_that_cannot_be_used_costs_time_and_nothing_else(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache")
    _, fresh = answer(cache)
    cache.folder.chmod(0o777)  # others could put native code there
    assert answer(cache) == (1, fresh)
    (tmp_path / "file").write_bytes(b"")
    assert answer(EngineCache(tmp_path / "file")) == (1, fresh)
    nowhere = EngineCache(Path("/dev/null/engines"))
    assert answer(nowhere) == (1, fresh)
