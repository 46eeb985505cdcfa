"""A private sandbox for one run: own network, mounts, processes and Open vSwitch.

A sandbox is a set of namespaces (net, mount, pid, ipc, uts) whose PID 1 is
:mod:`topologies.init`. No packet, interface or mount crosses its border. Everything in it
ends with its PID 1::

    launcher --(parent-death signal)--> unshare --(parent-death signal)--> PID 1 --> *

So ``kill -9`` of any of them leaves no process, interface, mount or namespace. A detached
sandbox has no launcher: it runs until its command ends or :func:`kill`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from topologies import init
from topologies.private import make_folder, open_new
from topologies.runs import (
    RUN_VARIABLE,
    AlreadyRunning,
    NotRunning,
    Run,
    SandboxError,
    find_run,
    is_alive,
    kill,
    list_runs,
    registry_lock,
    remove_dead_runs,
    remove_dead_runs_locked,
    replace_json,
    run_directory,
)

__all__ = [
    "AlreadyRunning",
    "NotRunning",
    "Run",
    "SandboxError",
    "enter",
    "find_run",
    "host_command",
    "inside_command",
    "is_alive",
    "kill",
    "list_runs",
    "publish_hosts",
    "run_directory",
    "remove_dead_runs",
]

_UNSHARE = [
    "unshare",
    "--net",
    "--mount",
    "--pid",
    "--ipc",
    "--uts",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--",
]
_DIE_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL", "--"]

_STDERR = 2

#: ``struct ucred``: pid, uid, gid (unix(7)).
_UCRED = struct.Struct("iII")

#: Keeps the caller's directory if it exists in the sandbox, as nearly all do.
_IN_DIRECTORY = """
cd -- "$1" 2>/dev/null
export RESETBED_RUN="$2"
shift 2
exec "$@"
"""


def enter(
    argv: Sequence[str],
    name: str,
    *,
    detach: bool = False,
    env: Mapping[str, str] | None = None,
) -> int:
    """Run ``argv`` in a new sandbox called ``name``; its exit status, as in a shell.

    Waits for the command and forwards signals. Call it from the main thread, because the
    sandbox ends with the calling thread. With ``detach`` it returns 0 as soon as the
    command has started; its output goes to ``/run/resetbed/NAME/log``.

    ``env`` is added to the environment, and ``RESETBED_RUN``, the run's name. Raises
    :class:`AlreadyRunning`, or :class:`SandboxError` if no sandbox can be created.
    """
    environment = {**os.environ, **(env or {}), RUN_VARIABLE: name}
    with _collecting_signals(not detach):
        with registry_lock():
            _reserve_name(name)
            sandbox = _launch(list(argv), name, detach, environment)
        if detach:
            sandbox.close()
            return 0
        status = _wait(sandbox)
    _remove_if_ended(sandbox.run)
    return status


def inside_command(name: str, argv: Sequence[str]) -> list[str]:
    """The command line that runs ``argv`` inside a running sandbox, from outside.

    Standard streams and exit status pass through; the current directory is kept if it
    exists inside. The command ends with the sandbox and with its caller. Raises
    :class:`NotRunning`.
    """
    target = find_run(name).init.pid
    enter_all = ["--net", "--mount", "--pid", "--ipc", "--uts"]
    nsenter = ["nsenter", f"--target={target}", *enter_all, "--", *_DIE_WITH_PARENT]
    return [*nsenter, "sh", "-c", _IN_DIRECTORY, "sh", os.getcwd(), name, *argv]


def host_command(name: str, host: str, argv: Sequence[str]) -> list[str]:
    """The command line that runs ``argv`` on a host (or switch) of a running sandbox.

    As :func:`inside_command`, in that host's network. Raises :class:`NotRunning`, or
    :class:`SandboxError`, which lists the hosts.
    """
    find_run(name)
    hosts = read_hosts(name)
    if host not in hosts:
        raise SandboxError(
            f"no host {host!r} in run {name!r}; there are {', '.join(hosts)}"
        )
    return inside_command(name, ["mnexec", "-a", str(hosts[host]), "env", "--", *argv])


def publish_hosts(name: str, pids: Mapping[str, int]) -> None:
    """Publish the hosts for :func:`host_command`: name -> pid or thread id in its network,
    as numbered inside the sandbox."""
    replace_json(run_directory(name) / "hosts.json", dict(pids))


def read_hosts(name: str) -> dict[str, int]:
    """Each host and switch of a run, and a thread id in its network, as numbered inside the
    sandbox. Raises :class:`NotRunning`."""
    try:
        hosts = json.loads((run_directory(name) / "hosts.json").read_text())
    except FileNotFoundError:
        raise NotRunning(f"run {name!r} has no hosts yet") from None
    return {str(host): int(pid) for host, pid in hosts.items()}


def _reserve_name(name: str) -> None:
    """Create the run directory. Raises :class:`AlreadyRunning` if the name is in use."""
    directory = run_directory(name)
    if is_alive(name):
        raise AlreadyRunning(f"{name!r} is already running")
    remove_dead_runs_locked()
    make_folder(directory)


@dataclass
class _Sandbox:
    """The launcher's handles of a sandbox that it started."""

    run: Run
    unshare: subprocess.Popen[bytes]
    #: To PID 1, see :func:`topologies.init.main`.
    socket: socket.socket

    def close(self) -> None:
        """Close the socket and the pipe."""
        self.socket.close()
        if self.unshare.stderr:
            self.unshare.stderr.close()


