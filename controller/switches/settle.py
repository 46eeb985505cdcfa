"""Waits until switches forward nothing by megaflows made before their tables changed.

After a flow-mod and its barrier, Open vSwitch's megaflow cache still forwards as it did
until a revalidator has looked at each of its flows again. ``revalidator/wait``, on
ovs-vswitchd's control socket (JSON-RPC 1.0, as ovs-appctl(8) speaks it), answers when
the next sweep ends (``upcall_unixctl_dump_wait``). That may be one that was under way
when the tables changed, or one that begins half a second later. So we ask for two
sweeps, and have each begin at once: a change of the MAC learning table, which our
pipeline does not use, makes everything be looked at again (``mac_learning_run``).
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

#: A MAC that nobody has, put into the MAC learning table and taken out again.
_UNUSED_MAC = "02:00:00:00:00:00"


class SettleError(RuntimeError):
    """A switch's control socket did not answer, or answered with an error."""


def settle(control_sockets: Mapping[str, str], timeout_s: float) -> None:
    """Return when the switches have settled; they are all waited for at once.

    ``control_sockets``: path of ovs-vswitchd's control socket, by the bridge's name.
    Raises :class:`SettleError` naming the socket.
    """
    deadline = time.monotonic() + timeout_s
    for trigger in (["fdb/add", "{0}", "{0}", "0"], ["fdb/del", "{0}", "0"]):
        _one_round(control_sockets, [*trigger, _UNUSED_MAC], deadline)


def _one_round(
    control_sockets: Mapping[str, str], trigger: Sequence[str], deadline: float
) -> None:
    """Return when each switch has ended a sweep, which ``trigger`` makes it begin."""
    with ExitStack() as stack:
        waits, triggers = [], []
        for bridge, path in control_sockets.items():
            waits.append((path, stack.enter_context(_ask(path, "revalidator/wait"))))
            words = [word.format(bridge) for word in trigger]
            triggers.append((path, stack.enter_context(_ask(path, *words))))
        for path, stream in waits:
            error = _reply(path, stream, deadline)["error"]
            if error is not None:
                raise SettleError(f"{path}: {error}")
        for path, stream in triggers:
            # Before OVS 2.16 there was no such command, and the sweep came later.
            _reply(path, stream, deadline)


def _ask(path: str, method: str, *arguments: str) -> socket.socket:
    """A connection on which a command has been sent; they are served in order."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    request = {"id": 0, "method": method, "params": arguments}
    try:
        stream.connect(path)
        stream.sendall(json.dumps(request).encode())
    except OSError as error:
        stream.close()
        raise SettleError(f"{path}: {error}") from error
    return stream


def _reply(path: str, stream: socket.socket, deadline: float) -> dict[str, Any]:
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
        with suppress(ValueError):
            reply: dict[str, Any] = json.loads(text)
            return reply
