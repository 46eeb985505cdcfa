"""Half-open ends behind a cut uplink: no copy frees them, and they are reported."""

from __future__ import annotations

import pytest

from experiments.analysis.outcomes import totals
from tests.experiments.packet_path import MS
from tests.experiments.scale_out import ScaleOut


@pytest.fixture
def run() -> ScaleOut:
    return ScaleOut.cut_off()


def away(run: ScaleOut) -> int:
    """The number of moved connections whose owner is cut off."""
    old, cut = run.timeline.epochs
    return sum(old.owner_of(one) in cut.cut_off for one in run.moved)


def test_what_is_cut_off_stays_half_open_and_is_counted(run: ScaleOut) -> None:
    found = totals(run.outcomes())
    assert 0 < away(run) < len(run.moved)
    assert found.moved == found.reset == len(run.moved)
    assert found.half_open_at_end == found.half_open_out_of_reach == away(run)
    assert (found.hung, found.broken_unmoved) == (0, 0)


def test_the_claim_is_checked_for_reachable_owners_and_the_others_are_listed(
    run: ScaleOut,
) -> None:
    chart = run.chart()
    assert [name for name, row in chart.items() if not row.passed] == []
    expected = (
        f"{away(run)} owners were cut off from every copy, {away(run)} of them hold"
    )
    assert expected in chart["E3"].evidence


def test_a_socket_that_ends_by_itself_later_is_not_half_open_at_the_end(
    run: ScaleOut,
) -> None:
    old, cut = run.timeline.epochs
    one = next(c for c in run.moved if old.owner_of(c) in cut.cut_off)
    owner = old.owner_of(one)
    assert owner is not None
    run.path.freed(one, owner, 2000 * MS)
    found = totals(run.outcomes())
    assert found.half_open_at_end == found.half_open_out_of_reach == away(run) - 1


def test_a_reachable_owner_that_keeps_its_socket_fails_the_claim() -> None:
    run = ScaleOut.cut_off(policy="client-only")
    found = totals(run.outcomes())
    assert found.half_open_at_end == len(run.moved)
    assert found.half_open_out_of_reach == away(run) < len(run.moved)
    assert not run.chart()["E3"].passed
