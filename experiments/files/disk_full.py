"""A full disk, as an error that names the file and the remedy."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

#: write(2): no space, or no more of the user's quota.
_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFullError(RuntimeError):
    """A file could not be written: its disk is full. The text has file and remedy."""


@contextmanager
def disk_full_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raises :class:`DiskFullError` for ``path`` where the block finds the disk full.

    ``path``: the file or folder that the block writes. The ``OSError`` of write(2) names
    none. All other errors pass through.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFullError(
            f"cannot write {os.fspath(path)}: {os.strerror(error.errno)}. "
            "Free space on its disk, or choose a folder on another disk with --out"
        ) from error