def _launch(
    argv: list[str], name: str, detach: bool, environment: Mapping[str, str]
) -> _Sandbox:
    """Start a sandbox, register it, then let it proceed."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    with theirs:
        log = run_directory(name) / "log" if detach else None
        unshare = _unshare(argv, theirs.fileno(), log, environment)
    run = Run.started(name, _await_init(ours, unshare), unshare.pid)
    run.register()
    ours.sendall(init.PROCEED)
    return _Sandbox(run, unshare, ours)


def _unshare(
    argv: list[str], fd: int, log: Path | None, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start PID 1 of new namespaces; detached from us if it has a log.

    The output of unshare itself is kept for an error message and not shown: it reports
    that its child was killed, which is the normal end of a sandbox.
    """
    with ExitStack() as files:
        output = files.enter_context(open(open_new(log), "wb")) if log else None
        # A separate descriptor: unshare's standard error is a pipe.
        stderr = os.dup(output.fileno() if output else _STDERR)
        files.callback(os.close, stderr)
        program = [sys.executable, "-I", "-S", init.__file__, str(fd), str(stderr)]
        return subprocess.Popen(
            [*([] if log else _DIE_WITH_PARENT), *_UNSHARE, *program, *argv],
            pass_fds=[fd, stderr],
            env=environment,
            stdin=subprocess.DEVNULL if log else None,
            stdout=output,
            stderr=subprocess.PIPE,
            start_new_session=log is not None,
        )


def _await_init(handshake: socket.socket, unshare: subprocess.Popen[bytes]) -> int:
    """PID 1's pid in *our* pid namespace, which the kernel attaches to its message."""
    data, ancillary, _, _ = handshake.recvmsg(1, socket.CMSG_SPACE(_UCRED.size))
    if data != init.READY:
        output = unshare.communicate()[1].decode().strip()
        raise SandboxError(
            f"cannot create a sandbox: {output or 'see the output above'}"
        )
    pid: int = _UCRED.unpack(ancillary[0][2])[0]
    return pid


@contextmanager
def _collecting_signals(enabled: bool) -> Iterator[None]:
    """Keep the signals pending that :func:`_wait` collects."""
    if not enabled:
        yield
        return
    collected = init.FORWARDED_SIGNALS | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, collected)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(sandbox: _Sandbox) -> int:
    """Wait for the command and forward signals that processes send us; exit status."""
    while sandbox.unshare.poll() is None:
        received = signal.sigwaitinfo(init.FORWARDED_SIGNALS | {signal.SIGCHLD})
        if received.si_signo != signal.SIGCHLD and init.sent_by_process(received):
            sandbox.run.init.send(received.si_signo)
    status = sandbox.socket.recv(1)
    sandbox.close()
    return status[0] if status else 128 + signal.SIGKILL


def _remove_if_ended(run: Run) -> None:
    """Remove the ended run's directory, unless the name is in use again."""
    with registry_lock():
        if Run.read(run.name) == run:
            remove_dead_runs_locked()
