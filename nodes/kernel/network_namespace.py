"""Runs code in another process's network namespace, in the calling thread."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: This process's own procfs.
PROC = Path("/proc")

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def enter_netns(pid: int, proc: Path = PROC) -> Iterator[None]:
    """Puts the calling thread into the network namespace of process ``pid``.

    A socket keeps the namespace in which it was opened, so only that must be inside the
    block (setns(2); ``os.setns`` needs Python 3.12). ``proc``: the procfs that numbers it
    so, e.g. that of a sandbox. Raises :class:`OSError` if the process has ended or the
    caller is not root.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(proc / f"{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)


def netns_inode(pid: int, proc: Path = PROC) -> int:
    """Inode number of the network namespace of process ``pid``, its id in the kernel.

    (``struct ns_common``, ``inum``.) ``proc``: as in :func:`enter_netns`. Raises :class:`OSError` if the process has ended.
    """
    return os.stat(proc / f"{pid}/ns/net").st_ino


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")
