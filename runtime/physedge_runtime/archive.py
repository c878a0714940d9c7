"""The zip archive of a bundle in its one form: written by Python's zipfile, read by a walk over the bytes.

A reader of zip files in general looks for a directory, believes its sizes and unpacks. This one knows every byte that
may stand there, so it takes one pass over the directory, one over the contents, and copies of the entries: time and
memory are bounded by the size of the file, whatever the directory says. `runtime/native/src/archive.cpp` is its twin.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from physedge_runtime.errors import IntegrityError

MANIFEST = "manifest.json"
SIGNATURE = "SIGNATURE"
LARGEST_BUNDLE_BYTES = 2 * 1024**3
LARGEST_ENTRY_BYTES = 2045222520  # (2^31 - 1) / 1.05: a larger one gets a field of its own from zipfile
LARGEST_MANIFEST_BYTES = 1024**2
MOST_ENTRIES = 512
COPY_AGAIN = "copy the bundle again from where it was made"

_FIXED_DATE = (1980, 1, 1, 0, 0, 0)
_LOCAL = struct.Struct("<4s5H3I2H")
_DIRECTORY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCAL_MARK, _DIRECTORY_MARK, _END_MARK = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_LONGEST_COMMENT = 2**16 - 1
_VERSION, _UNIX, _DAY, _MODE = 20, 3, 33, 0o100644 << 16


@dataclass(frozen=True, slots=True)
class _Record:
    """What the directory says of one entry, as far as it may differ from bundle to bundle."""

    name: bytes
    flags: int
    method: int
    checksum: int
    packed_bytes: int
    size_bytes: int
    mode: int
    offset: int

    @property
    def shown(self) -> str:
        """The name for messages."""
        return repr(self.name[:120].decode("ascii", "backslashreplace"))


def canonical_zip(contents: Mapping[str, bytes]) -> bytes:
    """The one byte form of a set of entries: stored, sorted by name, fixed dates and modes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name in sorted(contents):
            record = zipfile.ZipInfo(name, _FIXED_DATE)
            record.create_system = _UNIX
            record.external_attr = _MODE
            archive.writestr(record, contents[name])
    return buffer.getvalue()


def read_archive(data: bytes, origin: str) -> dict[str, bytes]:
    """The entries of an archive that is in its canonical form.

    Raises:
        IntegrityError: It is not (`PE-BUNDLE-002` to `PE-BUNDLE-007`, `PE-BUNDLE-015`).
    """
    records, start = _read_directory(data, origin)
    seen: set[bytes] = set()
    for record in records:
        _check_record(record, seen, origin)
    for record in records:
        place = record.offset + _LOCAL.size
        there = data[record.offset : record.offset + 4] == _LOCAL_MARK
        if place > start or not there or data[place : place + len(record.name)] != record.name:
            _refuse_zip(origin)
    contents = _compare(data, sorted(records, key=lambda record: record.name), start, origin)
    for record in records:
        if zlib.crc32(contents[record.name.decode()]) != record.checksum:
            _refuse_zip(origin)
    return contents


def _read_directory(data: bytes, origin: str) -> tuple[list[_Record], int]:
    """The records, and where the directory begins; nothing is believed but that it lies inside the file."""
    end = data.rfind(_END_MARK, max(0, len(data) - _END.size - _LONGEST_COMMENT))
    if end < 0 or end + _END.size > len(data):
        _refuse_zip(origin)
    count, size, start = _END.unpack_from(data, end)[4:7]
    if count > MOST_ENTRIES:
        raise refused("PE-BUNDLE-003", f"{origin} has {count} entries", f"at most {MOST_ENTRIES}")
    if start + size > end:
        _refuse_zip(origin)
    if start + size < end or end + _END.size < len(data):
        _refuse_form(origin)
    records, position = [], start
    for _ in range(count):
        if position + _DIRECTORY.size > end or data[position : position + 4] != _DIRECTORY_MARK:
            _refuse_zip(origin)
        fields = _DIRECTORY.unpack_from(data, position)
        flags, method, _, _, checksum, packed, size, name_bytes, extra_bytes, comment_bytes = fields[3:13]
        position += _DIRECTORY.size
        name = data[position : position + name_bytes]
        position += name_bytes + extra_bytes + comment_bytes
        if position > end:
            _refuse_zip(origin)
        records.append(_Record(name, flags, method, checksum, packed, size, fields[15], fields[16]))
    if position != end:
        _refuse_zip(origin)
    return records, start


def _check_record(record: _Record, seen: set[bytes], origin: str) -> None:
    if not is_safe_name(record.name.decode("latin-1")):
        raise refused("PE-BUNDLE-004", f"{origin} has the entry {record.shown}", "a plain name inside the bundle")
    if record.name.lower() in seen:
        raise refused("PE-BUNDLE-005", f"{origin} has the entry {record.shown} twice", "every name once")
    seen.add(record.name.lower())
    if stat.S_IFMT(record.mode >> 16) not in (0, stat.S_IFREG):
        raise refused("PE-BUNDLE-015", f"the entry {record.shown} of {origin} is a link or a device", "a plain file")
    if record.method != zipfile.ZIP_STORED or record.flags or record.size_bytes != record.packed_bytes:
        raise refused("PE-BUNDLE-006", f"the entry {record.shown} of {origin} is packed", "entries stored as they are")
    limit = LARGEST_MANIFEST_BYTES if record.name == MANIFEST.encode() else LARGEST_ENTRY_BYTES
    if record.size_bytes > limit:
        raise refused("PE-BUNDLE-003", f"the entry {record.shown} has {record.size_bytes} bytes", f"at most {limit}")


def _compare(data: bytes, records: list[_Record], start: int, origin: str) -> dict[str, bytes]:
    """The contents, found where the one form has them; every other byte is held against it."""
    contents: dict[str, bytes] = {}
    directory, position = bytearray(), 0
    for record in records:
        shared = (_VERSION, 0, 0, 0, _DAY, record.checksum, record.size_bytes, record.size_bytes, len(record.name), 0)
        header = _LOCAL.pack(_LOCAL_MARK, *shared) + record.name
        first = position + len(header)
        if first + record.size_bytes > start or data[position:first] != header:
            _refuse_form(origin)
        directory += _DIRECTORY.pack(_DIRECTORY_MARK, _VERSION | _UNIX << 8, *shared, 0, 0, 0, _MODE, position)
        directory += record.name
        position = first + record.size_bytes
        contents[record.name.decode()] = data[first:position]
    end = _END.pack(_END_MARK, 0, 0, len(records), len(records), len(directory), position, 0)
    if position != start or data[start:] != bytes(directory) + end:
        _refuse_form(origin)
    return contents


def is_safe_name(name: str) -> bool:
    """Whether an entry's name is plain ASCII, relative, and stays inside its folder."""
    parts = name.split("/")
    plain = name.isascii() and all(character.isalnum() or character in "._-/" for character in name)
    return plain and 1 <= len(parts) <= 2 and all(part and not part.startswith(".") for part in parts)


def refused(identifier: str, found: str, expected: str) -> IntegrityError:
    """The error for a bundle that is not as it was made."""
    return IntegrityError(identifier, found=found, expected=expected, next_step=COPY_AGAIN)


def _refuse_zip(origin: str) -> NoReturn:
    raise refused("PE-BUNDLE-002", f"{origin} is not a valid zip file", "a bundle")


def _refuse_form(origin: str) -> NoReturn:
    raise refused("PE-BUNDLE-007", f"{origin} is not in canonical form", "the bytes that physedge writes")
