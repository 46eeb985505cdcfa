"""The benchmark's sender, over loopback."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading

from experiments.bench.measure.programs import bulk_source


def receive_all(server: socket.socket) -> None:
    """Reads a connection until it ends."""
    connection, _ = server.accept()
    with connection, contextlib.suppress(ConnectionError):
        while connection.recv(1 << 20):
            pass


def test_a_source_port_can_be_used_again_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("", 0))
        own = unused.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for _ in range(3):
            receiver = threading.Thread(target=receive_all, args=(server,), daemon=True)
            receiver.start()
            command = [sys.executable, bulk_source.__file__, f"--port={port}"]
            with subprocess.Popen(
                [*command, f"--to={own}@127.0.0.1"], stdout=subprocess.PIPE, text=True
            ) as source:
                assert source.stdout
                try:
                    assert json.loads(source.stdout.readline()) == {"connected": 1}
                finally:
                    source.kill()
            receiver.join()
