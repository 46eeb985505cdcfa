"""Events that change links: what they leave as it was, and what cannot be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.pipeline.cluster_state import ClusterState
from tests.topologies.domain.test_events import fresh, fresh_state
from topologies.domain.arrangement import Arrangement
from topologies.domain.events import EVENTS, EventError, event_of, parse_events
from topologies.domain.events.instant import resolve_events
from topologies.domain.events.link_change import described, link_in
from topologies.domain.link_options import LinkOptions

SLOW = LinkOptions(delay_ms=5, loss_percent=0.5)
HOSTS = [
    *(client.name for client in fresh().plan.clients),
    *(node.name for node in fresh().plan.nodes),
]
options = st.builds(
    LinkOptions,
    st.none() | st.floats(0.001, 1e5),
    st.none() | st.just(0.0) | st.floats(0.001, 1e5),
    st.none() | st.just(0.0) | st.floats(1e-6, 99.9),
)


@given(link=options, host=st.sampled_from(HOSTS))
def test_a_link_changes_no_table(link: LinkOptions, host: str) -> None:
    event = event_of("link", link)
    assert event.change(fresh(), host) == fresh()
    assert (event.planned, event.loss, event.link) == (True, False, link)
    state: ClusterState = fresh_state()
    assert state.after(event.change(state.arrangement, host)) is state


def test_a_member_that_leaves_is_another_state() -> None:
    state = fresh_state()
    drained = EVENTS["drain-node"].change(state.arrangement, "c1n2")
    assert state.after(drained).number == state.number + 1


@pytest.mark.parametrize("target", ["c1", "fabric", "h99", "c1n99", ""])
def test_only_hosts_have_links(target: str) -> None:
    with pytest.raises(EventError, match="a link is that of a client"):
        event_of("link", SLOW).change(fresh(), target)


def resolved(*requests: tuple[str, str]) -> Arrangement:
    events = [(event_of(kind, SLOW), target) for kind, target in requests]
    return resolve_events(fresh(), events)[-1].new


def test_a_node_may_change_together_with_its_link() -> None:
    alone = resolved(("drain-node", "c1n2"))
    for order in (1, -1):
        both = [("link", "c1n2"), ("drain-node", "c1n2")][::order]
        assert resolved(*both) == alone
    added = resolved(("add-node", "c1"), ("link", "c1n4"))
    assert added == resolved(("add-node", "c1"))


def test_one_link_changes_once_at_an_instant() -> None:
    with pytest.raises(EventError, match="h1: already has a link at this instant"):
        resolved(("link", "h1"), ("link", "c1n1"), ("link", "h1"))


def test_a_running_cluster_has_a_command_of_its_own() -> None:
    with pytest.raises(EventError, match="use ./resetbed link HOST"):
        parse_events(["link", "h1"])


@given(link=options)
def test_options_survive_json(link: LinkOptions) -> None:
    assert link_in({"kind": "link", "target": "h1", **link.to_json()}) == link


def test_an_event_is_described_with_what_its_link_gets() -> None:
    assert described("link", "h1", SLOW) == "link h1 (5 ms, 0.5 % lost)"
    assert described("link", "h1", LinkOptions()) == "link h1 (not shaped)"
    assert described("drain-node", "c1n2") == "drain-node c1n2"
    assert link_in({"kind": "drain-node", "target": "c1n2"}) is None
