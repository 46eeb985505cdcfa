"""The control socket of a running cluster: JSON lines over a UNIX socket.

Each connection carries one request and one reply. A request is ``{"op": NAME, ...}``; a reply is
``{"ok": true, ...}`` or ``{"ok": false, "error": TEXT, "status": EXIT_STATUS}``.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from topologies.private import bind_private

#: Takes the arguments of a request; returns the keys of its reply.
Operation = Callable[..., dict[str, Any]]

#: Errors by which an operation reports bad input: exit status 2.
INPUT_ERRORS = (ValueError, KeyError)


class ControlError(RuntimeError):
    """A request that failed. ``status``: the exit status for the command."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class ControlServer(socketserver.ThreadingUnixStreamServer):
    """Serves requests until ``shutdown()``."""

    daemon_threads = True
    request_queue_size = 64
    operations: Mapping[str, Operation]

    def server_bind(self) -> None:
        """Only root may send requests, since the cluster's processes run as root."""
        bind_private(self.socket, str(self.server_address))


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        line = self.rfile.readline()
        if line:
            reply = handle_request(self.server.operations, line)  # type: ignore[attr-defined]
            self.wfile.write(json.dumps(reply).encode() + b"\n")


def handle_request(operations: Mapping[str, Operation], line: bytes) -> dict[str, Any]:
    """The reply to one request line."""
    try:
        request = json.loads(line)
        operation = _find(operations, request.pop("op"))
        return {"ok": True, **operation(**request)}
    except INPUT_ERRORS as error:
        return {"ok": False, "error": str(error), "status": 2}
    except Exception as error:  # noqa: BLE001
        # The cluster must survive any error in one request.
        traceback.print_exc()
        return {"ok": False, "error": f"{type(error).__name__}: {error}", "status": 1}


def _find(operations: Mapping[str, Operation], name: str) -> Operation:
    if name not in operations:
        known = ", ".join(operations)
        raise ValueError(f"no operation {name!r} here; there are: {known}")
    return operations[name]


def serve(path: Path, operations: Mapping[str, Operation]) -> ControlServer:
    """Serves requests on that socket, in separate threads, until ``shutdown()``."""
    path.unlink(missing_ok=True)
    server = ControlServer(str(path), _Handler)
    server.operations = operations
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def request(path: Path, op: str, timeout_s: float = 120.0, **args: Any) -> Any:
    """Sends one request; returns the reply.

    Raises :class:`ControlError` if the operation failed, and ``OSError`` if no cluster
    answers.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
        sock.connect(str(path))
        sock.sendall(json.dumps({"op": op, **args}).encode() + b"\n")
        with sock.makefile("rb") as stream:
            line = stream.readline()
    if not line:
        raise ConnectionError("the cluster ended before it answered")
    reply = json.loads(line)
    if not reply.pop("ok"):
        raise ControlError(reply["error"], reply["status"])
    return reply
