"""Keeps libraries from calling home: a device contacts nobody but whom its user names."""

from __future__ import annotations

import sys
from typing import cast

_REPORTER = "openvino_telemetry"


def silence_openvino() -> None:
    """Make OpenVINO and NNCF run without their usage reports; call it before either is imported.

    Both send events to a web service, and write an identifier into the home directory, through the package
    openvino_telemetry, as soon as they are imported. Both have a silent substitute for a machine without that
    package, so it is made to look absent for this process.
    """
    if _REPORTER not in sys.modules:
        # The documented way to make an import fail.
        cast("dict[str, object]", sys.modules)[_REPORTER] = None
