"""What links do to frames: rate, delay and loss, as commands of tc(8); pure.

Each host's end of its link is shaped, in the host's own namespace: a frame meets its
sender's options once, whichever way it goes, so a round trip takes twice the delay. The
switches' ends are left alone: Open vSwitch manages the queueing of its ports itself, and
sends to all of them by one socket, where frames that wait for one port hold up those of
the others. So a host receives as fast as others send.

The queueing discipline is the interface's root, ``1:``. The guard's hook, clsact, is
beside it (``ffff:``) and neither knows of the other: what the guard answers, and what it
lets pass, waits in the queue like everything that the host sends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

#: What may leave at once, in ms of the rate: less, and the kernel's timers would set the
#: rate; more, and short transfers would not meet it.
BURST_MS = 1.0
#: But never less than some full frames: a bucket smaller than one frame passes none.
MIN_BURST_OCTETS = 10 * 1514
#: How long a frame may wait for its turn; tbf drops what would wait longer (tc-tbf(8)).
QUEUE_MS = 50.0
#: Frames on their way that netem remembers. With its default of 1000 a fast link with a
#: delay would lose more than it is told to.
NETEM_FRAMES = 100_000

#: What is less, but not 0, is finer than tc and the kernel's timers can tell from 0.
MIN_VALUES = {"rate_mbit": 1e-3, "delay_ms": 1e-3, "loss_percent": 1e-6}

_BITS_IN_MBIT = 1_000_000


class LinkOptionsError(ValueError):
    """Options of a link that no link can have; the text names the key."""


@dataclass(frozen=True)
class LinkOptions:
    """What a host's end of its link does to what the host sends; None or 0: nothing.

    ``rate_mbit``: at most so many megabits (10^6) in a second. ``delay_ms``: every frame
    arrives later by that. ``loss_percent``: so many of a hundred frames, by chance and
    each for itself, never arrive; at both ends together, a round trip meets it twice.
    """

    rate_mbit: float | None = None
    delay_ms: float | None = None
    loss_percent: float | None = None

    def __post_init__(self) -> None:
        """Raises :class:`LinkOptionsError` for a value out of range."""
        for name, value in asdict(self).items():
            if value is not None and not 0 <= value < math.inf:
                raise LinkOptionsError(f"{name}: must not be below 0, but is {value:g}")
            if value and value < MIN_VALUES[name]:
                raise LinkOptionsError(
                    f"{name}: {value:g} is below the least, {MIN_VALUES[name]:g}"
                )
        if self.rate_mbit == 0:
            raise LinkOptionsError(
                "rate_mbit: must be above 0; leave it out for no limit"
            )
        if (self.loss_percent or 0) >= 100:
            raise LinkOptionsError(
                "loss_percent: must be below 100, else nothing arrives"
            )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LinkOptions:
        """The options that :meth:`to_json` described. Raises :class:`LinkOptionsError`."""
        return cls(**data)

    def to_json(self) -> dict[str, float | None]:
        """Plain JSON of these options."""
        return asdict(self)

    def required_qdiscs(self) -> dict[str, str]:
        """The queueing disciplines that these options need: kind -> the options that need it."""
        shaped = [("delay_ms", self.delay_ms), ("loss_percent", self.loss_percent)]
        disturbed = " and ".join(name for name, value in shaped if value)
        needed = {"netem": disturbed} if disturbed else {}
        return needed | ({"tbf": "rate_mbit"} if self.rate_mbit else {})

    def tc_commands(self, interface: str) -> Iterator[str]:
        """The commands of tc(8) for that interface; they may be given again.

        Where there are both, the rate's is within netem's (tc-netem(8), examples).
        """
        place = "root handle 1:"
        if "netem" in self.required_qdiscs():
            yield f"qdisc replace dev {interface} {place} {self._netem()}"
            place = "parent 1:1 handle 10:"
        if self.rate_mbit:
            yield f"qdisc replace dev {interface} {place} {_tbf(self.rate_mbit)}"

    def _netem(self) -> str:
        words = [f"netem limit {NETEM_FRAMES}"]
        if self.delay_ms:
            words.append(f"delay {self.delay_ms:.3f}ms")
        if self.loss_percent:
            words.append(f"loss {self.loss_percent:.7f}%")
        return " ".join(words)


#: Links as fast as the machine makes them.
UNSHAPED = LinkOptions()


def burst_octets(rate_mbit: float) -> int:
    """What may leave at once at that rate.

    >>> burst_octets(10), burst_octets(1000)
    (15140, 125000)
    """
    in_time = rate_mbit * _BITS_IN_MBIT / 8 * BURST_MS / 1e3
    return max(MIN_BURST_OCTETS, round(in_time))


def _tbf(rate_mbit: float) -> str:
    rate = round(rate_mbit * _BITS_IN_MBIT)
    return f"tbf rate {rate}bit burst {burst_octets(rate_mbit)} latency {QUEUE_MS:g}ms"
