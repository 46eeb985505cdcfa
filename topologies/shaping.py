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

from collections.abc import Iterator

from topologies.domain.link_options import LinkOptions

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

_BITS_IN_MBIT = 1_000_000


def required_qdiscs(link: LinkOptions) -> dict[str, str]:
    """The queueing disciplines that these options need: kind -> keys that need it."""
    shaped = [("delay_ms", link.delay_ms), ("loss_percent", link.loss_percent)]
    disturbed = " and ".join(name for name, value in shaped if value)
    needed = {"netem": disturbed} if disturbed else {}
    return needed | ({"tbf": "rate_mbit"} if link.rate_mbit else {})


def tc_commands(link: LinkOptions, interface: str) -> Iterator[str]:
    """The commands of tc(8) for that interface; idempotent.

    With both disciplines, tbf is the child of netem (tc-netem(8), examples).
    """
    place = "root handle 1:"
    if "netem" in required_qdiscs(link):
        yield f"qdisc replace dev {interface} {place} {_netem(link)}"
        place = "parent 1:1 handle 10:"
    if link.rate_mbit:
        yield f"qdisc replace dev {interface} {place} {_tbf(link.rate_mbit)}"


def change_commands(
    before: LinkOptions, after: LinkOptions, interface: str
) -> Iterator[str]:
    """The commands that put the options ``after`` in the place of ``before``.

    With the same disciplines they are changed as they stand, and no frame is lost. With
    others the old ones are deleted, and with them the frames that wait there.
    """
    old = required_qdiscs(before).keys()
    if old and old != required_qdiscs(after).keys():
        yield f"qdisc del dev {interface} root"
    yield from tc_commands(after, interface)


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


def _netem(link: LinkOptions) -> str:
    words = [f"netem limit {NETEM_FRAMES}"]
    if link.delay_ms:
        words.append(f"delay {link.delay_ms:.3f}ms")
    if link.loss_percent:
        words.append(f"loss {link.loss_percent:.7f}%")
    return " ".join(words)
