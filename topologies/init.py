"""PID 1 of a sandbox: mounts private file systems, runs one command, ends with it.

:mod:`topologies.sandbox` runs it under ``unshare``, as a file, in a bare interpreter
(``python -I -S``). It imports only a few modules of the standard library. When it ends, in
any way, the kernel kills every process of its pid namespace (pid_namespaces(7)). So the end
of this one process ends the sandbox.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress

#: Signals that are forwarded to the command; PID 1 does not act on them.
FORWARDED_SIGNALS = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
    }
)

#: Without these the sandbox would use the machine's Open vSwitch or see its network.
REQUIRED_MOUNTS = (
    ("sysfs", "/sys"),  # sysfs shows the network namespace that it was mounted in
    ("tmpfs", "/run/openvswitch"),
    ("tmpfs", "/etc/openvswitch"),
    ("tmpfs", "/run/netns"),
)
#: Without these the sandbox works, but eBPF pins or socket traces do not.
OPTIONAL_MOUNTS = (
    ("bpf", "/sys/fs/bpf"),
    ("tracefs", "/sys/kernel/tracing"),
)

STDERR = 2
READY = b"r"
PROCEED = b"g"


def main(launcher_fd: int, stderr_fd: int, argv: list[str]) -> int:
    """Set the sandbox up, run ``argv`` in it, return its exit status.

    ``launcher_fd`` is a socket to the launcher. The launcher gets our pid outside from the
    credentials of our message, and replies when it has registered us. On end of file
    instead, the launcher has died, and we end too. At the end we send it the exit status,
    if it still runs. ``stderr_fd``: standard error for the command.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED_SIGNALS | {signal.SIGCHLD})
    os.dup2(stderr_fd, STDERR)
    os.close(stderr_fd)
    os.set_inheritable(launcher_fd, False)
    with socket.socket(fileno=launcher_fd) as launcher:
        prepare()
        launcher.sendall(READY)
        if launcher.recv(1) != PROCEED:
            return 1
        status = supervise(spawn(argv))
        with suppress(BrokenPipeError):
            launcher.sendall(bytes([status]))
    return status


def prepare() -> None:
    """Mount private file systems, set the loopback up; ends the process on failure."""
    for kind, where in REQUIRED_MOUNTS:
        if not mount(kind, where):
            sys.exit(f"sandbox: cannot mount {kind} on {where}")
    for kind, where in OPTIONAL_MOUNTS:
        if not mount(kind, where):
            print(f"sandbox: continuing without {kind} on {where}", file=sys.stderr)
    if run("ip", "link", "set", "lo", "up"):
        sys.exit("sandbox: cannot set the loopback up")


def mount(kind: str, where: str) -> bool:
    """Mount a file system of that kind; whether that succeeded.

    The mount is private: ``unshare --mount`` has set the propagation of all mounts.
    """
    if not where.startswith("/sys"):
        os.makedirs(where, exist_ok=True)
    return run("mount", "-t", kind, kind, where) == 0


def run(*argv: str) -> int:
    """Run a short command; its exit status."""
    pid = os.posix_spawnp(argv[0], argv, os.environ)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def spawn(argv: list[str]) -> int:
    """Start the command with no signal blocked; its pid."""
    pid = os.fork()
    if pid:
        return pid
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        print(f"sandbox: {argv[0]}: {error.strerror}", file=sys.stderr)
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def supervise(child: int) -> int:
    """Reap orphans and forward signals until ``child`` ends; its status as in a shell."""
    while True:
        received = signal.sigwaitinfo(FORWARDED_SIGNALS | {signal.SIGCHLD})
        if received.si_signo == signal.SIGCHLD:
            status = reap(child)
            if status is not None:
                return status if status >= 0 else 128 - status
        elif sent_by_process(received):
            os.kill(child, received.si_signo)


def sent_by_process(received: signal.struct_siginfo) -> bool:
    """Whether kill(2) sent the signal (sigaction(2): ``si_code`` of user space is <= 0).

    A terminal sends it to the whole foreground group, so the command has it already.
    """
    return received.si_code <= 0


def reap(child: int) -> int | None:
    """Wait for every process that has ended; the exit code of ``child`` if it ended."""
    exit_code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return exit_code
        if pid == 0:
            return exit_code
        if pid == child:
            exit_code = os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
