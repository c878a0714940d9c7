"""Whose picture it was: the patient and the study of a DICOM image, carried over into an object that is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from physedge_runtime.sources.dicom_header import text_of

if TYPE_CHECKING:
    from pydicom import Dataset

# Kept as they are, whatever they hold: an archive finds the patient and the study by them.
_IDENTIFIERS = ("PatientName", "PatientID", "StudyInstanceUID", "StudyID", "AccessionNumber")
# Must be there, may be empty (type 2).
_EMPTY_AT_LEAST = ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName")
_WHERE_STATED = (
    "IssuerOfPatientID",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyDescription",
)


def copy_identity(source: Dataset, made: Dataset) -> None:
    """Copy what is stated; what is missing is empty, and so is what is written as the standard does not allow."""
    for keyword in _IDENTIFIERS:
        _put(made, keyword, _value(source, keyword))
    for keyword in _EMPTY_AT_LEAST:
        _put(made, keyword, _valid_value(source, keyword))
    for keyword in _WHERE_STATED:
        if text_of(source, keyword) and _valid_value(source, keyword):
            _put(made, keyword, _valid_value(source, keyword))


def _put(made: Dataset, keyword: str, value: Any) -> None:
    """An element whose content nothing checks: it is the source's."""
    from pydicom import DataElement
    from pydicom.config import IGNORE
    from pydicom.datadict import dictionary_VR
    from pydicom.tag import Tag

    made[keyword] = DataElement(Tag(keyword), dictionary_VR(keyword), value, validation_mode=IGNORE)


def _value(source: Dataset, keyword: str) -> Any:
    try:
        value = source.get(keyword)
    except Exception:  # pydicom's conversions raise of many kinds
        return ""
    return "" if value is None else value


def _valid_value(source: Dataset, keyword: str) -> Any:
    from pydicom.config import RAISE
    from pydicom.datadict import dictionary_VR
    from pydicom.valuerep import validate_value

    value = _value(source, keyword)
    representation = dictionary_VR(keyword)
    if representation == "SQ" or value == "":
        return value
    try:
        validate_value(representation, str(value), RAISE)
    except ValueError:
        return ""
    if keyword == "PatientSex" and str(value) not in ("M", "F", "O"):
        return ""
    return value
