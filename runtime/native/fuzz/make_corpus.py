"""Write the fuzzer's first files: exhibits of the Python tests behind a byte that says what each is, and what it found.

    python runtime/native/fuzz/make_corpus.py FOLDER
    python runtime/native/fuzz/make_corpus.py FOLDER --keep FOUND
    python runtime/native/fuzz/make_corpus.py FOLDER --repaired

The second form packs the files of FOUND, which libFuzzer has minimised (-merge=1), into corpus.tar.xz beside it. The
third writes whole bundles of every kind, for physedge_fuzz_repaired.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/runtime")]

BUNDLE, ARCHIVE, MANIFEST_TEXT, GRAPH, SIGNATURE_TEXT = range(5)
_LARGEST_BYTES = 64 * 1024
FOUND = Path(__file__).parent / "corpus.tar.xz"


def exhibits() -> list[tuple[int, bytes]]:
    """What each kind begins with."""
    from exhibits import entries, rebuilt
    from test_ir import SPELLINGS, changed
    from test_malicious_bundles import GRAPHS, UNREADABLE
    from tiny_network import tiny_graph

    from physedge_runtime.bundle import MANIFEST, SIGNATURE
    from physedge_runtime.keys import write_new_key
    from physedge_runtime.signing import file_signer, sign_bundle

    found: list[tuple[int, bytes]] = [(GRAPH, tiny_graph()), (GRAPH, changed())]
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
    found += [(GRAPH, graph) for graph, _ in SPELLINGS.values()]
    return found + [(GRAPH, make()) for make, _ in GRAPHS.values()]


def write_bundles(folder: Path) -> None:
    """Valid bundles, which the mutator takes apart."""
    from repaired_mutants import bases

    from physedge_runtime.bundle import canonical_zip

    folder.mkdir(parents=True, exist_ok=True)
    for index, contents in enumerate(bases()):
        (folder / f"{index}.physedge").write_bytes(canonical_zip(contents))


def keep(found: Path) -> None:
    """Pack what the fuzzer found; the same files give the same bytes."""
    # What is alike lies together: in a zip, each file by itself, they take fifteen times as much.
    contents = sorted((path.read_bytes() for path in found.iterdir()), key=lambda data: (data[:1], len(data), data))
    with tarfile.open(FOUND, "w:xz", preset=9) as archive:
        for data in contents:
            member = tarfile.TarInfo(hashlib.sha256(data).hexdigest()[:16])
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", type=Path, metavar="FOUND")
    parser.add_argument("--repaired", action="store_true")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    if arguments.repaired:
        write_bundles(folder)
        return
    if arguments.keep is not None:
        keep(arguments.keep)
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(FOUND) as archive:
        for member in archive:  # by hand: extractall has its filter from Python 3.11.4 on, Debian 12 has 3.11.2
            found = archive.extractfile(member)
            if found is not None:
                (folder / Path(member.name).name).write_bytes(found.read())
    for kind, data in exhibits():
        if len(data) < _LARGEST_BYTES:
            whole = bytes([kind]) + data
            (folder / hashlib.sha256(whole).hexdigest()[:16]).write_bytes(whole)


if __name__ == "__main__":
    main()
