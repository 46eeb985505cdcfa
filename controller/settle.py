"""Waits until switches forward nothing by megaflows made before their tables changed.

After a flow-mod and its barrier, Open vSwitch's megaflow cache still forwards as it did
until a revalidator has looked at each of its flows again. ``revalidator/wait`` of
ovs-vswitchd's control socket (JSON-RPC 1.0, as ovs-appctl(8) speaks it) answers when
a sweep ends. A sweep under way when the tables changed is followed by another at once.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable
from contextlib import ExitStack

_REQUEST = json.dumps({"id": 0, "method": "revalidator/wait", "params": []}).encode()


class SettleError(RuntimeError):
    """A switch's control socket did not answer, or answered with an error."""


def settle(sockets: Iterable[str], timeout_s: float) -> None:
    """Return when each of the switches with those control sockets has settled.

    They are asked all at once. Raises :class:`SettleError` naming the socket.
    """
    deadline = time.monotonic() + timeout_s
    with ExitStack() as stack:
        asked = [(path, stack.enter_context(_ask(path))) for path in sockets]
        for path, stream in asked:
            _await_reply(path, stream, deadline)


def _ask(path: str) -> socket.socket:
    """A connection on which the question has been sent."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.connect(path)
        stream.sendall(_REQUEST)
    except OSError as error:
        stream.close()
        raise SettleError(f"{path}: {error}") from error
    return stream


def _await_reply(path: str, stream: socket.socket, deadline: float) -> None:
    """Read until one whole JSON object is there: the protocol has no other framing."""
    text = b""
    while True:
        try:
            stream.settimeout(max(0.001, deadline - time.monotonic()))
            part = stream.recv(4096)
        except OSError as error:
            raise SettleError(f"{path}: {error}") from error
        if not part:
            raise SettleError(f"{path}: hung up")
        text += part
        try:
            reply = json.loads(text)
        except ValueError:
            continue
        if reply["error"] is not None:
            raise SettleError(f"{path}: {reply['error']}")
        return
