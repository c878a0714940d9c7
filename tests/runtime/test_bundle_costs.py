"""What reading a bundle costs before it is trusted: bounds on memory and on passes, not on a clock (docs/bundle.md)."""

from __future__ import annotations

import os
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from broken_manifests import SEGMENTATION, base
from costly_bundles import MOST_MANIFEST_MEMORY_BYTES, costly_manifests, directory_of, with_manifest

from physedge_runtime import archive
from physedge_runtime.archive import LARGEST_MANIFEST_BYTES, MOST_ENTRIES, canonical_zip, read_archive
from physedge_runtime.bundle import read_bundle, write_bundle
from physedge_runtime.errors import IntegrityError
from physedge_runtime.keys import TrustStore
from physedge_runtime.manifest import parse_manifest

_MIB = 1024**2
COSTLY = dict(costly_manifests())


def peak_bytes(data: bytes, identifier: str) -> int:
    """The most memory that refusing an archive takes beside the archive itself."""
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match=identifier):
            read_archive(data, "x")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.requirement("REQ-BUNDLE-MUTATIONS")
@pytest.mark.parametrize(
    ("said", "identifier"), [(1_000_000, "003"), (MOST_ENTRIES + 1, "003"), (5, "002"), (0, "002")]
)
def test_a_directory_of_a_million_records_is_refused_by_its_count(said: int, identifier: str) -> None:
    """Whether it says how many it has, or that it has few."""
    assert peak_bytes(directory_of(1_000_000, said=said), f"PE-BUNDLE-{identifier}") < _MIB


def test_as_many_entries_as_may_be_are_read_and_one_more_is_not() -> None:
    contents = {f"x{index}": b"" for index in range(MOST_ENTRIES)}
    assert read_archive(canonical_zip(contents), "x") == contents
    with pytest.raises(IntegrityError, match="PE-BUNDLE-003"):
        read_archive(canonical_zip({**contents, "y": b""}), "x")


def test_entries_that_share_their_bytes_are_not_read_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """512 entries of the same 4 MB: a reader that believed them would check 2 GB."""
    asked: list[int] = []
    monkeypatch.setattr(archive.zlib, "crc32", lambda data: asked.append(len(data)) or zlib.crc32(data))
    data = directory_of(MOST_ENTRIES, said=MOST_ENTRIES, size_bytes=4 * _MIB)
    assert peak_bytes(data, "PE-BUNDLE-002") < _MIB
    assert asked == []


@pytest.mark.requirement("REQ-BUNDLE-MUTATIONS")
@pytest.mark.parametrize("name", COSTLY)
def test_the_costliest_manifests_stay_within_their_memory(name: str) -> None:
    text = COSTLY[name]
    assert len(text) <= LARGEST_MANIFEST_BYTES
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match="PE-BUNDLE-008"):
            parse_manifest(text, origin="x")
        assert tracemalloc.get_traced_memory()[1] < MOST_MANIFEST_MEMORY_BYTES
    finally:
        tracemalloc.stop()


def test_a_manifest_of_the_largest_size_is_read_and_a_larger_one_is_not() -> None:
    """The limit is that of the archive: no parser sees what is beyond it."""
    assert set(read_archive(with_manifest(b"x" * LARGEST_MANIFEST_BYTES), "x")) == set(base(SEGMENTATION))
    with pytest.raises(IntegrityError, match="PE-BUNDLE-003"):
        read_archive(with_manifest(b"x" * (LARGEST_MANIFEST_BYTES + 1)), "x")


def test_reading_takes_memory_in_proportion(tmp_path: Path) -> None:
    """The file and the copies of its entries, no more."""
    from tiny_network import tiny_contents

    manifest, contents = tiny_contents()
    write_bundle(tmp_path / "x.physedge", manifest, {**contents, "card.md": bytes(32 * _MIB)})
    tracemalloc.start()
    try:
        bundle = read_bundle(tmp_path / "x.physedge")
        assert tracemalloc.get_traced_memory()[1] < 2 * 32 * _MIB + 4 * _MIB
    finally:
        tracemalloc.stop()
    assert len(bundle.read("card.md")) == 32 * _MIB


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its size promised is a whole bundle; what is there is more."""
    path = tmp_path / "x.physedge"
    genuine = canonical_zip(base(SEGMENTATION))
    path.write_bytes(genuine)
    read_bundle(path)
    path.write_bytes(genuine + bytes(64 * _MIB))
    status = path.stat()
    smaller = os.stat_result((*status[:6], len(genuine), *status[7:10]))
    monkeypatch.setattr(Path, "stat", lambda self, **_: smaller)
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match="PE-BUNDLE-007"):
            read_bundle(path, trust=TrustStore())
        assert tracemalloc.get_traced_memory()[1] < 8 * _MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("place", "value", "identifier"),
    [
        (8, 1, "006"),  # encrypted
        (8, 8, "006"),  # sizes follow the data
        (8, 2048, "006"),  # names in UTF-8
        (10, 8, "006"),  # deflated
        (20, 1, "006"),  # packed to another size
        (28, 65535, "002"),  # a name beyond the directory
        (4, 20, "007"),  # made by another system
        (12, 1, "007"),  # a time
        (34, 1, "007"),  # on another disk
        (36, 1, "007"),  # text, as it says
    ],
)
def test_every_bit_of_a_directory_record_counts(place: int, value: int, identifier: str) -> None:
    data = bytearray(canonical_zip(base(SEGMENTATION)))
    record = data.index(b"PK\1\2")
    data[record + place : record + place + 2] = value.to_bytes(2, "little")
    with pytest.raises(IntegrityError, match=f"PE-BUNDLE-{identifier}"):
        read_archive(bytes(data), "x")


def test_the_walk_agrees_with_the_zip_reader_of_python() -> None:
    """Whatever is taken is, to an independent reader, the archive of these entries, and written anew the same bytes."""
    import io
    import zipfile

    generator = np.random.default_rng(3)
    for count in (0, 1, 2, 40):
        contents = {f"golden/{index}.x": generator.bytes(int(generator.integers(0, 3000))) for index in range(count)}
        data = canonical_zip(contents)
        assert read_archive(data, "x") == contents
        with zipfile.ZipFile(io.BytesIO(data)) as independent:
            assert {name: independent.read(name) for name in independent.namelist()} == contents


@pytest.mark.parametrize("place", [4, 6, 8, 10, 14, 18, 22, 28])
def test_every_bit_of_an_entrys_own_header_counts(place: int) -> None:
    """Also what the directory says rightly: a reader that goes by the headers would find something else."""
    data = bytearray(canonical_zip(base(SEGMENTATION)))
    data[place] ^= 1
    with pytest.raises(IntegrityError, match="PE-BUNDLE-007"):
        read_archive(bytes(data), "x")
