"""The reference guard on many nodes: one ``nodes.guard.guard_scapy`` process for each."""

from __future__ import annotations

import contextlib
import importlib.util
import select
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodes.guard.guard import GuardCounters, GuardError
from nodes.guard.guard_board import GuardBoard
from nodes.guard.guard_silence import lift_silence, silence
from nodes.guard.verdict import Mode
from topologies.domain.site import Site

#: Generous: on a machine with few cores, many processes import scapy at the same time.
_START_DEADLINE_S = 60.0
_STOP_DEADLINE_S = 5.0


@dataclass
class _Post:
    """A guarded site: its board, and the process that guards it now."""

    site: Site
    board: GuardBoard
    process: subprocess.Popen[str]


class ScapyGuard:
    """A process per node; see :class:`~nodes.guard.guard.Guard` for the methods.

    ``workdir`` takes a small file for each node (:mod:`nodes.guard.guard_board`).
    """

    name = "scapy"
    check_cost_s = 0.0001

    def __init__(self, workdir: Path) -> None:
        self._workdir = workdir
        self._posts: dict[str, _Post] = {}

    def attach(self, sites: Sequence[Site], mode: Mode) -> None:
        """Start a guard process on every site, all at once, and wait for each."""
        for post in self._posts.values():
            post.board.mode = mode
        fresh = [self._post(site, mode) for site in sites]
        for post in fresh:
            _wait_until_ready(post)

    def detach(self, name: str) -> None:
        """Stop the guard process of that node and remove its packet filter rules."""
        post = self._posts.pop(name)
        _stop(post.process)
        if Path(f"/proc/{post.site.pid}/ns/net").exists():
            lift_silence(_enter(post.site))

    def counters(self) -> dict[str, GuardCounters]:
        """Node name -> its counters, from the processes' boards."""
        return {name: post.board.counters() for name, post in self._posts.items()}

    def check(self) -> list[str]:
        """Start another process wherever one has died. It goes on with its counters."""
        dead = [
            post for post in self._posts.values() if post.process.poll() is not None
        ]
        for post in dead:
            _stop(post.process)
            post.process = self._start(post.site)
        for post in dead:
            _wait_until_ready(post)
        return [post.site.name for post in dead]

    def close(self) -> None:
        """Detach from every node."""
        for post in self._posts.values():
            post.process.terminate()  # all at once; detach() waits for each
        for name in list(self._posts):
            self.detach(name)

    def process_of(self, name: str) -> int:
        """The id of the process that guards the node of that name."""
        return self._posts[name].process.pid

    def _post(self, site: Site, mode: Mode) -> _Post:
        if site.name in self._posts:
            self.detach(site.name)
        board = GuardBoard(self._board_path(site))
        board.clear()
        board.mode = mode
        post = _Post(site, board, self._start(site))
        self._posts[site.name] = post
        return post

    def _start(self, site: Site) -> subprocess.Popen[str]:
        program = [sys.executable, "-m", "nodes.guard.guard_scapy"]
        options = ["--interface", site.interface, "--mac", site.mac]
        board = ["--board", str(self._board_path(site))]
        return subprocess.Popen(
            [*_enter(site), *program, *options, *board],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )

    def _board_path(self, site: Site) -> Path:
        return self._workdir / f"guard-{site.name}"


def lacks() -> str | None:
    """What this machine lacks for the reference guard; None if nothing."""
    missing = [tool for tool in ("nft", "nsenter") if not shutil.which(tool)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if importlib.util.find_spec("scapy") is None:
        return "the Python package scapy is not installed"
    try:
        silence("lo", ["unshare", "--net"])
    except GuardError as error:
        return str(error)
    return None


def _enter(site: Site) -> list[str]:
    return ["nsenter", f"--net=/proc/{site.pid}/ns/net"]


def _wait_until_ready(post: _Post) -> None:
    """Return at the line that the process prints once it judges segments."""
    assert post.process.stdout
    readable, _, _ = select.select([post.process.stdout], [], [], _START_DEADLINE_S)
    if not readable or not post.process.stdout.readline():
        post.process.kill()
        status = post.process.wait()
        raise GuardError(f"guard of {post.site.name} did not start: status {status}")


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_DEADLINE_S)
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()
