"""Measures one link of a cluster from outside the testbed's own code: frames of a kind
that no switch forwards, counted and timed where they come out of it.

A sender on a host and a receiver at the switch's end of its link are programs of their
own, in those namespaces; :class:`Arrivals` is what the receiver saw.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from topologies.domain.plan import FABRIC, Client, Node
from topologies.sandbox import host_command

#: Ethernet type for local experiments (IEEE 802, 10.3.3); nothing else here uses it.
ETHERTYPE = 0x88B5
_DEADLINE_S = 120.0
#: The receiver ends after this time without a frame.
_SILENCE_S = 2.0

#: A frame contains its number and the time just before it was sent. A late frame is not
#: followed by a burst: the queues are short.
_SENDER = f"""
import errno, socket, struct, sys, time
interface, count, octets, step = sys.argv[1], *map(int, sys.argv[2:])
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind((interface, 0))
head = b"\\xff" * 6 + b"\\x02" + bytes(5) + struct.pack("!H", {ETHERTYPE})
rest = bytes(octets - len(head) - 16)
begin = due = time.time_ns()
for number in range(count):
    now = time.time_ns()
    due = max(due + step, now)
    if due - now > 10**6:
        time.sleep((due - now) / 1e9)
    while True:
        try:
            link.send(head + struct.pack("!QQ", number, time.time_ns()) + rest)
            break
        except OSError as error:  # the link's queue is full, as it may be
            if error.errno != errno.ENOBUFS:
                raise
            time.sleep(0.001)
print(begin)
"""

#: It receives all frames and selects ours, because the kernel datapath takes frames before
#: sockets of one protocol get them. SO_TIMESTAMPNS is 35, SO_RCVBUFFORCE 33, ETH_P_ALL
#: 3, PACKET_STATISTICS 6 of SOL_PACKET 263.
_RECEIVER = f"""
import json, socket, struct, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
link.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)
link.setsockopt(socket.SOL_SOCKET, 35, 1)
link.bind((sys.argv[1], 3))
print("ready", flush=True)
link.settimeout(60)
rows = []
try:
    while True:
        frame, extra, *_ = link.recvmsg(2048, 64)
        if struct.unpack_from("!H", frame, 12) != ({ETHERTYPE},):
            continue
        seconds, rest = struct.unpack("qq", extra[0][2])
        number, sent = struct.unpack_from("!QQ", frame, 14)
        rows.append((number, sent, seconds * 10**9 + rest, len(frame)))
        link.settimeout({_SILENCE_S})
except TimeoutError:
    pass
dropped = struct.unpack("II", link.getsockopt(263, 6, 8))[1]
print(json.dumps({{"rows": rows, "dropped": dropped}}))
"""


@dataclass(frozen=True)
class Arrivals:
    """What came out of a link of ``sent`` frames of ``octets`` each, Ethernet's
    header included."""

    sent: int
    octets: int
    begin_ns: int
    #: Of each frame: when it was sent and when it was received, ns since 1970.
    times_ns: Sequence[tuple[int, int]] = field(repr=False)

    @property
    def lost(self) -> int:
        """The number of frames that were lost."""
        return self.sent - len(self.times_ns)

    def delays_ms(self) -> list[float]:
        """The delay of each received frame."""
        return [(came - sent) / 1e6 for sent, came in self.times_ns]

    def seconds(self) -> float:
        """The time from before the first frame was sent until the last was received."""
        return (max(came for _, came in self.times_ns) - self.begin_ns) / 1e9

    def bits(self) -> int:
        """The number of received bits."""
        return len(self.times_ns) * self.octets * 8


def send(
    run: str,
    host: Client | Node,
    count: int,
    octets: int,
    pace_mbit: float | None = None,
) -> Arrivals:
    """Send frames over that host's link to the switch, and count them there.

    With ``pace_mbit`` at that rate, otherwise as fast as the link accepts them.
    """
    step_ns = round(octets * 8 / pace_mbit * 1e3) if pace_mbit else 0
    switch, end = switch_end(host)
    receiver = subprocess.Popen(
        host_command(run, switch, [sys.executable, "-c", _RECEIVER, end]),
        stdout=subprocess.PIPE,
        text=True,
    )
    with receiver:
        assert receiver.stdout
        assert receiver.stdout.readline() == "ready\n"
        words = (host.interface, str(count), str(octets), str(step_ns))
        sender = subprocess.run(
            host_command(run, host.name, [sys.executable, "-c", _SENDER, *words]),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=_DEADLINE_S,
        )
        seen: Mapping[str, object] = json.loads(receiver.stdout.read())
    assert seen["dropped"] == 0, "the receiver could not keep up"
    rows = seen["rows"]
    assert isinstance(rows, list)
    assert len({row[0] for row in rows}) == len(rows), "a frame came twice"
    assert all(row[3] == octets for row in rows)
    times = [(row[1], row[2]) for row in rows]
    return Arrivals(count, octets, int(sender.stdout), times)


def switch_end(host: Client | Node) -> tuple[str, str]:
    """The switch at the other end of a host's link, and its interface there."""
    if isinstance(host, Client):
        return FABRIC, host.fabric_interface
    return f"c{host.chassis}", host.switch_interface


def binomial_bounds(count: int, probability: float, deviations: float) -> range:
    """How many of ``count`` may be hit by chance: the mean, give or take so many
    standard deviations of the binomial distribution.

    >>> binomial_bounds(20_000, 0.02, 5)
    range(302, 499)
    """
    mean = count * probability
    width = deviations * math.sqrt(mean * (1 - probability))
    return range(math.ceil(mean - width), math.floor(mean + width) + 1)
