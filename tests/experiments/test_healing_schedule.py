"""When the healer is in doubt, when it asks, and when it destroys; without a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from experiments.healing.schedule import (
    DEADLINE,
    FIRST_PROBE,
    LEAST_PROBES,
    NEXT_PROBE,
    SAME,
    Actions,
    Held,
    Schedule,
)
from topologies.domain.connection import FourTuple

T = 2.0
ONE = FourTuple("10.1.0.1", 20000, "10.0.0.1", 10809)


@dataclass
class World:
    """One connection, held by c1n1, on a clock that the test turns."""

    owner: str = "c1n1"
    changed_s: float | None = None
    reachable: bool = True
    held: Held = Held("c1n1", ONE, 0.0, 7)
    schedule: Schedule = field(default_factory=lambda: Schedule(T))

    def look(self, now_s: float) -> Actions:
        return self.schedule.look(
            [self.held],
            now_s,
            lambda _: self.owner,
            lambda _node, _connection: self.changed_s,
            lambda _: self.reachable,
        )

    def looks(self, until_s: float, start_s: float = 0.0) -> dict[float, str]:
        """Time -> "probe" or "destroy", for looks every 50 ms."""
        acts = {}
        for step in range(round((until_s - start_s) / 0.05) + 1):
            now_s = round(start_s + step * 0.05, 3)
            actions = self.look(now_s)
            if actions.probe or actions.destroy:
                acts[now_s] = "destroy" if actions.destroy else "probe"
            if actions.destroy:
                break
        return acts


def test_nothing_changed_so_nothing_is_in_doubt() -> None:
    assert World().look(1000.0) == Actions()


def test_an_owner_that_was_heard_after_the_change_is_not_in_doubt() -> None:
    world = World(changed_s=10.0, held=Held("c1n1", ONE, 10.0 + SAME * T + 0.01))
    assert world.look(1000.0) == Actions()


def test_a_segment_that_was_under_way_at_the_change_tells_nothing() -> None:
    world = World(changed_s=10.0, held=Held("c1n1", ONE, 10.0 + SAME * T / 2))
    assert "destroy" in world.looks(start_s=10.0, until_s=10.0 + T).values()


def test_a_handshake_that_began_after_the_change_is_not_in_doubt() -> None:
    """The healer still looks, because of others: the SYN came 1 s after the change."""
    world = World(changed_s=100.0, held=Held("c1n1", ONE, None, 9))
    world.schedule.look([], 100.0, lambda _: None, lambda *_: None, bool)
    assert world.looks(start_s=101.0, until_s=110.0) == {}


@pytest.mark.parametrize("owner", ["c1n1", "c2n2"])
def test_a_handshake_that_a_change_fell_into_ends_within_the_bound(owner: str) -> None:
    world = World(owner=owner, changed_s=100.0, held=Held("c1n1", ONE, None, 9))
    assert "destroy" in world.looks(start_s=100.05, until_s=100.05 + T).values()


@pytest.mark.parametrize("owner", ["c1n1", "c2n2"])
def test_silence_is_met_by_keepalives_and_ends_before_the_bound(owner: str) -> None:
    world = World(owner=owner, changed_s=0.0)
    acts = world.looks(T)
    asked = [at for at, what in acts.items() if what == "probe"]
    assert asked[0] == pytest.approx(FIRST_PROBE * T)
    assert len(asked) >= LEAST_PROBES
    assert all(
        b - a >= NEXT_PROBE * T - 1e-9 for a, b in zip(asked, asked[1:], strict=False)
    )
    assert [at for at, what in acts.items() if what == "destroy"] == [
        pytest.approx(DEADLINE * T, abs=0.051)
    ]


def test_a_client_that_answers_at_the_owner_ends_the_doubt() -> None:
    world = World(changed_s=0.0)
    assert world.looks(0.6)
    world.held = replace(world.held, heard_s=0.62)
    assert world.looks(T * 3, start_s=0.65) == {}


def test_changes_from_one_other_node_to_another_do_not_prolong_the_doubt() -> None:
    world = World(owner="c2n2", changed_s=0.0)
    destroyed_s = None
    for step in range(round(T / 0.05) + 1):
        now_s = step * 0.05
        if step % 6 == 0:  # every 0.3 s the bucket goes to somebody else
            world.owner, world.changed_s = f"c2n{1 + step % 5}", now_s
        if world.look(now_s).destroy:
            destroyed_s = now_s
            break
    assert destroyed_s == pytest.approx(DEADLINE * T, abs=0.051)


@given(st.lists(st.floats(0.05, NEXT_PROBE * T + 0.05), min_size=60, max_size=60))
@example([0.3, 0.3, 0.3, 0.3, 0.29, 0.24, 0.3, *[0.05] * 53])
def test_looks_at_any_time_keep_the_bound(pauses: list[float]) -> None:
    """Changes make the healer look at once; else it looks each T/8, and its clock has
    steps of 50 ms."""
    world, now_s, destroyed_s = World(owner="c2n2", changed_s=0.0), 0.0, None
    for pause in pauses:
        if world.look(now_s).destroy:
            destroyed_s = now_s
            break
        now_s += pause
    if now_s > T:
        assert destroyed_s is not None
        assert destroyed_s <= T


def test_a_connection_that_began_after_the_change_is_not_in_doubt() -> None:
    """A look since the change did not show it, so nothing of it was under way before."""
    world = World(changed_s=100.0, held=Held("c1n1", ONE, 100.05, 9))
    world.schedule.look([], 100.0, lambda _: None, lambda *_: None, bool)
    assert world.looks(start_s=100.25, until_s=110.0) == {}


def test_a_client_that_is_heard_through_another_node_keeps_its_connection() -> None:
    """Nodes pass strays on to their earlier owner, which is asked again and again."""
    world = World(owner="c2n2", changed_s=0.0)
    for step in range(200):
        now_s = step * 0.05
        actions = world.look(now_s)
        assert not actions.destroy
        if actions.probe:
            world.held = replace(world.held, heard_s=now_s + 0.01)
    assert world.look(10.0).in_doubt == 1


def test_a_node_that_is_cut_off_waits_until_its_way_is_back() -> None:
    world = World(owner="c2n2", changed_s=0.0, reachable=False)
    assert world.looks(3 * T) == {}
    world.reachable, world.owner, world.changed_s = True, "c1n1", 3 * T
    acts = world.looks(6 * T, start_s=3 * T)
    assert min(acts) >= 3 * T + FIRST_PROBE * T - 1e-9
    assert acts[max(acts)] == "destroy"


def test_a_healer_that_was_stopped_asks_before_it_destroys() -> None:
    world = World(changed_s=0.0)
    acts = world.looks(start_s=50.0, until_s=60.0)
    assert list(acts.values()).count("probe") == LEAST_PROBES
    assert acts[max(acts)] == "destroy"


def test_another_socket_on_the_same_ends_is_another_connection() -> None:
    world = World(owner="c2n2", changed_s=0.0)
    world.looks(1.2)
    world.held = Held("c1n1", ONE, 1.24, cookie=8)
    assert not world.look(T * DEADLINE + 0.05).destroy


def test_what_is_gone_is_forgotten() -> None:
    world = World(owner="c2n2", changed_s=0.0)
    world.looks(1.2)
    nothing = world.schedule.look([], 1.3, lambda _: None, lambda *_: None, bool)
    assert nothing == Actions()
    assert not world.look(1.35).destroy


@given(st.floats(0.0, NEXT_PROBE * T), st.floats(0.0, 2 * T))
def test_a_handshake_at_a_wrong_node_ends_within_the_bound(
    phase_s: float, age_s: float
) -> None:
    """It begins ``age_s`` after a change; looks are T/8 apart."""
    world = World(owner="c2n2", changed_s=0.0, held=Held("c1n1", ONE, None, 9))
    destroyed_s, now_s = None, phase_s
    while now_s < age_s + 2 * T and destroyed_s is None:
        if now_s < age_s:
            world.schedule.look([], now_s, lambda _: None, lambda *_: None, bool)
        elif world.look(now_s).destroy:
            destroyed_s = now_s
        now_s += NEXT_PROBE * T
    assert destroyed_s is not None
    assert destroyed_s <= age_s + T


@given(
    st.lists(st.floats(0.05, 1.0), min_size=1, max_size=40),
    st.floats(0.5, 10.0),
)
def test_no_silent_end_outlives_the_bound(pauses: list[float], bound_s: float) -> None:
    """Whatever the pauses between looks are, as long as they leave the time to ask."""
    schedule = Schedule(bound_s)
    now_s, destroyed_s = 0.0, None
    pauses = [pause * NEXT_PROBE * bound_s for pause in pauses]
    for pause in pauses * 60:
        actions = schedule.look(
            [Held("c1n1", ONE, -1.0)], now_s, lambda _: "c2n2", lambda *_: 0.0, bool
        )
        if actions.destroy:
            destroyed_s = now_s
            break
        now_s += pause
    if now_s >= bound_s:
        assert destroyed_s is not None
        assert destroyed_s <= bound_s


@pytest.mark.parametrize("jitter_s", [0.0, 0.004, 0.05])
def test_readings_of_one_segment_that_differ_are_no_answer(jitter_s: float) -> None:
    """Each look reads it a little later than the one before."""
    world = World(owner="c1n2", changed_s=0.0)
    acts = {}
    for step in range(round(T / 0.05) + 1):
        heard_s = jitter_s * step * 0.05 / T
        world.held = replace(world.held, heard_s=heard_s)
        actions = world.look(step * 0.05)
        if actions.destroy:
            acts[step * 0.05] = "destroy"
            break
    (destroyed_s,) = acts
    assert destroyed_s == pytest.approx(DEADLINE * T, abs=0.051)
