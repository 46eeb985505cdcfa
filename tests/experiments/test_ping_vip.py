"""``pingall``: what ping(8) says, and what the command line says of it."""

from __future__ import annotations

import pytest

from experiments.running.ping_vip import BY_DESIGN, as_text, round_trip_ms
from topologies.domain.plan import VIP4, VIP6

LOST = """PING 10.0.0.1 (10.0.0.1) 56(84) bytes of data.

--- 10.0.0.1 ping statistics ---
1 packets transmitted, 0 received, 100% packet loss, time 0ms
"""


@pytest.mark.parametrize(
    ("output", "time_ms"),
    [
        ("64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.212 ms", 0.212),
        ("64 bytes from fd00:10::1: icmp_seq=1 ttl=64 time=12 ms", 12.0),
        ("64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time<1 ms", 1.0),
        (LOST, None),
        ("", None),
    ],
)
def test_the_round_trip_is_that_of_the_answer(
    output: str, time_ms: float | None
) -> None:
    assert round_trip_ms(output) == time_ms


def test_each_answer_has_its_line_and_the_design_is_said_in_words() -> None:
    text = as_text([("h1", VIP4, 0.2124), ("h1", VIP6, None)])
    first, second, last = text.splitlines()
    assert first.split() == ["h1", "->", "VIP", VIP4, "0.212", "ms"]
    assert second.split() == ["h1", "->", "VIP", VIP6, "no", "answer"]
    assert last == f"1 of 2 echo requests answered. {BY_DESIGN}"
