"""Small files that would cost much if a reader believed them, and what reading one takes in memory."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

from broken_manifests import CLASSES, SEGMENTATION, base

from physedge_runtime.archive import LARGEST_MANIFEST_BYTES, MANIFEST, canonical_zip
from physedge_runtime.manifest import canonical_json

MOST_MANIFEST_MEMORY_BYTES = 64 * 1024**2


def directory_of(count: int, *, said: int, size_bytes: int = 0) -> bytes:
    """An archive of nothing but directory records, all of one entry of `size_bytes` that many share."""
    content = bytes(size_bytes)
    entry = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, size_bytes, size_bytes, 6, 0) + b"x00000" + content
    names = (f"x{index:05x}".encode()[:6] for index in range(count))
    record = struct.pack("<4s6H3I5H2I", b"PK\1\2", 788, 20, 0, 0, 0, 33, 0, size_bytes, size_bytes, 6, 0, 0, 0, 0, 0, 0)
    directory = b"".join(record + name for name in names)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, said & 0xFFFF, said & 0xFFFF, len(directory), len(entry), 0)
    return entry + directory + end


def _filled(manifest: Any, place: Callable[[Any, Any], None], item: Any) -> bytes:
    """The manifest with as many items in one place as there is room for."""
    place(manifest, [])
    room = LARGEST_MANIFEST_BYTES - len(canonical_json(manifest)) - 2
    place(manifest, [item] * (room // (len(json.dumps(item, separators=(",", ":"))) + 1)))
    return canonical_json(manifest)


def _details(manifest: Any, items: Any) -> None:
    manifest["verdicts"][0]["details"] = {"a": items}


def costly_manifests() -> Iterator[tuple[str, bytes]]:
    """Manifests of the largest size that make a parser build as much as they can; none is a valid one."""
    for name, item in {
        "lists": [],
        "objects": {},
        "members": {"a": 1},
        "words": "ab",
        "numbers": 1.5,
        "zeros": 0,
        "long integers": 10**4000,
    }.items():
        yield name, _filled(json.loads(base(CLASSES)[MANIFEST]), _details, item)
    shape = lambda manifest, items: manifest["outputs"][0].update(shape=items)  # noqa: E731
    yield "a shape of many axes", _filled(json.loads(base(SEGMENTATION)[MANIFEST]), shape, 2**28)
    classes = lambda manifest, items: manifest["spec"].update(classes=items)  # noqa: E731
    yield "many classes", _filled(json.loads(base(SEGMENTATION)[MANIFEST]), classes, "ab")
    golden = lambda manifest, items: manifest.update(golden=items)  # noqa: E731
    case = json.loads(base(SEGMENTATION)[MANIFEST])["golden"][0]
    yield "many golden frames", _filled(json.loads(base(SEGMENTATION)[MANIFEST]), golden, case)
    yield "nesting", b"[" * (LARGEST_MANIFEST_BYTES // 2) + b"]" * (LARGEST_MANIFEST_BYTES // 2)


def with_manifest(text: bytes) -> bytes:
    """A proper archive around a manifest."""
    contents = base(SEGMENTATION)
    return canonical_zip({**contents, MANIFEST: text})


def main() -> None:
    """Read the file that is named with libphysedge and print the identifier and the growth of the peak in bytes."""
    import resource
    from pathlib import Path

    from native_library import Native

    from physedge_runtime.errors import PhysedgeError

    native, told = Native(Path(sys.argv[1])), "taken"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        native.free(native.read(Path(sys.argv[2])))
    except PhysedgeError as error:
        told = error.identifier
    print(told, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)


if __name__ == "__main__":
    main()
