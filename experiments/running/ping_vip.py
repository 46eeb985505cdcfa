"""``pingall`` of the command line: does the virtual address answer every client?"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from topologies.domain.plan import VIP4, VIP6

#: How long to wait for an answer, in s.
WAIT_S = 1.0

_TIME = re.compile(r"time[=<]([0-9.]+) ms")

BY_DESIGN = (
    "Clients reach the VIP only, and nodes answer as the VIP: no client and no node "
    "reaches another by its own address. That is by design."
)


def round_trip_ms(output: str) -> float | None:
    """The round trip in the output of ping(8), in ms; None where nothing answered.

    >>> round_trip_ms("64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.212 ms")
    0.212
    """
    found = _TIME.search(output)
    return float(found[1]) if found else None


def ping_vip(clients: Mapping[str, int]) -> Iterator[tuple[str, str, float | None]]:
    """Client, address of the VIP, round trip in ms; one echo request each.

    ``clients``: name -> pid or thread id in the client's network.
    """
    asked = [(name, address) for name in clients for address in (VIP4, VIP6)]
    with ThreadPoolExecutor(8) as pool:
        times = pool.map(lambda one: _ping(clients[one[0]], one[1]), asked)
        for (name, address), time_ms in zip(asked, times, strict=True):
            yield name, address, time_ms


def as_text(answers: Sequence[tuple[str, str, float | None]]) -> str:
    """The answers for people, one line each, and what they say together."""
    lines = []
    for name, address, time_ms in answers:
        answered = "no answer" if time_ms is None else f"{time_ms:.3g} ms"
        lines.append(f"{name:6} -> VIP {address:12} {answered}")
    answered_all = sum(time_ms is not None for _, _, time_ms in answers)
    lines.append(
        f"{answered_all} of {len(answers)} echo requests answered. {BY_DESIGN}"
    )
    return "\n".join(lines)


def _ping(pid: int, address: str) -> float | None:
    done = subprocess.run(
        ["mnexec", "-a", str(pid), "ping", "-n", "-c1", f"-W{WAIT_S:g}", address],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return round_trip_ms(done.stdout)
