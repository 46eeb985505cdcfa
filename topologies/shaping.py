"""Rate, delay and loss of links, as commands of tc(8); pure.

Each host's end of its link is shaped, in the host's own namespace. A frame passes its
sender's shaping once, so a round trip has twice the delay. The switches' ends are not
shaped: Open vSwitch manages the queues of its ports itself. It also sends to all ports
through one socket, so frames that wait for one port would delay those of the others. So a
host receives as fast as others send.

The queueing discipline is the interface's root, ``1:``. The guard's hook, clsact
(``ffff:``), is independent of it: the guard's answers, and the frames that it passes, wait
in the queue like everything that the host sends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

#: Burst size in ms of the rate. With less, the kernel's timers would limit the rate; with
#: more, short transfers would not be limited.
BURST_MS = 1.0
#: Minimum burst: some full frames. A bucket smaller than one frame passes none.
MIN_BURST_OCTETS = 10 * 1514
#: Maximum wait of a frame; tbf drops frames that would wait longer (tc-tbf(8)).
QUEUE_MS = 50.0
#: Maximum frames in netem's queue. With its default of 1000 a fast link with a delay would
#: lose more frames than configured.
NETEM_FRAMES = 100_000

#: Minimum values above 0: smaller ones are below the resolution of tc and the kernel.
MIN_VALUES = {"rate_mbit": 1e-3, "delay_ms": 1e-3, "loss_percent": 1e-6}

_BITS_IN_MBIT = 1_000_000


class LinkOptionsError(ValueError):
    """Options that no link can have; the text names the key."""


@dataclass(frozen=True)
class LinkOptions:
    """The shaping of what a host sends; None or 0: no limit, delay or loss.

    ``rate_mbit``: maximum rate in Mbit/s (10^6). ``delay_ms``: added delay of every frame.
    ``loss_percent``: independent random loss of frames. A round trip passes both hosts'
    shaping, so delay and loss apply twice.
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
                    f"{name}: {value:g} is below the minimum, {MIN_VALUES[name]:g}"
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
        """The queueing disciplines that these options need: kind -> keys that need it."""
        shaped = [("delay_ms", self.delay_ms), ("loss_percent", self.loss_percent)]
        disturbed = " and ".join(name for name, value in shaped if value)
        needed = {"netem": disturbed} if disturbed else {}
        return needed | ({"tbf": "rate_mbit"} if self.rate_mbit else {})

    def tc_commands(self, interface: str) -> Iterator[str]:
        """The commands of tc(8) for that interface; idempotent.

        With both disciplines, tbf is the child of netem (tc-netem(8), examples).
        """
        place = "root handle 1:"
        if "netem" in self.required_qdiscs():
            yield f"qdisc replace dev {interface} {place} {self._netem()}"
            place = "parent 1:1 handle 10:"
        if self.rate_mbit:
            yield f"qdisc replace dev {interface} {place} {_tbf(self.rate_mbit)}"

    def change_commands(self, before: LinkOptions, interface: str) -> Iterator[str]:
        """The commands that put these options in the place of ``before``.

        With the same disciplines they are changed as they stand, and no frame is lost. With
        others the old ones are deleted, and with them the frames that wait there.
        """
        old = before.required_qdiscs().keys()
        if old and old != self.required_qdiscs().keys():
            yield f"qdisc del dev {interface} root"
        yield from self.tc_commands(interface)

    def _netem(self) -> str:
        words = [f"netem limit {NETEM_FRAMES}"]
        if self.delay_ms:
            words.append(f"delay {self.delay_ms:.3f}ms")
        if self.loss_percent:
            words.append(f"loss {self.loss_percent:.7f}%")
        return " ".join(words)


#: Links without limits.
UNSHAPED = LinkOptions()


def burst_octets(rate_mbit: float) -> int:
    """The burst size at that rate, in octets.

    >>> burst_octets(10), burst_octets(1000)
    (15140, 125000)
    """
    in_time = rate_mbit * _BITS_IN_MBIT / 8 * BURST_MS / 1e3
    return max(MIN_BURST_OCTETS, round(in_time))


def _tbf(rate_mbit: float) -> str:
    rate = round(rate_mbit * _BITS_IN_MBIT)
    return f"tbf rate {rate}bit burst {burst_octets(rate_mbit)} latency {QUEUE_MS:g}ms"
