"""Keeps the namespaces of a host or switch, whatever becomes of the processes in them.

In Mininet a host is a shell: its namespaces live as long as a process is in them, and
others find them by the shell's pid. A shell may be killed while programs of the host go
on. So a thread of this process is in the same namespaces. Its thread id names them
wherever a process id does: in ``/proc/ID/ns``, ``mnexec -a ID`` and ``ip link .. netns
ID``. It cannot be killed alone: SIGKILL of a thread ends its process (signal(7)), and
with this process the sandbox ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from contextlib import ExitStack

_libc = ctypes.CDLL(None, use_errno=True)

#: linux/sched.h. A thread with another mount namespace needs its own root and working
#: directory (setns(2)).
_CLONE_FS, _CLONE_NEWNS, _CLONE_NEWNET = 0x200, 0x00020000, 0x40000000
_NAMESPACES = {"net": _CLONE_NEWNET, "mnt": _CLONE_NEWNS}


class Keeper:
    """A thread that stays in the network and mount namespaces of a process."""

    def __init__(self, pid: int) -> None:
        """Enter the namespaces of process ``pid``, which may end from now on.

        Raises :class:`OSError` if it has ended.
        """
        #: Its thread id.
        self.id = 0
        self._error: OSError | None = None
        self._entered = threading.Event()
        self._released = threading.Event()
        # A daemon: it must not hold up the end of the process.
        self._thread = threading.Thread(target=self._keep, args=(pid,), daemon=True)
        self._thread.start()
        self._entered.wait()
        if self._error:
            raise self._error

    def close(self) -> None:
        """Leave the namespaces. They end with the last process in them."""
        self._released.set()
        self._thread.join()

    def _keep(self, pid: int) -> None:
        try:
            # Signals are for the other threads.
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            _enter(pid)
            self.id = threading.get_native_id()
        except OSError as error:
            self._error = error
        finally:
            self._entered.set()
        if not self._error:
            self._released.wait()


def _enter(pid: int) -> None:
    """Move the calling thread into both namespaces of process ``pid``."""
    with ExitStack() as files:
        opened = {
            kind: files.enter_context(open(f"/proc/{pid}/ns/{name}", "rb"))
            for name, kind in _NAMESPACES.items()
        }
        _must(_libc.unshare(_CLONE_FS))
        for kind, file in opened.items():
            _must(_libc.setns(file.fileno(), kind))


def _must(status: int) -> None:
    if status:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
