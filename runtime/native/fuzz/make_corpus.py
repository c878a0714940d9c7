"""Write the fuzzer's first files: the exhibits of the Python tests, each once, behind the byte that says what it is.

python runtime/native/fuzz/make_corpus.py FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/runtime")]

BUNDLE, ARCHIVE, MANIFEST_TEXT, GRAPH, SIGNATURE_TEXT = range(5)
_LARGEST_BYTES = 64 * 1024


def exhibits() -> list[tuple[int, bytes]]:
    """What each kind begins with."""
    from exhibits import entries, rebuilt
    from test_ir import packed
    from test_malicious_bundles import GRAPHS, UNREADABLE
    from tiny_network import tiny_graph

    from physedge_runtime.bundle import MANIFEST, SIGNATURE
    from physedge_runtime.keys import write_new_key
    from physedge_runtime.signing import file_signer, sign_bundle

    found: list[tuple[int, bytes]] = [(GRAPH, tiny_graph()), (GRAPH, packed())]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = rebuilt(folder / "tiny.physedge")
        write_new_key(folder / "maker.pem")
        sign_bundle(path, file_signer(folder / "maker.pem"))
        contents = entries(path)
        found += [(BUNDLE, path.read_bytes()), (MANIFEST_TEXT, contents[MANIFEST])]
        found.append((SIGNATURE_TEXT, contents[SIGNATURE]))
        for make, _ in UNREADABLE.values():
            data = make(folder / "x.physedge").read_bytes()
            found += [(BUNDLE, data), (ARCHIVE, data)]
    return found + [(GRAPH, make()) for make, _ in GRAPHS.values()]


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for kind, data in exhibits():
        if len(data) < _LARGEST_BYTES:
            whole = bytes([kind]) + data
            (folder / hashlib.sha256(whole).hexdigest()[:16]).write_bytes(whole)


if __name__ == "__main__":
    main()
