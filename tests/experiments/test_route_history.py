"""When a connection's route changed, as a healer knows it from the cluster's states."""

from __future__ import annotations

import pytest

from controller.balancers import get_balancer
from controller.pipeline.cluster_state import ClusterState
from controller.policies import POLICIES
from experiments.healing.route_history import VERSIONS, RouteHistory
from topologies.domain.connection import FourTuple
from topologies.domain.events import EVENTS
from topologies.domain.events.instant import resolve_events
from topologies.domain.forecast import forecast
from topologies.domain.membership import Membership
from topologies.domain.plan import Plan

PLAN = Plan.build(2, 3, 1)
ENDS = [FourTuple("10.1.0.1", port, "10.0.0.1", 10809) for port in range(20000, 20060)]


@pytest.fixture
def state() -> ClusterState:
    return ClusterState(
        PLAN,
        Membership.all_in_service(PLAN),
        POLICIES["flood"],
        get_balancer("modulo", {}),
        healing=True,
    )


def after(state: ClusterState, kind: str, target: str) -> ClusterState:
    steps = resolve_events(state.arrangement, [(EVENTS[kind], target)])
    return state.becoming(steps[-1].new)


def owner(state: ClusterState, connection: FourTuple) -> str | None:
    routes = forecast(state.plan, state.membership, state.balancer)
    return routes.owner_of(connection)


def test_a_change_counts_for_the_connections_that_it_moves(state: ClusterState) -> None:
    drained = after(state, "drain-node", "c1n2")
    history = RouteHistory()
    history.add(state, 1.0)
    history.add(drained, 5.0)
    for one in ENDS:
        before = owner(state, one)
        assert before is not None
        moved = before != owner(drained, one)
        assert history.changed_s(before, one) == (5.0 if moved else None)
        assert history.current.owner_of(one) == owner(drained, one)


def test_a_way_that_went_and_came_back_is_a_change(state: ClusterState) -> None:
    down = after(state, "uplink-down", "c2")
    up = after(down, "uplink-up", "c2")
    history = RouteHistory()
    for number, one in enumerate((state, down, up)):
        history.add(one, float(number))
    mine = next(one for one in ENDS if (owner(state, one) or "").startswith("c2"))
    node = owner(state, mine)
    assert node is not None
    assert owner(up, mine) == node
    assert history.changed_s(node, mine) == 2.0


def test_a_healer_that_starts_late_knows_what_has_changed(state: ClusterState) -> None:
    down = after(state, "uplink-down", "c2")
    up = after(down, "uplink-up", "c2")
    history = RouteHistory()
    history.add(up, 9.0)
    mine = next(one for one in ENDS if (owner(state, one) or "").startswith("c2"))
    assert history.changed_s(owner(state, mine) or "", mine) == 9.0


def test_old_versions_are_dropped(state: ClusterState) -> None:
    history = RouteHistory()
    now, one = state, ENDS[0]
    for number in range(2 * VERSIONS):
        history.add(now, float(number))
        now = after(now, "reseed", "all")
    assert history.number == 2 * VERSIONS
    assert history.changed_s("c1n1", one) is not None


@pytest.mark.parametrize("seen", [0, 1])
def test_a_change_that_was_not_seen_counts_when_its_end_is(
    state: ClusterState, seen: int
) -> None:
    """Two changes between two calls, and each has been there before."""
    states = [state]
    for kind in ("uplink-down", "uplink-up") * 2:
        states.append(after(states[-1], kind, "c2"))
    mine = next(one for one in ENDS if (owner(state, one) or "").startswith("c2"))
    node = owner(state, mine) or ""
    history = RouteHistory()
    for number, one in enumerate(states[: 2 * seen + 1]):
        history.add(one, float(number))
    assert history.changed_s(node, mine) == (2.0 if seen else None)
    history.add(states[2 * seen + 2], 9.0)
    assert history.changed_s(node, mine) == 9.0


def test_nothing_is_brought_along_that_was_seen(state: ClusterState) -> None:
    up = after(after(state, "uplink-down", "c2"), "uplink-up", "c2")
    history = RouteHistory()
    history.add(up, 1.0)
    history.add(after(up, "add-node", "c1"), 2.0)
    mine = next(one for one in ENDS if (owner(state, one) or "").startswith("c2"))
    assert history.changed_s(owner(state, mine) or "", mine) == 1.0
