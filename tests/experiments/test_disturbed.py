"""A connection that did not move and was disturbed is named, with what ended it."""

from __future__ import annotations

from experiments.analysis.disturbed import disturbed
from experiments.analysis.observations import ACK, RST
from tests.experiments.packet_path import MS, START, US
from tests.experiments.scale_out import EVENT, ScaleOut
from topologies.domain.connection import format_connection


def lines(run: ScaleOut) -> list[str]:
    return disturbed(run.outcomes(), run.path.observations(), START + EVENT)


def test_nobody_is_named_where_nobody_was_disturbed() -> None:
    assert lines(ScaleOut.build()) == []


def test_the_first_reset_and_its_sender_are_named() -> None:
    run = ScaleOut.build()
    broken = run.stayed[0]
    owner = run.timeline.epochs[0].owner_of(broken)
    assert owner is not None
    at = EVENT + 80 * MS
    run.path.see_back(owner, True, broken, RST | ACK, 77, 78, at)
    run.path.see_back("fabric-h1", True, broken, RST | ACK, 77, 78, at + 20 * US)
    run.path.freed(broken, "client", at + 30 * US)
    (line,) = lines(run)
    frame = next(o for o in run.path.observations() if o.flags & RST and o.ack == 78)
    assert line.startswith(f"{format_connection(broken)} at {owner}: opened -")
    assert line.endswith(
        f", reset +80.030 ms; frame {frame.frame} +80.000 ms RST,ACK at {owner}"
    )


def test_a_connection_that_is_lost_without_a_reset_is_named_too() -> None:
    run = ScaleOut.build()
    run.path.state(run.stayed[0], "client", "ESTABLISHED", "CLOSE", EVENT + 5 * MS)
    (line,) = lines(run)
    assert "ended without a reset +5.000 ms; no reset of it was captured" in line
