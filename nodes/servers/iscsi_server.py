#!/usr/bin/env python3
"""Serves a backing file by iSCSI: becomes tgtd, once a child is there to configure it."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

ISCSI_PORT = 3260

#: Patterns that the protocol cannot follow, and why.
ISCSI_REFUSES: Mapping[str, str] = {
    "half-closed": "an iSCSI target ends a connection whose client shut its side down",
}

TARGET_NAME = "iqn.2024-01.resetbed:store"
#: tgtd wants a portal to begin with. Nobody else gets at this one, and the real ones
#: are opened last: who can connect finds a target that is whole.
FIRST_PORTAL = "portal=127.0.0.1:3261"
PORTALS = (f"portal=0.0.0.0:{ISCSI_PORT}", f"portal=[::]:{ISCSI_PORT}")
ANSWER_DEADLINE_S = 20.0
POLL_S = 0.02


class TargetError(RuntimeError):
    """tgtd refused to be configured; the text is tgtadm's."""


def configuration(file: Path) -> list[list[str]]:
    """The calls of tgtadm(8) that make a target of ``file``, in their order."""
    target = ["--mode", "target", "--tid", "1"]
    unit = ["--mode", "logicalunit", "--tid", "1", "--lun", "1"]
    return [
        [*target, "--op", "new", "--targetname", TARGET_NAME],
        # pread(2) and pwrite(2): one page cache is behind all nodes.
        [*unit, "--op", "new", "--backing-store", str(file), "--bstype", "rdwr"],
        [*target, "--op", "bind", "--initiator-address", "ALL"],
        *(["--mode", "portal", "--op", "new", "--param", at] for at in PORTALS),
    ]


def configure(file: Path) -> None:
    """Wait until tgtd answers and configure it. Raises :class:`TargetError`."""
    deadline = time.monotonic() + ANSWER_DEADLINE_S
    while (said := _tgtadm(["--mode", "target", "--op", "show"])) is not None:
        if time.monotonic() > deadline:
            raise TargetError(said)
        time.sleep(POLL_S)
    for words in configuration(file):
        if (said := _tgtadm(words)) is not None:
            raise TargetError(f"{' '.join(words)}: {said}")


def _tgtadm(words: list[str]) -> str | None:
    """One call; None if it went well, else what tgtadm said."""
    done = subprocess.run(
        ["tgtadm", "--lld", "iscsi", *words],
        check=False,
        capture_output=True,
        text=True,
    )
    return (
        done.stderr.strip() or f"status {done.returncode}" if done.returncode else None
    )


def _configure_from_aside(file: Path, tgtd: int) -> None:
    """In a process of its own: a target that is not whole is ended, not left so."""
    if os.fork():
        os._exit(0)  # tgtd waits for no child: process 1 is to reap the grandchild
    try:
        configure(file)
    except (TargetError, OSError) as error:
        print(f"iscsi_server.py: {error}", file=sys.stderr, flush=True)
        os.kill(tgtd, signal.SIGKILL)  # with a target, SIGTERM is ignored
    os._exit(0)


def main(argv: list[str]) -> None:
    """Become tgtd, in the foreground, until it is killed: it takes no heed of SIGTERM."""
    parser = argparse.ArgumentParser(prog="iscsi_server.py", description=__doc__)
    parser.add_argument("--file", type=Path, required=True, help="the backing file")
    parser.add_argument(
        "--control", required=True, help="beginning of the control socket's path"
    )
    args = parser.parse_args(argv)
    tgtd = os.getpid()
    os.environ["TGT_IPC_SOCKET"] = f"{args.control}-{tgtd}"
    aside = os.fork()
    if not aside:
        _configure_from_aside(args.file, tgtd)
    os.waitpid(aside, 0)
    # One thread for the unit instead of 16: a cluster has many nodes.
    os.execvp("tgtd", ["tgtd", "-f", "-t", "1", "--iscsi", FIRST_PORTAL])


if __name__ == "__main__":
    main(sys.argv[1:])
