#!/usr/bin/env python3
"""Serves backing files by iSCSI: starts a child that configures tgtd, then runs tgtd."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ISCSI_PORT = 3260

#: Traffic patterns that the protocol does not support, with the reason.
ISCSI_UNSUPPORTED: Mapping[str, str] = {
    "half-closed": "an iSCSI target closes a connection when the client shuts down its side",
}

TARGET_NAME = "iqn.2024-01.resetbed:store"
#: tgtd needs an initial portal: this one is on loopback. The real portals are opened
#: last, so clients can only connect to a complete target.
FIRST_PORTAL = "portal=127.0.0.1:3261"
PORTALS = (f"portal=0.0.0.0:{ISCSI_PORT}", f"portal=[::]:{ISCSI_PORT}")
ANSWER_DEADLINE_S = 20.0
POLL_S = 0.02


class TargetError(RuntimeError):
    """tgtd could not be configured. The text is tgtadm's."""


def configuration(files: Sequence[Path]) -> list[list[str]]:
    """The calls of tgtadm(8) that create a target, in order. Units count from 1."""
    target = ["--mode", "target", "--tid", "1"]
    # pread(2) and pwrite(2): all nodes share one page cache.
    unit = ["--mode", "logicalunit", "--tid", "1", "--op", "new", "--bstype", "rdwr"]
    return [
        [*target, "--op", "new", "--targetname", TARGET_NAME],
        *(
            [*unit, "--lun", str(number), "--backing-store", str(file)]
            for number, file in enumerate(files, start=1)
        ),
        [*target, "--op", "bind", "--initiator-address", "ALL"],
        *(["--mode", "portal", "--op", "new", "--param", at] for at in PORTALS),
    ]


def configure(files: Sequence[Path]) -> None:
    """Wait until tgtd answers, then configure it. Raises :class:`TargetError`."""
    deadline = time.monotonic() + ANSWER_DEADLINE_S
    while (error := _tgtadm(["--mode", "target", "--op", "show"])) is not None:
        if time.monotonic() > deadline:
            raise TargetError(error)
        time.sleep(POLL_S)
    for arguments in configuration(files):
        if (error := _tgtadm(arguments)) is not None:
            raise TargetError(f"{' '.join(arguments)}: {error}")


def _tgtadm(arguments: list[str]) -> str | None:
    """One call of tgtadm. Returns None, or the error message."""
    done = subprocess.run(
        ["tgtadm", "--lld", "iscsi", *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
    return (
        done.stderr.strip() or f"status {done.returncode}" if done.returncode else None
    )


def _configure_in_child(files: Sequence[Path], tgtd: int) -> None:
    """Configure tgtd from another process. If that fails, tgtd is killed."""
    if os.fork():
        os._exit(0)  # tgtd waits for no child, so process 1 must reap the grandchild
    try:
        configure(files)
    except (TargetError, OSError) as error:
        print(f"iscsi_server.py: {error}", file=sys.stderr, flush=True)
        os.kill(tgtd, signal.SIGKILL)  # tgtd ignores SIGTERM while it has a target
    os._exit(0)


def main(argv: list[str]) -> None:
    """Run tgtd in the foreground until it is killed. It ignores SIGTERM."""
    parser = argparse.ArgumentParser(prog="iscsi_server.py", description=__doc__)
    parser.add_argument(
        "--file",
        type=Path,
        nargs="+",
        required=True,
        help="the backing files, one for each logical unit",
    )
    parser.add_argument(
        "--control", required=True, help="prefix of the control socket's path"
    )
    parser.add_argument("--nop-interval-s", type=int, help="ask the initiator so often")
    parser.add_argument("--nop-count", type=int, help="NOP-In that may stay unanswered")
    args = parser.parse_args(argv)
    tgtd = os.getpid()
    os.environ["TGT_IPC_SOCKET"] = f"{args.control}-{tgtd}"
    child = os.fork()
    if not child:
        _configure_in_child(args.file, tgtd)
    os.waitpid(child, 0)
    # One thread for each unit instead of 16, since a cluster has many nodes.
    asking = (("nop_interval", args.nop_interval_s), ("nop_count", args.nop_count))
    given = [f"{key}={value}" for key, value in asking if value is not None]
    os.execvp(
        "tgtd", ["tgtd", "-f", "-t", "1", "--iscsi", ",".join((FIRST_PORTAL, *given))]
    )


if __name__ == "__main__":
    main(sys.argv[1:])
