"""Runs Python as a user who owns nothing: where the tests run as root, every permission would hold otherwise.

The imports come first, since the user may not be able to read where Python lies.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

NOBODY = 65534
_DROP = f"""
import os
if os.geteuid() == 0:
    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


def as_nobody(imports: str, code: str, *arguments: object) -> str:
    """What the code printed; it sees `arguments` as sys.argv[1:]."""
    program = f"import sys\n{imports}\n{_DROP}\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
