#!/usr/bin/env python3
"""Starts one Python program on many hosts by fork.

``fork_server.py PROGRAM`` loads the program once, and forks for each request on standard
input. That is a UNIX socket of type SOCK_SEQPACKET, with one JSON object per message:
``{"pid": .., "arguments": [..], "log": ..}``. The child enters the network and mount
namespaces of process ``pid``, appends its output to the file ``log`` and runs the
program's ``main(arguments)``. The answer is the child's ``{"pid": ..}``, or
``{"error": ..}``. The server ends at end of input. Its children continue.

To start an interpreter with its imports takes fifty times as long, and its memory is not
shared, as that of forked processes is.
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
#: Maximum size of a request, in octets.
REQUEST_SIZE = 1 << 16

Main = Callable[[Sequence[str]], int]

_libc = ctypes.CDLL(None, use_errno=True)


def load(program: Path) -> Main:
    """Import a program without running it. Returns its ``main``."""
    specification = importlib.util.spec_from_file_location(program.stem, program)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    sys.modules[program.stem] = module
    specification.loader.exec_module(module)
    main: Main = module.main
    return main


def serve(requests: socket.socket, name: str, main: Main) -> None:
    """Fork for each request until end of input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are not waited for
    gc.freeze()  # garbage collection would unshare memory pages
    while request := requests.recv(REQUEST_SIZE):
        options = json.loads(request)
        try:
            namespaces = [_namespace(options["pid"], kind) for kind in ("net", "mnt")]
        except OSError as error:
            requests.send(json.dumps({"error": str(error)}).encode())
            continue
        child = os.fork()
        if not child:
            requests.close()
            _run(name, main, options["arguments"], namespaces, options["log"])
        for descriptor in namespaces:
            os.close(descriptor)
        requests.send(json.dumps({"pid": child}).encode())


def _namespace(pid: int, kind: str) -> int:
    return os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def _run(
    name: str, main: Main, arguments: Sequence[str], namespaces: Sequence[int], log: str
) -> None:
    """In the child: run the program. Does not return."""
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
    """Append output to the file, no input. Open it before the mount namespace changes."""
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(output)
    os.close(null)


def _enter(namespace: int, kind: int) -> None:
    if _libc.setns(namespace, kind):
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")
    os.close(namespace)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    serve(socket.socket(fileno=os.dup(0)), path.name, load(path))
