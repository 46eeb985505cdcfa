"""Acting inside another process's network namespace, from the calling thread."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def inside_network_of(pid: int) -> Iterator[None]:
    """Puts the calling thread into the network namespace of process ``pid``.

    A socket keeps the namespace it was opened in, so the block only has to open it
    (setns(2); ``os.setns`` needs Python 3.12). Raises :class:`OSError` where the
    process is gone or the caller is not root.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
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


def number_of_network(pid: int) -> int:
    """Inode number of the network namespace of process ``pid``: its name in the kernel.

    (``struct ns_common``, ``inum``.) Raises :class:`OSError` where the process is gone.
    """
    return os.stat(f"/proc/{pid}/ns/net").st_ino


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")
