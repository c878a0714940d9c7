"""Reading what decides whom a device believes: a file that only its owner, or the administrator, can have changed.

A file is as safe as the way to it. Whoever may write to a folder on the way can exchange what lies in it, and whoever
owns a link on the way can turn it elsewhere. So every folder and every link is looked at, from the root down.
`runtime/native/src/guarded_files.cpp` does the same.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from physedge_runtime.errors import IntegrityError

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_MOST_LINKS = 40


class TooLargeError(Exception):
    """A file is longer than it may be; half of a list of revocations is not the list."""


def read_guarded(path: Path, largest_bytes: int) -> bytes:
    """The bytes of a plain file that nobody else can change.

    Args:
        path: The file.
        largest_bytes: It may have.

    Raises:
        OSError: It cannot be read, or is not a plain file.
        TooLargeError: It is longer.
        IntegrityError: Somebody else may change it, or a folder or a link on the way to it (`PE-SIGN-004`).
    """
    refuse_changeable(path)
    # Without blocking: a pipe in its place that nobody writes to must not hold us up.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a plain file")
        _refuse(path, status)  # of what was opened, which may be another file than was looked at
        data = stream.read(largest_bytes + 1)
    if len(data) > largest_bytes:
        raise TooLargeError
    return data


def refuse_changeable(path: Path) -> None:
    """Refuse a path that somebody else can lead to other content.

    Raises:
        OSError: Something on the way is not there or may not be looked at.
        IntegrityError: Somebody else may change it, or a folder or a link on the way to it (`PE-SIGN-004`).
    """
    here, links = Path("/"), 0
    pending = [*reversed(path.parts)] if path.is_absolute() else [*reversed(path.parts), *reversed(Path.cwd().parts)]
    while pending:
        name = pending.pop()
        if name == "..":
            here = here.parent
            continue
        here = Path("/") if name == "/" else here / name
        status = here.lstat()
        _refuse(here, status)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            pending.extend(reversed(here.readlink().parts))
            here = here.parent


def _refuse(path: Path, status: os.stat_result) -> None:
    """Owner and mode of one thing on the way.

    In a folder with the sticky bit everybody may create, and nobody may exchange what another one created.
    """
    is_sticky_folder = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_uid not in (0, os.geteuid()):
        what, next_step = "belongs to another user", f"check who put it there, then chown it to root: {path}"
    elif status.st_mode & _WRITABLE_BY_OTHERS and not stat.S_ISLNK(status.st_mode) and not is_sticky_folder:
        what, next_step = "may be changed by others", f"check who changed it, then chmod go-w {path}"
    else:
        return
    raise IntegrityError(
        "PE-SIGN-004",
        found=f"{path} {what}",
        expected="a file that only its owner or root may change, and only such folders and links on the way to it",
        next_step=next_step,
    )
