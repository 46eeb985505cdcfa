"""Waits until clients have opened their connections, as long as the number grows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

#: Seconds without a new connection or session after which opening has failed. A client is
#: ready only when it has all its sessions; its protocol may take longer than TCP.
STALL_S = 20.0
#: How often connections are counted, and how often progress is reported.
COUNT_PERIOD_S = 1.0
REPORT_PERIOD_S = 5.0
POLL_S = 0.02


class OpeningStalled(RuntimeError):
    """Connections did not open. The text gives their number and the clients, or the
    client that has ended."""


@dataclass(frozen=True)
class OpeningProgress:
    """Functions that report the progress of the clients.

    ``ready``: client name -> whether it has all its connections. ``opened``: the number
    of TCP connections in the clients' kernels now. ``sessions``: how many of them the
    clients can use. ``ended``: client name -> how it has ended; None while it runs.
    ``trouble``: client name -> the last error that it met; None without one.
    """

    ready: Callable[[str], bool]
    opened: Callable[[], int]
    sessions: Callable[[], int]
    total: int
    ended: Callable[[str], str | None] = lambda _name: None
    trouble: Callable[[str], str | None] = lambda _name: None


def await_opened(
    clients: Iterable[str],
    opening: OpeningProgress,
    progress: Callable[[str], None],
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Returns when every client is ready.

    Raises :class:`OpeningStalled` when a client has ended that was not ready, and when no
    connection has opened, and no session, for :data:`STALL_S`.
    There is no other deadline, since a slow machine needs more time.
    """
    waiting = list(clients)
    most, usable, grew_at_s = 0, 0, now()
    count_at_s, report_at_s = now(), now() + REPORT_PERIOD_S
    while waiting := [name for name in waiting if not opening.ready(name)]:
        for name in waiting:
            if (how := opening.ended(name)) and not opening.ready(name):
                raise OpeningStalled(
                    f"the client on {name} ended before its connections were open: {how}"
                )
        if now() >= count_at_s:
            count_at_s = now() + COUNT_PERIOD_S
            count, sessions = opening.opened(), opening.sessions()
            if count > most or sessions > usable:
                grew_at_s = now()
            most, usable = max(most, count), max(usable, sessions)
        if now() >= report_at_s:
            report_at_s = now() + REPORT_PERIOD_S
            progress(f"{most} of {opening.total} connections are open, {usable} in use")
        if now() - grew_at_s > STALL_S:
            said = [
                f"{name}: {told}" for name in waiting if (told := opening.trouble(name))
            ]
            raise OpeningStalled(
                f"{most} of {opening.total} connections opened, {usable} in use, and "
                f"nothing new for {STALL_S:g} s; not ready: {', '.join(waiting)}"
                + "".join(f"\n  last error of {each}" for each in said)
            )
        sleep(POLL_S)
