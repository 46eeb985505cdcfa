#!/usr/bin/env python3
"""Starts one Python program on many hosts for the price of one start.

``fork_server.py PROGRAM`` loads the program once and forks for each order that comes
over its standard input, a UNIX socket of whole messages (SOCK_SEQPACKET), one JSON
object each: ``{"pid": .., "arguments": [..], "log": ..}``. The child enters the network
and mount namespaces of process ``pid``, sends its output to the end of the file ``log``
and runs the program's ``main(arguments)``. The answer is ``{"pid": ..}`` of the child,
or ``{"error": ..}``. At the end of the orders it ends; its children go on.

An interpreter that starts and imports takes fifty times as long, and its memory is its
own, where forked ones share theirs.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000  # linux/sched.h
_PR_SET_NAME = 15  # linux/prctl.h
#: Longest order, in octets.
ORDER_SIZE = 1 << 16

Main = Callable[[Sequence[str]], int]

_libc = ctypes.CDLL(None, use_errno=True)


def load(program: Path) -> Main:
    """The ``main`` of a program, which is imported but not run."""
    specification = importlib.util.spec_from_file_location(program.stem, program)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    sys.modules[program.stem] = module
    specification.loader.exec_module(module)
    main: Main = module.main
    return main


def serve(orders: socket.socket, name: str, main: Main) -> None:
    """Fork for each order until there are no more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    gc.freeze()  # what a collection would touch could not be shared any more
    while order := orders.recv(ORDER_SIZE):
        wanted = json.loads(order)
        try:
            namespaces = [_namespace(wanted["pid"], kind) for kind in ("net", "mnt")]
        except OSError as error:
            orders.send(json.dumps({"error": str(error)}).encode())
            continue
        child = os.fork()
        if not child:
            orders.close()
            _run(name, main, wanted["arguments"], namespaces, wanted["log"])
        for descriptor in namespaces:
            os.close(descriptor)
        orders.send(json.dumps({"pid": child}).encode())


def _namespace(pid: int, kind: str) -> int:
    return os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def _run(
    name: str, main: Main, arguments: Sequence[str], namespaces: Sequence[int], log: str
) -> None:
    """In the child: become the program; does not return."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        _redirect(log)
        network, mounts = namespaces
        _enter(network, _CLONE_NEWNET)
        _enter(mounts, _CLONE_NEWNS)
        _libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
        status = main(arguments)
    except BaseException as end:
        status = end.code if isinstance(end, SystemExit) else 1  # type: ignore[assignment]
        if not isinstance(end, SystemExit):
            sys.excepthook(type(end), end, end.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


def _redirect(log: str) -> None:
    """Output to the end of the file, no input; opened before the mounts are others."""
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(ours, theirs)
    os.close(output)
    os.close(nothing)


def _enter(namespace: int, kind: int) -> None:
    if _libc.setns(namespace, kind):
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")
    os.close(namespace)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    serve(socket.socket(fileno=os.dup(0)), path.name, load(path))
