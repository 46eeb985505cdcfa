"""A client on a host of a cluster that holds connections and does as it is told."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import IO

from tests.system.commands import ROOT, Background

#: Opens connections, says "ready", and then takes orders, one a line: "abort" closes all
#: with a reset, "echo" tells how many of them still answer.
_CODE = """
import socket, struct, sys
vip, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
held = [socket.create_connection((vip, port)) for _ in range(count)]
for one in held:
    one.settimeout(5)
    one.sendall(b"ping")
    assert one.recv(4) == b"ping"
def abort():
    for one in held:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()
    return "aborted"
def echo():
    alive = 0
    for one in held:
        try:
            one.sendall(b"ping")
            alive += one.recv(4) == b"ping"
        except OSError:
            pass
    return alive
print("ready", flush=True)
for line in sys.stdin:
    print(globals()[line.strip()](), flush=True)
"""


@dataclass
class HeldConnections:
    """The client's process."""

    process: subprocess.Popen[str]

    @classmethod
    def open(
        cls, cluster: Background, host: str, vip: str, port: int, count: int
    ) -> HeldConnections:
        """Opens them all, each with one echo."""
        command = [sys.executable, "-c", _CODE, vip, str(port), str(count)]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "experiments", "exec"),
                *("--name", cluster.name, host, "--", *command),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        held = cls(process)
        assert held.answer() == "ready"
        return held

    def order(self, word: str) -> str:
        """Does it; returns the client's answer."""
        self._pipe(self.process.stdin).write(f"{word}\n")
        self._pipe(self.process.stdin).flush()
        return self.answer()

    def answer(self) -> str:
        """The client's next line."""
        return self._pipe(self.process.stdout).readline().strip()

    def kill(self) -> None:
        """Kills it, as by a loss of power: its host's link must be down before."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            self._pipe(pipe).close()

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe
