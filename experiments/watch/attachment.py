"""One life of a cluster or a run, seen from outside of its sandbox.

What is read here costs the cluster nothing: its files, and the kernel's tables of its
network namespaces. Only :meth:`Attachment.ask` is answered by the cluster itself.
"""

from __future__ import annotations

import json
import os
import select
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from controller.pipeline.cluster_state import ClusterState
from experiments.cluster import control
from experiments.files.replaced_file import ReplacedFile
from experiments.instruments.socket_table import HELD, HeldSocket, sockets_of
from experiments.watch.connection_tally import CLIENT_STATES, is_counted
from nodes.kernel.network_namespace import netns_inode
from topologies.runs import NotRunning, Run, find_run
from topologies.sandbox import read_hosts

#: So long an answer is waited for, in seconds.
ANSWER_S = 5.0
#: Of an older log only the last so many bytes are read.
_LOG_BYTES = 1 << 20


class Gone(RuntimeError):
    """The cluster does not answer."""


class Attachment:
    """The live run of a name, as long as its PID 1 lives."""

    def __init__(self, name: str) -> None:
        """Raises :class:`~topologies.runs.NotRunning`."""
        self.run: Run = find_run(name)
        try:
            self._pidfd = os.pidfd_open(self.run.init.pid)
        except ProcessLookupError:
            raise NotRunning(f"{name!r} has just ended") from None
        self._ends = select.poll()
        self._ends.register(self._pidfd, select.POLLIN)
        self._state = ReplacedFile(self.run.directory / "state.json")
        self._hosts = ReplacedFile(self.run.directory / "hosts.json")
        self._log: _Tail | None = None

    def ended(self) -> bool:
        """Whether it has ended."""
        return bool(self._ends.poll(0)) or not self.run.alive()

    def ask(self) -> dict[str, Any]:
        """Its present reading (:class:`experiments.cluster.live_view.LiveView`).

        Raises :class:`Gone`.
        """
        socket = self.run.directory / "control.sock"
        try:
            reading: dict[str, Any] = control.request(socket, "view", ANSWER_S)
        except (OSError, ValueError, control.ControlError) as error:
            raise Gone(str(error)) from error
        if self._log is None:
            root = Path("/proc") / str(self.run.init.pid) / "root"
            folder = root / reading["folder"].lstrip("/")
            self._log = _Tail(folder / "events.jsonl")
        return reading

    def new_state(self) -> tuple[ClusterState, float] | None:
        """The cluster's state and when it was written (CLOCK_REALTIME seconds, a few
        milliseconds early), if it has changed since the last call."""
        if self._state.has_changed():
            with suppress(OSError):
                state = ClusterState.read(self.run.directory / "state.json")
                return state, self._state.written_s
        return None

    def new_namespaces(self) -> dict[str, int] | None:
        """Host -> its network namespace, if hosts have changed since the last call."""
        if not self._hosts.has_changed():
            return None
        found = {}
        with suppress(NotRunning):
            for host, pid in read_hosts(self.run.name).items():
                with suppress(OSError):  # it has just lost power
                    found[host] = netns_inode(pid, self.run.proc)
        return found

    def sockets(self, host: str, at_client: bool) -> list[HeldSocket] | None:
        """The kernel's table of that host; None if it has no power."""
        states = CLIENT_STATES if at_client else HELD | {"SYN_RECV"}
        try:
            pid = read_hosts(self.run.name)[host]
            table = sockets_of(pid, states, self.run.proc)
            return [one for one in table if is_counted(one.connection)]
        except (OSError, KeyError, NotRunning):
            return None

    def new_records(self) -> Iterator[dict[str, Any]]:
        """Records of its event log since the last call, oldest first."""
        return iter(()) if self._log is None else self._log.records()

    def close(self) -> None:
        """Lets go of it."""
        os.close(self._pidfd)
        if self._log is not None:
            self._log.close()


class _Tail:
    """A file of JSON lines that grows. It is kept open: its folder may be removed."""

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None
        self._rest = b""
        with suppress(OSError):
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            size = os.fstat(self._descriptor).st_size
            if size > _LOG_BYTES:
                os.lseek(self._descriptor, size - _LOG_BYTES, os.SEEK_SET)

    def records(self) -> Iterator[dict[str, Any]]:
        """What was added since the last call, whole lines only."""
        if self._descriptor is None:
            return
        while data := os.read(self._descriptor, _LOG_BYTES):
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                with suppress(ValueError):  # the first line may be cut
                    yield json.loads(line)

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
