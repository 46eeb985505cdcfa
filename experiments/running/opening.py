"""Waits until clients have opened their connections, for as long as more of them open."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

#: How long none may open, in seconds, before it is said that they do not. A client says
#: that it is ready only when it has all: then it is still busy with its protocol.
STALL_S = 20.0
#: How often progress is looked at, and told.
COUNT_PERIOD_S = 1.0
REPORT_PERIOD_S = 5.0
POLL_S = 0.02


class OpeningStalled(RuntimeError):
    """Connections that did not open; the text says how many did, and of whom."""


@dataclass(frozen=True)
class OpeningProgress:
    """How far clients have come: pure questions, asked again and again.

    ``ready``: a client's name -> whether it has all its connections. ``opened``: how
    many TCP connections the clients' kernels hold by now.
    """

    ready: Callable[[str], bool]
    opened: Callable[[], int]
    total: int


def await_opened(
    clients: Iterable[str],
    opening: OpeningProgress,
    progress: Callable[[str], None],
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Returns once every client is ready.

    Raises :class:`OpeningStalled` when no connection has opened for :data:`STALL_S`: a slow
    machine takes its time, a broken server makes none.
    """
    waiting = list(clients)
    most, grew_at_s = -1, now()
    count_at_s, report_at_s = now(), now() + REPORT_PERIOD_S
    while waiting := [name for name in waiting if not opening.ready(name)]:
        if now() >= count_at_s:
            count_at_s = now() + COUNT_PERIOD_S
            count = opening.opened()
            most, grew_at_s = max(most, count), now() if count > most else grew_at_s
        if now() >= report_at_s:
            report_at_s = now() + REPORT_PERIOD_S
            progress(f"{most} of {opening.total} connections are open")
        if now() - grew_at_s > STALL_S:
            raise OpeningStalled(
                f"{max(most, 0)} of {opening.total} connections opened, and none for "
                f"{STALL_S:g} s; not ready: {', '.join(waiting)}"
            )
        sleep(POLL_S)
