"""What switches remember, and what servers send again: on courses written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from controller.policies import POLICIES
from experiments.model.conduct import Conduct, Delays
from experiments.model.engine import Computation, moved_of
from experiments.model.fates import Fates, fates_of
from experiments.model.flows import Flows
from experiments.model.membership_changes import Change, Changes
from experiments.model.moved import Moved
from experiments.model.population import Habits, Slots
from experiments.model.retransmission import AGAIN_S, next_again
from experiments.model.routes import Routes
from topologies.domain.buckets import BucketTable
from topologies.domain.history import KEPT_TABLES, MAX_HISTORY

NODES = [f"c1n{number}" for number in range(1, 9)]
HORIZON_S = 50.0


def course(tables: Sequence[tuple[str, ...]], pause_s: float = 1.0) -> Changes:
    """One chassis whose table is each of these in turn."""
    first, *later = [BucketTable(2, members) for members in tables]
    return Changes(
        {"fabric": BucketTable(1, ("c1",)), "c1": first},
        {"c1": NODES},
        [Change(pause_s * i, {"c1": table}) for i, table in enumerate(later, start=1)],
    )


def followed(
    changes: Changes, policy: str, interval_s: float = 0.5
) -> tuple[Routes, Moved, Fates]:
    """Two hundred connections through it, each from the start to the end."""
    population = Slots([200], Habits(interval_s=interval_s), 0.5, 1, 4, 10809)
    conduct = Conduct(POLICIES[policy], Delays())
    computation = Computation(changes, population, conduct, HORIZON_S)
    routes, flows = Routes(changes), population.batch(0)
    _, _, moved = moved_of(computation, routes, flows)
    return routes, moved, fates_of(moved, conduct)


def members_of_bucket_0(count: int) -> list[tuple[str, ...]]:
    """Bucket 0 goes from node to node; bucket 1 stays with the last one."""
    return [(name, NODES[-1]) for name in NODES[:count]]


@pytest.mark.parametrize("policy", ["second-chance", "directed"])
@pytest.mark.parametrize("changes", range(1, MAX_HISTORY + 3))
def test_a_bucket_has_so_many_earlier_members(policy: str, changes: int) -> None:
    tables = members_of_bucket_0(changes + 1)
    # The client is silent until all changes have happened.
    _, moved, found = followed(course(tables, 0.001), policy)
    assert len(moved) > 50
    freed = found.held_to - np.where(np.isfinite(found.stray), found.stray, 0)
    kept = found.home if policy == "second-chance" else freed < 1
    assert kept.all() == (changes <= MAX_HISTORY)
    assert kept.any() == (changes <= MAX_HISTORY)


@pytest.mark.parametrize("others", [KEPT_TABLES - 2, KEPT_TABLES - 1])
def test_a_switch_keeps_so_many_earlier_tables(others: int) -> None:
    """Bucket 0 changes once, then bucket 1 again and again."""
    tables = [(NODES[0], NODES[2]), (NODES[1], NODES[2])]
    tables += [(NODES[1], NODES[3 + turn % 2]) for turn in range(others)]
    # One more change of bucket 0's own, so that it is looked up again.
    tables.append((NODES[4], tables[-1][1]))
    routes, moved, found = followed(course(tables, 0.001), "second-chance")
    of_0 = moved.owner == routes.nodes.index(NODES[0])
    assert of_0.sum() > 50
    assert found.home[of_0].all() == (others < KEPT_TABLES - 1)


def test_a_bucket_that_has_come_back_forgets_nothing() -> None:
    """Away and home again, often: at each time its owner was the last one before."""
    tables = [(NODES[turn % 2], NODES[2]) for turn in range(12)]
    _, moved, found = followed(course(tables, 0.7), "second-chance")
    assert len(moved) > 50
    assert found.home.all()
    assert not np.isfinite(found.stray).any()


@pytest.mark.parametrize(
    ("interval_s", "freed"), [(0.02, True), (0.04, True), (0.5, False)]
)
def test_a_server_with_something_to_send_learns_that_its_client_has_gone(
    interval_s: float, freed: bool
) -> None:
    """Its bucket leaves and comes back: the answer to a retransmission reaches it then."""
    tables = [(NODES[0], NODES[2]), (NODES[1], NODES[2]), (NODES[0], NODES[2])]
    _, moved, found = followed(course(tables), "client-only", interval_s)
    lasted = found.held_to - found.held_from
    assert len(lasted) > 50
    assert (lasted < 2.0).all() == freed
    if freed:
        assert (found.held_to > 2.0).all()
    else:
        assert lasted == pytest.approx(np.full(len(lasted), Delays().keepalive_s))
    assert (moved.era == 1).all()


def test_a_server_gives_up_after_fifteen_retransmissions() -> None:
    tables = [(NODES[0], NODES[2]), (NODES[1], NODES[2])]
    _, _, found = followed(course(tables), "client-only", 0.02)
    lasted = found.held_to - found.held_from
    assert lasted == pytest.approx(np.full(len(lasted), Delays().give_up_s), abs=0.03)


def test_retransmissions_are_twice_as_far_apart_each_time() -> None:
    pauses = np.diff([0.0, *AGAIN_S])
    assert pauses[0] == pytest.approx(0.2)
    doubled = [b == pytest.approx(min(2 * a, 120.0)) for a, b in pairwise(pauses)]
    assert all(doubled)
    assert len(pauses) == 15
    sent, after = np.array([10.0, 10.0, 10.0]), np.array([9.0, 10.3, 5000.0])
    assert next_again(sent, after) == pytest.approx([10.2, 10.6, np.inf])


def test_the_sender_of_a_reset_gets_no_copy_where_others_do() -> None:
    tables = [(NODES[0], NODES[2]), (NODES[1], NODES[2])]
    copies = {
        p: followed(course(tables), p)[2].tier2 for p in ("flood", "flood-others")
    }
    assert (copies["flood"] == len(NODES)).all()
    assert (copies["flood-others"] == len(NODES) - 1).all()


def test_flows_know_when_they_spoke_last() -> None:
    _, moved, _ = followed(course(members_of_bucket_0(2)), "drop", 0.5)
    flows: Flows = moved.flows
    at = np.full(len(moved), 1.0)
    last, following = flows.spoke_last(moved.index, at), flows.speaks(moved.index, at)
    assert ((last < 1.0) & (last >= 0.5 - 1e-9)).all()
    assert following - last == pytest.approx(np.full(len(at), 0.5))


@pytest.mark.parametrize("loses_power", [False, True])
def test_a_pin_outlives_a_cut_off_uplink_but_not_its_node(loses_power: bool) -> None:
    """A quiet client notices nothing, unless the node has lost its connections."""
    away, back = (BucketTable(1, members) for members in (("c2",), ("c1", "c2")))
    power: dict[str, bool] = {"c1n1": False} if loses_power else {}
    changes = Changes(
        {
            "fabric": back,
            "c1": BucketTable(2, ("c1n1",)),
            "c2": BucketTable(2, ("c2n1",)),
        },
        {"c1": ["c1n1"], "c2": ["c2n1"]},
        [
            Change(1.0, {"fabric": away}, reachable={"c1n1": False}),
            Change(1.01, powered=power),
            Change(1.02, {"fabric": back}, dict.fromkeys(power, True), {"c1n1": True}),
        ],
    )
    _, moved, found = followed(changes, "stateful", interval_s=5.0)
    quiet = ~(np.isfinite(found.stray) & (found.stray < 1.02))
    assert 0 < quiet.sum() < len(moved) + 1
    assert found.home[quiet].all() == (not loses_power)
    assert np.isfinite(found.stray[quiet]).all() == loses_power
    assert not np.isfinite(found.held_from[quiet]).any()


def test_the_controllers_copies_are_put_on_each_nodes_cable() -> None:
    """``out-of-band``: no chassis copies anything."""
    tables = [(NODES[0], NODES[2]), (NODES[1], NODES[2])]
    fates = followed(course(tables), "out-of-band")[2]
    assert (fates.tier2 == len(NODES)).all()
    assert (fates.tier1 == 0).all()
