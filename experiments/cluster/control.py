"""How a cluster in the background is spoken to: JSON lines over a UNIX socket.

One request, one reply a connection. A request is ``{"op": NAME, ...}``; a reply is
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

#: Answers one request's arguments with the keys of its reply.
Operation = Callable[..., dict[str, Any]]

#: What an operation may raise to say that the request was wrong: exit status 2.
INPUT_ERRORS = (ValueError, KeyError)


class ControlError(RuntimeError):
    """A request that failed; ``status`` is the exit status it deserves."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
    operations: Mapping[str, Operation]

    def server_bind(self) -> None:
        """Orders are root's to give: the cluster's processes are."""
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
        operation = operations[request.pop("op")]
        return {"ok": True, **operation(**request)}
    except INPUT_ERRORS as error:
        return {"ok": False, "error": str(error), "status": 2}
    except Exception as error:  # noqa: BLE001
        # The cluster must outlive whatever goes wrong in one request.
        traceback.print_exc()
        return {"ok": False, "error": f"{type(error).__name__}: {error}", "status": 1}


def serve(path: Path, operations: Mapping[str, Operation]) -> _Server:
    """Answers requests on that socket from threads of its own until ``shutdown()``."""
    path.unlink(missing_ok=True)
    server = _Server(str(path), _Handler)
    server.operations = operations
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def request(path: Path, op: str, timeout_s: float = 120.0, **args: Any) -> Any:
    """The reply to one request, as an object.

    Raises :class:`ControlError` where the operation failed, and ``OSError`` where
    nobody answers.
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
