"""A process with a network namespace of its own, in which packets are tried."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[3]


class FuzzProcess:
    """Plays cases in another process, by a line of JSON for each call."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["unshare", "--net", "--mount", sys.executable, "-m", __name__],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def fuzz(
        self, seed: int, count: int, mutation: str | None = None
    ) -> tuple[int, list[str]]:
        """How many cases were played, and how the guard differed in some of them."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([seed, count, mutation]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the process has ended; see its standard error"
        cases, differences = json.loads(line)
        return cases, differences

    def close(self) -> None:
        """End it, and its namespace with it."""
        self._process.kill()
        self._process.communicate()


def _serve() -> None:
    from tests.nodes.fuzz.fuzz_bench import Bench

    bench = Bench()
    for line in sys.stdin:
        report = bench.fuzz(*json.loads(line))
        print(json.dumps([report.cases, report.differences]), flush=True)


if __name__ == "__main__":
    _serve()
