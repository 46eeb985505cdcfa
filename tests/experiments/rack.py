"""Machines in network namespaces of their own, and commands on them.

One namespace stands for the machine with the scheduler; each worker's is joined to it by a
veth pair. Nothing of the host's network is touched: all of it goes with its processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.system.commands import eventually

ROOT = Path(__file__).resolve().parents[2]
HEAD = "head"
_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
#: The command line, with fake runs in place of real ones.
FAKE = """
import sys
from experiments.sweep import many_machines, runner
many_machines.PROGRAM = runner.PROGRAM = "tests.experiments.fake_run"
from experiments.commands.cli import main
sys.exit(main())
"""


class Rack:
    """Namespaces by name, and the commands that run in them."""

    def __init__(self, names: Sequence[str], scratch: Path) -> None:
        self.scratch = scratch
        self._holders: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: list[subprocess.Popen[bytes]] = []
        for name in (HEAD, *names):
            hold = (*_DIE_WITH_PARENT, "unshare", "--net", "sleep", "infinity")
            self._holders[name] = subprocess.Popen(hold)
            eventually("a namespace", partial(self._has_own, name))
            self.ip(name, "link set lo up")
        for number, name in enumerate(names):
            peer = f"peer name eth0 netns {self._holders[name].pid}"
            self.ip(HEAD, f"link add {name} type veth {peer}")
            for where, device, end in ((HEAD, name, 1), (name, "eth0", 2)):
                self.ip(where, f"address add 10.77.{number}.{end}/24 dev {device}")
                self.ip(where, f"link set {device} up")
            self.ip(name, f"route add default via 10.77.{number}.1")

    def ip(self, name: str, command: str) -> None:
        """``ip COMMAND`` on a machine."""
        subprocess.run([*self._enter(name), "ip", *command.split()], check=True)

    def start(
        self, name: str, log: str, *arguments: str, code: str = FAKE
    ) -> subprocess.Popen[bytes]:
        """A command of the testbed on a machine; its output goes to that log."""
        with self.log(log).open("ab") as output:
            command = subprocess.Popen(
                [*_DIE_WITH_PARENT, *self._enter(name), sys.executable, "-c", code]
                + list(arguments),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._commands.append(command)
        return command

    def log(self, name: str) -> Path:
        """What the commands with that log have said."""
        return self.scratch / f"{name}.log"

    def said(self, name: str) -> str:
        """The text of a log."""
        path = self.log(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self) -> None:
        """Ends all commands and namespaces."""
        for process in (*self._commands, *self._holders.values()):
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()

    def _enter(self, name: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._holders[name].pid}/ns/net"]

    def _has_own(self, name: str) -> bool:
        pid = self._holders[name].pid
        own = os.readlink("/proc/self/ns/net")
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return (
            command.startswith(b"sleep") and os.readlink(f"/proc/{pid}/ns/net") != own
        )


@contextmanager
def rack(names: Sequence[str], scratch: Path) -> Iterator[Rack]:
    """Machines of those names; gone at the end."""
    made = Rack(names, scratch)
    try:
        yield made
    finally:
        made.close()
