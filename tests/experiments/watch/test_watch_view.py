"""The model of a view, from scripted events: what is said, and what is not known."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from experiments.watch.log_words import log_line
from experiments.watch.possible_events import possible_events
from experiments.watch.rates import Rates
from experiments.watch.recording import Recording
from experiments.watch.seen_ladder import NOT_SEEN, seen_ladder, seen_ladder_svg
from experiments.watch.watch_text import drawn
from tests.experiments.watch.recorded_feed import START_S, PaperCluster, was_reset
from topologies.domain.events import EVENTS

PORTS = range(40001, 40031)


def test_a_drain_shows_moved_connections_until_their_owners_are_freed() -> None:
    cluster = PaperCluster()
    held = cluster.open(*PORTS)
    assert cluster.view()["totals"]["moved"] == 0
    assert cluster.view()["totals"]["established"] == len(PORTS)
    moved = cluster.change("drain-node", "c1n1")
    assert 0 < moved == cluster.view(0.5)["totals"]["moved"]
    gone = [(o, one) for o, one in held if cluster.owner_of(one) != o]
    for owner, one in gone:
        cluster.see(was_reset("h1", one, 600))
        assert cluster.view(0.6)["totals"]["half_open"] == 1
        cluster.see(was_reset(owner, one, 601.5))
    view = cluster.view(1)
    assert view["totals"]["half_open"] == view["totals"]["moved"] == 0
    assert view["clients"][0]["resets"] == moved
    latest = view["latest_reset"]
    assert latest["serial"] == moved
    assert latest["owner"] == gone[-1][0]
    assert latest["new_node"] == cluster.owner_of(gone[-1][1])
    assert (latest["client_reset_ms"], latest["owner_freed_ms"]) == (0.0, 1.5)


def test_an_owner_that_is_freed_first_is_the_start_of_its_reset() -> None:
    cluster = PaperCluster()
    ((owner, one),) = cluster.open(40001)
    cluster.see(was_reset(owner, one, 10))
    cluster.see(was_reset("h1", one, 12))
    latest = cluster.view()["latest_reset"]
    assert (latest["client_reset_ms"], latest["owner_freed_ms"]) == (2.0, 0.0)


def test_an_earlier_connection_from_the_same_port_is_not_the_owners() -> None:
    cluster = PaperCluster()
    ((owner, one),) = cluster.open(40001)
    cluster.see(was_reset(owner, one, 0))
    cluster.see(was_reset("h1", one, 5000))
    cluster.resets.look(int((START_S + 10) * 1e9))
    latest = cluster.view()["latest_reset"]
    assert (latest["owner"], latest["owner_freed_ms"]) == (None, None)


def test_an_owner_that_is_not_freed_is_waited_for_and_then_shown_so() -> None:
    cluster = PaperCluster(policy="client-only")
    ((_, one),) = cluster.open(40001)
    cluster.see(was_reset("h1", one, 0))
    now_ns = int(START_S * 1e9)
    assert not cluster.resets.look(now_ns + 10**8)
    assert cluster.view()["latest_reset"] is None
    assert cluster.resets.look(now_ns + 10**9)
    assert cluster.view()["latest_reset"]["owner_freed_ms"] is None


def test_what_is_not_known_is_none_and_never_0() -> None:
    cluster = PaperCluster()
    cluster.tier1["c2"] = None
    view = cluster.view()
    assert view["chassis"][1]["copies"] is None
    assert view["totals"]["tier1_copies"] is None
    assert view["nodes"][0]["strays_per_s"] is None
    assert PaperCluster(policy="stateful").view()["nodes"][0]["moved"] is None


def test_a_node_without_power_holds_nothing_that_is_known() -> None:
    cluster = PaperCluster()
    cluster.change("fail-node", "c1n1")
    node = cluster.view()["nodes"][0]
    assert (node["alive"], node["state"], node["established"]) == (False, "failed", 0)


def test_a_run_is_shown_without_buttons() -> None:
    cluster = PaperCluster()
    assert cluster.view()["possible"] and not cluster.view()["read_only"]
    cluster.message = "observing for 3 s"
    view = cluster.view()
    assert (view["phase"], view["message"]) == ("run", "observing for 3 s")
    assert view["read_only"] and view["possible"] == []


def test_each_possible_event_is_possible_and_no_other_one() -> None:
    cluster = PaperCluster()
    cluster.change("drain-node", "c1n1")
    state = cluster.state.arrangement
    found = possible_events(state)
    for one in found:
        EVENTS[one["kind"]].change(state, one["target"])  # raises if it is not
    pairs = {(one["kind"], one["target"]) for one in found}
    assert ("restore-node", "c1n1") in pairs
    assert ("add-chassis", "c3") in pairs
    assert not {("drain-node", "c1n1"), ("restore-node", "c1n2")} & pairs
    assert {kind for kind, _ in pairs} >= EVENTS.keys() - {
        "restore-chassis",
        "uplink-up",
    }
    assert {one["kind"] for one in found if one["danger"]} == {
        kind for kind, event in EVENTS.items() if event.loss
    }


@given(st.lists(st.integers(0, 50), min_size=2, max_size=30))
def test_a_rate_is_what_came_in_the_window(steps: list[int]) -> None:
    rates, total = Rates(window_s=2.0), 0
    for number, step in enumerate(steps):
        total += step
        rates.add("k", number * 0.5, total)
    inside = steps[1:][-4:]
    assert rates.per_s("k") == round(sum(inside) / (0.5 * len(inside)), 1)
    assert rates.moving() == any(inside)


def test_a_total_that_begins_again_has_no_rate_before_its_second_sample() -> None:
    rates = Rates()
    for number, total in enumerate([10, 20, 3]):
        rates.add("k", number, total)
    assert rates.per_s("k") is None
    rates.add("k", 3, 5)
    assert rates.per_s("k") == 2.0
    rates.add("k", 4, None)
    assert rates.per_s("k") is None


def test_a_recording_is_bounded_and_only_its_newest_view_is_whole() -> None:
    recording = Recording(max_views=20, max_bytes=4000)
    for number in range(400):
        log = [{"text": "x" * 40}]
        view = {"serial": number, "t": 100 + number / 4, "log": log, "possible": log}
        recording.add(view)
        assert len(recording.history()) < 4000 + 2000
        assert len(recording) <= 20
    history = json.loads(recording.history())
    assert [one["serial"] for one in history][-1] == 399
    assert [bool(one["log"]) for one in history] == [False] * (len(history) - 1) + [
        True
    ]
    times = [int(one["t"]) for one in history[:-1]]
    assert times == sorted(set(times))


def test_a_recording_over_its_bytes_reaches_as_far_back_at_larger_distances() -> None:
    small, large = (Recording(max_bytes=size) for size in (3000, 10**6))
    for number in range(60):
        for one in (small, large):
            one.add({"serial": number, "t": float(number), "pad": "x" * 60})
    kept = [one["t"] for one in json.loads(small.history())]
    assert len(json.loads(large.history())) == 60
    assert len(kept) < 40 and kept[0] <= 2.0 and kept[-1] == 59.0


def test_the_ladder_draws_what_was_seen_and_no_segment() -> None:
    cluster = PaperCluster()
    ((owner, one),) = cluster.open(40001)
    cluster.change("drain-node", owner)
    cluster.see([*was_reset("h1", one, 5), *was_reset(owner, one, 6)])
    reset = cluster.resets.published()
    assert reset is not None
    ladder = seen_ladder(reset)
    assert ladder.arrows == ()
    assert [mark.column for mark in ladder.marks] == ["h1", owner]
    assert [c.name for c in ladder.columns] == ["h1", owner, cluster.owner_of(one)]
    svg = seen_ladder_svg(reset)
    assert NOT_SEEN.split(";")[0] in svg and 'class="arrow' not in svg


def test_records_of_the_log_are_told_in_words() -> None:
    times = {"requested_s": 1.0, "applied_s": 1.02, "settled_s": 1.031}
    record = {"t": 2.0, "what": "switched", "kind": "drain-node", "target": "c1n1"}
    line = log_line({**record, **times})
    assert line["text"].startswith("drain-node c1n1: every switch has its new tables")
    assert "after 20 ms" in line["text"] and "31 ms" in line["text"]
    assert log_line({"t": 1.0, "what": "fault", "fault": "x"})["level"] == "warning"
    assert log_line({"t": 1.0, "what": "new", "k": 1})["text"] == "new: k 1"


def test_the_terminal_shows_every_phase() -> None:
    from rich.console import Console

    console = Console(width=200)
    cluster = PaperCluster()
    cluster.open(*PORTS)
    view = {**cluster.view(), "cost": dict.fromkeys(("cluster_core_percent",))}
    with console.capture() as captured:
        console.print(drawn(view))
        console.print(drawn({"phase": "absent", "message": "no [cluster] runs"}))
    text = captured.get()
    assert "c2n3" in text and "–" in text and "no [cluster] runs" in text
