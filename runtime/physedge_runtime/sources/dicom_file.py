"""The bytes of a DICOM file to a data set and decoded frames, whichever transfer syntax they are in."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from physedge_runtime.errors import SourceError, missing_extra
from physedge_runtime.frame import Damage
from physedge_runtime.resize import resample
from physedge_runtime.sources.dicom_header import frame_count, no_image, text_of

if TYPE_CHECKING:
    from pydicom import Dataset

_PREAMBLE_BYTES = 128
_MAGIC = b"DICM"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_VIDEOS = frozenset(f"1.2.840.10008.1.2.4.{number}{part}" for number in range(100, 109) for part in ("", ".1"))
_DEFLATED_AT_MOST = 2**31
_META_LENGTH_BYTES = 12  # of the element that states the length of the others
_CHUNK_BYTES = 2**20
# The first element of a data set without a preamble: group 0002 or 0008, in little or in big endian.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")


def begins_like_dicom(path: Path) -> bool:
    """Whether a file has the preamble of DICOM, whatever its name is."""
    try:
        with path.open("rb") as file:
            return file.read(_PREAMBLE_BYTES + len(_MAGIC))[_PREAMBLE_BYTES:] == _MAGIC
    except OSError:
        return False


def read_header(path: Path, *, stop_before_pixels: bool = False) -> Dataset:
    """The data set of a file; large elements are read when they are asked for.

    Files without a preamble, as older archives keep them, are read where they begin like a data set.

    Raises:
        SourceError: It is no DICOM file (`PE-SRC-011`).
        EnvironmentFault: pydicom is not installed (`PE-ENV-001`).
    """
    try:
        import pydicom
    except ImportError as error:
        raise missing_extra("pydicom", "dicom") from error
    is_complete = begins_like_dicom(path)
    if not is_complete and not _begins_like_a_data_set(path):
        raise no_image("it is no DICOM file")
    if is_complete:
        _check_deflated(path)
    try:
        dataset = pydicom.dcmread(path, defer_size="1 KB", stop_before_pixels=stop_before_pixels, force=not is_complete)
        if not is_complete and "SOPClassUID" not in dataset and "Rows" not in dataset:
            raise no_image("it is no DICOM file")
        _state_syntax(dataset)
    except SourceError:
        raise
    except Exception as error:  # pydicom raises of every kind, with values of the data set
        raise no_image(f"it is no DICOM file, or is damaged, {type(error).__name__}") from None
    return dataset


def _begins_like_a_data_set(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) in _FIRST_GROUPS
    except OSError:
        return False


def _state_syntax(dataset: Dataset) -> None:
    """Where the file does not state its transfer syntax, it is the one that pydicom found by reading it."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if getattr(dataset, "file_meta", None) is None:
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        is_implicit, is_little_endian = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if is_little_endian else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit
        dataset.filename = ""  # nothing can be read later on: pydicom would not know in which syntax


def syntax_of(dataset: Dataset) -> str:
    """UID of the transfer syntax."""
    return str(dataset.file_meta.TransferSyntaxUID)


def decoded_frames(path: Path, dataset: Dataset) -> Iterator[tuple[NDArray[Any], Damage]]:
    """The frames one by one: (height, width) or (height, width, 3), YBR turned into RGB; and what is wrong with each.

    Videos are decoded by PyAV, everything else by pydicom, in the depth of the file.

    Raises:
        Exception: Of any kind, where the pixels are damaged or nothing here decodes them.
    """
    if syntax_of(dataset) in _VIDEOS:
        yield from _video_frames(dataset)
        return
    for pixels in _still_frames(path, dataset):
        yield pixels, Damage.NONE


def _video_frames(dataset: Dataset) -> Iterator[tuple[NDArray[Any], Damage]]:
    """MPEG-2, H.264 or HEVC, which stand as one stream in the file; at the size that the header states."""
    from pydicom.encaps import generate_frames

    from physedge_runtime.sources.video import decoded_pictures

    encoded = b"".join(generate_frames(dataset.PixelData, number_of_frames=1))
    for picture in decoded_pictures(encoded):
        yield resample(picture.pixels, int(dataset.Rows), int(dataset.Columns)), picture.damage


def _still_frames(path: Path, dataset: Dataset) -> Iterator[NDArray[Any]]:
    import pydicom
    from pydicom.pixels.utils import iter_pixels, pixel_array

    source: Path | Dataset = path
    photometric = text_of(dataset, "PhotometricInterpretation")
    if syntax_of(dataset) == _DEFLATED or not dataset.filename or photometric != photometric.upper():
        source = pydicom.dcmread(path, force=True)
        source.PhotometricInterpretation = photometric.upper()
        _state_syntax(source)
    number = 0
    try:
        for pixels in iter_pixels(source):
            yield pixels
            number += 1
    except Exception:
        # pydicom reads some files frame by number that it cannot go through: those whose table of offsets is damaged,
        # and those whose sign has to be corrected.
        yield pixel_array(source, index=number)
        for later in range(number + 1, frame_count(dataset)):
            yield pixel_array(source, index=later)


def _check_deflated(path: Path) -> None:
    """Refuse a deflated data set that unpacks to more than can be meant, before it is unpacked as a whole."""
    from pydicom.filereader import read_file_meta_info

    try:
        meta = read_file_meta_info(path)
        if str(meta.get("TransferSyntaxUID", "")) != _DEFLATED:
            return
        with path.open("rb") as file:
            file.seek(_PREAMBLE_BYTES + len(_MAGIC) + _META_LENGTH_BYTES + int(meta.FileMetaInformationGroupLength))
            unpack = zlib.decompressobj(-zlib.MAX_WBITS)
            size = 0
            while not unpack.eof and (packed := unpack.unconsumed_tail or file.read(_CHUNK_BYTES)):
                size += len(unpack.decompress(packed, _CHUNK_BYTES))
                if size > _DEFLATED_AT_MOST:
                    raise no_image("it unpacks to more than 2 GiB")
    except (zlib.error, ValueError, AttributeError, KeyError, OSError):
        return  # whoever reads it says so
