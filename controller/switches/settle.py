"""Waits until no cached flow from before a table change forwards any more.

After a flow-mod and its barrier, Open vSwitch's megaflow cache still forwards as before,
until a revalidator has checked each cached flow. ``revalidator/wait``, on ovs-vswitchd's
control socket (JSON-RPC 1.0, as ovs-appctl(8) uses it), replies at the end of the next
round (``upcall_unixctl_dump_wait``). That round may have started before the tables changed,
or may start half a second later. So we wait for two rounds, and trigger each: a change of
the MAC learning table, which our pipeline does not use, makes the revalidators check
everything (``mac_learning_run``).
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

#: An unused MAC, added to and removed from the MAC learning table as the trigger.
_UNUSED_MAC = "02:00:00:00:00:00"


class SettleError(RuntimeError):
    """A switch's control socket did not answer, or answered with an error."""


def settle(control_sockets: Mapping[str, str], timeout_s: float) -> None:
    """Return when all switches have settled; they are waited for in parallel.

    ``control_sockets``: path of ovs-vswitchd's control socket, by the bridge's name.
    Raises :class:`SettleError` naming the socket.
    """
    deadline = time.monotonic() + timeout_s
    for trigger in (["fdb/add", "{0}", "{0}", "0"], ["fdb/del", "{0}", "0"]):
        _one_round(control_sockets, [*trigger, _UNUSED_MAC], deadline)


def _one_round(
    control_sockets: Mapping[str, str], trigger: Sequence[str], deadline: float
) -> None:
    """Return when each switch has completed a round that ``trigger`` started."""
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
            # OVS before 2.16 has no such command; the round starts later there.
            _reply(path, stream, deadline)


def _ask(path: str, method: str, *arguments: str) -> socket.socket:
    """A connection with a command sent on it; commands are served in order."""
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
    """Read one whole JSON object: the protocol has no other framing."""
    text = b""
    while True:
        try:
            stream.settimeout(max(0.001, deadline - time.monotonic()))
            part = stream.recv(4096)
        except OSError as error:
            raise SettleError(f"{path}: {error}") from error
        if not part:
            raise SettleError(f"{path}: connection closed")
        text += part
        with suppress(ValueError):
            reply: dict[str, Any] = json.loads(text)
            return reply
