"""A server that says what a test gives it to say, as ``watch``'s server does."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import experiments
from tests.experiments.watch.made_up_views import View

PAGE = Path(experiments.__file__).parent / "watch" / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_LADDER = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="700" height="220">'
    '<rect width="700" height="220" fill="#f6f8fa"/><path d="M80 40v160M300 40v160" '
    'stroke="#818b98"/><text x="60" y="30">h1</text><text x="280" y="30">c1n1</text></svg>'
)


class ScriptedServer:
    """Serves the page; ``say`` sends a view to all who listen.

    ``asked``: the events that the page asked for. ``refusal``: status and error of the
    answer to the next one, or None. ``knows_page``: without it, all is answered by 403.
    """

    def __init__(self, history: list[View], port: int = 0) -> None:
        self.history = history
        self.asked: list[dict[str, str]] = []
        self.refusal: tuple[int, str] | None = None
        self.knows_page = True
        self._listeners: list[queue.Queue[str | None]] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.scripted = self
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def say(self, *views: View) -> None:
        """Sends each view, and remembers it."""
        with self._lock:
            for view in views:
                self.history.append(view)
                for listener in self._listeners:
                    listener.put(_message("view", view, view["serial"]))

    def drop(self) -> None:
        """Ends the connections of all who listen."""
        with self._lock:
            for listener in self._listeners:
                listener.put(None)

    def close(self) -> None:
        """Ends as a killed server does: its connections end, its port refuses."""
        self._server.shutdown()
        self._server.server_close()
        self.drop()
        self._server.cut_all()
        self._thread.join()

    def listen(self) -> queue.Queue[str | None]:
        """What one listener is to be sent; None at the end."""
        messages: queue.Queue[str | None] = queue.Queue()
        with self._lock:
            last = self.history[-1]["serial"] if self.history else 0
            messages.put(_message("history", self.history, last))
            self._listeners.append(messages)
        return messages

    def forget(self, messages: queue.Queue[str | None]) -> None:
        """The listener has gone."""
        with self._lock:
            self._listeners.remove(messages)

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.02)


class _Server(ThreadingHTTPServer):
    scripted: ScriptedServer
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._accepted: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, Any]:
        """Remembers each connection: browsers keep them for their next requests."""
        connection, client = super().get_request()
        self._accepted.append(connection)
        return connection, client

    def cut_all(self) -> None:
        """Ends every connection, as a killed process' kernel does."""
        for connection in self._accepted:
            with contextlib.suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self.server.scripted.knows_page:
            self._send(HTTPStatus.FORBIDDEN, "text/plain", "no token")
        elif self.path == "/":
            self._send_file("index.html")
        elif self.path.startswith("/page/"):
            self._send_file(self.path.removeprefix("/page/"))
        elif self.path == "/stream":
            self._stream()
        elif self.path.startswith("/ladder/"):
            self._send(HTTPStatus.OK, _TYPES[".svg"], _LADDER)
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", "")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        scripted = self.server.scripted
        scripted.asked.append(json.loads(body))
        status, error = scripted.refusal or (200, "")
        answer = {"error": error} if error else {"ok": True}
        self._send(status, "application/json", json.dumps(answer))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests' output is for tests."""

    def _stream(self) -> None:
        messages = self.server.scripted.listen()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            while (message := messages.get()) is not None:
                self.wfile.write(message.encode())
        finally:
            self.server.scripted.forget(messages)

    def _send_file(self, name: str) -> None:
        path = PAGE / name
        if path.parent != PAGE or not path.is_file():
            self._send(HTTPStatus.NOT_FOUND, "text/plain", "")
            return
        self._send(HTTPStatus.OK, _TYPES[path.suffix], path.read_text("utf-8"))

    def _send(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", "default-src 'self'")
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()
        self.wfile.write(body)


def _message(event: str, data: Any, serial: int) -> str:
    return f"event: {event}\nid: {serial}\ndata: {json.dumps(data)}\n\n"
