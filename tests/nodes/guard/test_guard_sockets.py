"""What the reference guard does when the kernel does not take its frame."""

from __future__ import annotations

import errno
from unittest.mock import MagicMock

import pytest

from nodes.guard.guard_scapy import GuardSockets
from nodes.guard.segment import Flags, Segment

SEGMENT = Segment("10.0.0.1", "10.1.0.1", 7777, 20000, 1, 2, Flags.RST)
MAC = "02:00:00:00:00:02"


def sockets(number: int) -> GuardSockets:
    """Sockets whose interface answers with that error; nothing is opened."""
    made = GuardSockets.__new__(GuardSockets)
    made._tap = MagicMock(send=MagicMock(side_effect=OSError(number, "")))
    return made


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENETDOWN])
def test_a_frame_that_is_lost_does_not_end_the_guard(number: int) -> None:
    """A full queue, a packet filter, an interface that is down."""
    tap = sockets(number)
    tap.send(SEGMENT, MAC, MAC)
    tap._tap.send.assert_called_once()  # type: ignore[attr-defined]


def test_another_error_does() -> None:
    with pytest.raises(OSError):
        sockets(errno.EBADF).send(SEGMENT, MAC, MAC)
