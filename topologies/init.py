"""PID 1 of a sandbox: mounts what is private, starts one command, ends with it.

Run by :mod:`topologies.sandbox` under ``unshare``, as a file, by a bare interpreter
(``python -I -S``): it imports the standard library only, and little of that. When it
ends, in whatever way, the kernel kills every process of its pid namespace
(pid_namespaces(7)); so this one process is all that has to end for a sandbox to go.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress

#: Signals that a launcher may pass on; the command is to have them, not its PID 1.
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

#: Without them the sandbox would touch the machine's Open vSwitch or see its network.
REQUIRED_MOUNTS = (
    ("sysfs", "/sys"),  # anew: sysfs shows the network namespace it was mounted in
    ("tmpfs", "/run/openvswitch"),
    ("tmpfs", "/etc/openvswitch"),
    ("tmpfs", "/run/netns"),
)
#: Without them the sandbox works, but eBPF pins or socket traces do not.
OPTIONAL_MOUNTS = (
    ("bpf", "/sys/fs/bpf"),
    ("tracefs", "/sys/kernel/tracing"),
)

STDERR = 2
READY = b"r"
PROCEED = b"g"


def main(launcher_fd: int, stderr_fd: int, argv: list[str]) -> int:
    """Set the sandbox up, run ``argv`` in it, return its exit status.

    ``launcher_fd`` is a socket. The launcher has our outside pid from the credentials
    of what we send, lets us go once it has registered us (end of file instead: it died,
    and so do we), and, if it still is there at the end, is told the exit status.
    ``stderr_fd`` is the standard error of the command; until now ours was unshare's.
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
    """Mount what is private and bring the loopback up; ends the process on failure."""
    for kind, where in REQUIRED_MOUNTS:
        if not mount(kind, where):
            sys.exit(f"sandbox: cannot mount {kind} on {where}")
    for kind, where in OPTIONAL_MOUNTS:
        if not mount(kind, where):
            print(f"sandbox: goes on without {kind} on {where}", file=sys.stderr)
    if run("ip", "link", "set", "lo", "up"):
        sys.exit("sandbox: cannot bring the loopback up")


def mount(kind: str, where: str) -> bool:
    """Whether a file system of that kind is now mounted there, and private to us.

    Private because ``unshare --mount`` made every mount's propagation so.
    """
    if not where.startswith("/sys"):
        os.makedirs(where, exist_ok=True)
    return run("mount", "-t", kind, kind, where) == 0


def run(*argv: str) -> int:
    """Exit status of a short command."""
    pid = os.posix_spawnp(argv[0], argv, os.environ)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def spawn(argv: list[str]) -> int:
    """Start the command, with no signal blocked; its pid."""
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
    """Reap orphans and pass signals on until ``child`` ends; its status as a shell's."""
    while True:
        received = signal.sigwaitinfo(FORWARDED_SIGNALS | {signal.SIGCHLD})
        if received.si_signo == signal.SIGCHLD:
            status = reap(child)
            if status is not None:
                return status if status >= 0 else 128 - status
        elif sent_by_process(received):
            os.kill(child, received.si_signo)


def sent_by_process(received: signal.struct_siginfo) -> bool:
    """Whether kill(2) sent it. If a terminal did, then to the whole foreground group:
    the command has it already (sigaction(2): ``si_code`` of user space is <= 0).
    """
    return received.si_code <= 0


def reap(child: int) -> int | None:
    """Wait for every process that has ended; the exit code of ``child`` if it has."""
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
