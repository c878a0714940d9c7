"""The C library's cache of compiled graphs: what is not exactly what it stored is never given to the engine."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from native_library import Native, frame
from other_user import NOBODY, needs_root
from tiny_network import tiny_contents, tiny_graph

from physedge_runtime.bundle import write_bundle
from physedge_runtime.errors import IntegrityError
from physedge_runtime.manifest import canonical_json

Folder = Path


def tiny(path: Path, *, bias: float = 0.0) -> Path:
    """A bundle; its golden bounds let every bias pass, so that the answers alone tell which graph runs."""
    manifest, contents = tiny_contents()
    loose = manifest.artefacts[0].model_copy(update={"golden_mean_bound": 2.0, "golden_max_bound": 2.0})
    write_bundle(
        path, manifest.model_copy(update={"artefacts": (loose,)}), {**contents, "model.onnx": tiny_graph(bias=bias)}
    )
    return path


@pytest.fixture
def answer(native: Native) -> Callable[[Path, Path | None], bytes]:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)

    def run(path: Path, cache: Path | None) -> bytes:
        options = {} if cache is None else {"cache_folder": bytes(cache)}
        with native.open(path, engine=b"openvino", threads=1, **options) as net:
            return net.infer(frame(picture)).outputs["probability"].tobytes()

    return run


class Kept:
    """A cache with the compiled graph of one bundle, and the one of another graph to put in its place."""

    def __init__(self, tmp_path: Path, answer: Callable[[Path, Path | None], bytes]) -> None:
        self.ours, other = tiny(tmp_path / "ours.physedge"), tiny(tmp_path / "other.physedge", bias=1.0)
        self.cache = tmp_path / "cache"
        self.right, self.wrong = answer(self.ours, None), answer(other, None)
        assert self.right != self.wrong
        assert answer(other, tmp_path / "elsewhere") == self.wrong
        assert answer(self.ours, self.cache) == self.right
        self.folder = self.cache / "engines"
        (self.engine,) = self.folder.glob("*.engine")
        (self.record,) = self.folder.glob("*.json")
        (self.poison,) = (tmp_path / "elsewhere/engines").glob("*.engine")
        (self.poison_record,) = (tmp_path / "elsewhere/engines").glob("*.json")

    def put_poison(self, *, adjust: bool) -> None:
        """Another graph in the place of ours; with its hash in our record where that is adjusted."""
        self.engine.write_bytes(self.poison.read_bytes())
        if adjust:
            record = json.loads(self.record.read_text("utf-8"))
            record["sha256"] = hashlib.sha256(self.poison.read_bytes()).hexdigest()
            self.record.write_bytes(canonical_json(record))


@pytest.fixture
def kept(tmp_path: Path, answer: Callable[[Path, Path | None], bytes]) -> Kept:
    return Kept(tmp_path, answer)


def test_the_second_start_answers_the_same_bits(kept: Kept, answer: Callable[[Path, Path | None], bytes]) -> None:
    before = kept.engine.stat().st_ino
    assert answer(kept.ours, kept.cache) == kept.right
    assert kept.engine.stat().st_ino == before  # it was loaded, not compiled and written anew


def test_what_is_kept_is_loaded(kept: Kept, answer: Callable[[Path, Path | None], bytes]) -> None:
    """Guards the tests below: whoever is this very user can exchange engines, and then it is seen in the answers."""
    assert kept.folder.stat().st_mode & 0o777 == 0o700
    assert kept.engine.stat().st_mode & 0o777 == 0o600
    assert sorted(path.suffix for path in kept.folder.iterdir()) == [".engine", ".json"]
    kept.put_poison(adjust=True)
    assert answer(kept.ours, kept.cache) == kept.wrong


def test_another_engine_is_not_loaded_and_is_replaced(kept: Kept, answer: Callable[[Path, Path | None], bytes]) -> None:
    genuine = kept.engine.read_bytes()
    kept.put_poison(adjust=False)
    assert answer(kept.ours, kept.cache) == kept.right
    assert len(kept.engine.read_bytes()) == len(genuine)
    assert kept.engine.read_bytes() != kept.poison.read_bytes()
    # The record of the other bundle, whole as it is, belongs to another key.
    kept.put_poison(adjust=False)
    kept.record.write_bytes(kept.poison_record.read_bytes())
    assert answer(kept.ours, kept.cache) == kept.right


def test_one_bit_is_seen(kept: Kept, answer: Callable[[Path, Path | None], bytes]) -> None:
    genuine = kept.engine.read_bytes()
    for at in range(0, len(genuine), max(1, len(genuine) // 20)):
        damaged = bytearray(genuine)
        damaged[at] ^= 1
        kept.engine.write_bytes(damaged)
        assert answer(kept.ours, kept.cache) == kept.right
        assert kept.engine.read_bytes() != bytes(damaged)


@pytest.mark.parametrize("mode", [0o020, 0o002])
@pytest.mark.parametrize("place", ["folder", "engine", "record"])
def test_what_others_can_write_to_is_not_loaded(
    kept: Kept, answer: Callable[[Path, Path | None], bytes], place: str, mode: int
) -> None:
    kept.put_poison(adjust=True)
    changed: Path = getattr(kept, place)
    changed.chmod(changed.stat().st_mode | mode)
    assert answer(kept.ours, kept.cache) == kept.right


@needs_root
@pytest.mark.parametrize("place", ["folder", "engine", "record"])
def test_what_belongs_to_a_stranger_is_not_loaded(
    kept: Kept, answer: Callable[[Path, Path | None], bytes], place: str
) -> None:
    kept.put_poison(adjust=True)
    os.chown(getattr(kept, place), NOBODY, NOBODY)
    assert answer(kept.ours, kept.cache) == kept.right


@pytest.mark.parametrize("place", ["folder", "engine", "record"])
def test_a_link_is_not_followed(
    kept: Kept, answer: Callable[[Path, Path | None], bytes], place: str, tmp_path: Path
) -> None:
    kept.put_poison(adjust=True)
    linked: Path = getattr(kept, place)
    moved = linked.rename(tmp_path / "moved")
    linked.symlink_to(moved)
    assert answer(kept.ours, kept.cache) == kept.right
    assert moved.exists()


@pytest.mark.parametrize("member", ["bundle_sha256", "version", "graph_sha256", "device", "recipe_sha256"])
def test_it_is_bound_to_all_that_it_depends_on(
    kept: Kept, answer: Callable[[Path, Path | None], bytes], member: str
) -> None:
    record = json.loads(kept.record.read_text("utf-8"))
    assert record["key"][member]
    kept.put_poison(adjust=True)
    record = json.loads(kept.record.read_text("utf-8"))
    record["key"][member] = "another"
    kept.record.write_bytes(canonical_json(record))
    assert answer(kept.ours, kept.cache) == kept.right


def test_a_cache_that_cannot_be_made_costs_time_alone(
    kept: Kept, answer: Callable[[Path, Path | None], bytes], tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    for cache in (tmp_path / "file", Path("/dev/null/cache")):
        assert answer(kept.ours, cache) == kept.right


def test_python_reads_the_same_folder(kept: Kept) -> None:
    from physedge_runtime.engines.engine_cache import EngineCache

    cache = EngineCache(kept.folder)
    (key,) = cache._keys()
    assert cache.load(key) == kept.engine.read_bytes()
    kept.engine.write_bytes(b"x")
    with pytest.raises(IntegrityError, match="PE-TRT-011"):
        cache.load(key)
