"""Silence for the libraries that read and write DICOM: their warnings repeat names, dates and identifiers.

physedge says by itself, without any value of a data set, what is wrong with one. A program that wants the warnings of
pydicom for data of its own can set them again after it has opened its sources and sinks.
"""

from __future__ import annotations

import contextlib
import logging
import warnings

_LIBRARIES = ("pydicom", "highdicom", "pylibjpeg", "openjpeg", "libjpeg", "jpeg_ls")
_CALLERS = (r"physedge_runtime\.sources\.dicom", r"physedge_runtime\.sinks\.dicom")
_NOTHING = logging.CRITICAL + 1


def silence_dicom_libraries() -> None:
    """Let none of them warn or log from now on; called before a data set is opened or written, as often as wanted.

    For the whole process: warnings have no filter of a thread.
    """
    with contextlib.suppress(ImportError):
        import pydicom  # noqa: F401  (it sets the level of its log when it is imported)
    for library in _LIBRARIES:
        logging.getLogger(library).setLevel(_NOTHING)
    for module in (*_LIBRARIES, *_CALLERS):
        warnings.filterwarnings("ignore", module=module)
    _silence_gdcm()


def _silence_gdcm() -> None:
    """GDCM writes to standard error by itself."""
    try:
        import gdcm
    except ImportError:
        return
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    gdcm.Trace.DebugOff()
