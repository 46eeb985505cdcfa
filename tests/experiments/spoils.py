"""Ways to spoil a good run's record, one fact at a time, and what must come of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from experiments.analysis.observations import RST, SYN, Observation
from experiments.record.socket_events import RESET_RECEIVED, STATE, SocketEvent
from tests.experiments.golden_runs import GoldenRun
from topologies.domain.connection import FourTuple
from topologies.domain.plan import FANOUT_MAC

US = 1_000
SECOND = 1_000_000_000


class Victim(NamedTuple):
    """A connection of the record, its owner, and where the event led it."""

    connection: FourTuple
    home: str
    new: str | None


#: Spoils the record. The first victim has moved, the second has not.
Act = Callable[[GoldenRun, Victim, Victim], None]


@dataclass(frozen=True)
class Spoil:
    """``unmet``: expectations that it must break, at least. ``doubts``: what it must make
    doubtful, by the name of the figure or of the check in :mod:`experiments.verdict.trust`.
    ``of``: the record that is spoiled."""

    act: Act
    unmet: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    of: str = "flood"

    @property
    def name(self) -> str:
        """For the test's name."""
        return f"{self.of}: {self.act.__name__}"


def event_ns(run: GoldenRun) -> int:
    """When the record's event was asked for."""
    return round(float(run.record["events"][0]["requested_s"]) * SECOND)


def settled_ns(run: GoldenRun) -> int:
    """When no cached flow was left of before the event."""
    return round(float(run.record["events"][0]["settled_s"]) * SECOND)


def is_copy(one: Observation, victim: Victim) -> bool:
    """A switch's copy of the victim's reset."""
    return one.connection == victim.connection and one.eth_src == FANOUT_MAC


def is_stray(one: Observation, victim: Victim) -> bool:
    """A segment of the victim's client, in at the node that does not know it."""
    ours = one.connection == victim.connection and one.eth_src != FANOUT_MAC
    return ours and one.label == victim.new and not one.flags & (RST | SYN)


def is_end(event: SocketEvent, victim: Victim, *, client: bool) -> bool:
    """The victim's reset, or the end of its socket, at one of its two ends."""
    ours = event.connection == victim.connection and event.at_client == client
    return ours and (event.kind == RESET_RECEIVED or event.new == "CLOSE")


def a_stray_is_missing(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.drop_frames(lambda one: is_stray(one, moved))


def a_tier1_copy_is_missing(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.drop_frames(lambda one: is_copy(one, moved) and one.label == "fabric-c2")


def a_tier2_copy_is_missing(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.drop_frames(lambda one: is_copy(one, moved) and one.label == "c2n1")


def no_node_gets_a_copy(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    nodes = ("c1n1", "c1n2", "c1n3", "c2n1", "c2n2", "c2n3")
    run.drop_frames(lambda one: is_copy(one, moved) and one.label in nodes)


def the_clients_copy_is_missing(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.drop_frames(
        lambda one: (
            one.connection == moved.connection
            and one.label == "fabric-h1"
            and one.not_recognised
        )
    )


def copies_come_before_the_clients_reset(
    run: GoldenRun, moved: Victim, stayed: Victim
) -> None:
    for frame in run.frames:
        if is_copy(frame.seen, moved) and frame.seen.label == "fabric-c1":
            early = frame.seen.time_ns - 500 * US
            frame.seen = frame.seen._replace(time_ns=early)


def nobody_saw_an_owners_socket_begin(
    run: GoldenRun, moved: Victim, stayed: Victim
) -> None:
    run.drop_sockets(
        lambda event: (
            event.connection == moved.connection
            and not event.at_client
            and event.time_ns < event_ns(run)
        )
    )


def no_owners_socket_was_seen(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.drop_sockets(lambda event: not event.at_client)


def an_owner_is_not_freed(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.drop_sockets(lambda event: is_end(event, moved, client=False))
    run.hold(moved.connection, moved.home)


def only_the_events_miss_an_owners_end(
    run: GoldenRun, moved: Victim, stayed: Victim
) -> None:
    run.drop_sockets(lambda event: is_end(event, moved, client=False))


def a_client_hangs(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.drop_sockets(lambda event: is_end(event, moved, client=True))
    run.record["clients_after"].append(list(moved.connection))


def a_clients_reset_is_no_reset(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.drop_sockets(
        lambda event: is_end(event, moved, client=True) and event.kind != STATE
    )


def a_client_is_silent(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    since = event_ns(run)
    run.drop_frames(
        lambda one: one.connection == moved.connection and one.time_ns > since
    )
    an_owner_is_not_freed(run, moved, stayed)
    a_client_hangs(run, moved, stayed)


def an_unmoved_connection_is_reset(
    run: GoldenRun, moved: Victim, stayed: Victim
) -> None:
    last = next(
        event
        for event in reversed(run.sockets)
        if event.connection == stayed.connection
        and event.at_client
        and event.new == "ESTABLISHED"
    )
    at = event_ns(run) + SECOND // 2
    run.drop_sockets(lambda one: one.socket == last.socket and one.time_ns > at)
    run.sockets += [
        last._replace(time_ns=at, kind=RESET_RECEIVED, old="", new=""),
        last._replace(time_ns=at + US, old="ESTABLISHED", new="CLOSE"),
    ]


def a_socket_table_has_one_more(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.hold(stayed.connection, "c2n1" if stayed.home != "c2n1" else "c2n2")


def the_socket_tables_are_empty(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.record["held_after"], run.record["clients_after"] = [], []


def a_write_is_lost(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.report[-1]["lost_writes"] = 1


def an_owner_is_not_as_predicted(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    for held in run.record["held_before"]:
        if FourTuple(*held[0]) == stayed.connection:
            held[1] = ["c2n1" if stayed.home != "c2n1" else "c2n2"]


def the_first_look_saw_nothing(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.record["held_before"] = []


def a_segment_comes_to_a_wrong_node(
    run: GoldenRun, moved: Victim, stayed: Victim
) -> None:
    late = settled_ns(run) + SECOND // 2
    frame = next(
        frame
        for frame in run.frames
        if frame.seen.connection == stayed.connection
        and frame.seen.time_ns > late
        and not frame.seen.outgoing
    )
    wrong = "c2n1" if stayed.home != "c2n1" else "c2n2"
    frame.seen = frame.seen._replace(label=wrong)


def nothing_moves(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    for event in run.record["events"]:
        event["after"] = run.record["initial"]


def ten_socket_events_are_lost(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.record["instruments"]["probes"]["lost"] = 10


def the_clock_is_set(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.record["instruments"]["probes"]["clock_step_ns"] = -20_000_000


def segments_are_dropped(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.record["instruments"]["capture"]["dropped"] = 3


def a_client_says_no_last_word(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    del run.report[-1]


def a_client_tells_of_one_more(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.report[-1]["opened"] += 1


def a_client_tells_of_one_less(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.report[-1]["opened"] -= 1


def a_connection_escapes_the_probes(
    run: GoldenRun, moved: Victim, stayed: Victim
) -> None:
    run.drop_sockets(lambda event: event.connection == stayed.connection)


def the_probes_are_blind(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.sockets = []


def the_capture_is_blind(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.frames = []
    run.record["instruments"]["capture"]["packets"] = 0


def the_clusters_supervisor_failed(
    run: GoldenRun, moved: Victim, stayed: Victim
) -> None:
    run.record["faults"] = ["supervisor: OSError"]


def a_switch_lost_a_frame(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.record["switch_drops"] = 1


def a_node_answers(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.record["packets"]["node_resets"] = 1


def a_switch_copies(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.record["packets"]["tier1_copies"] = 1


def a_node_gets_a_copy(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.record["packets"]["tier2_copies"] = 1


def a_client_reconnects(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    run.report[-1]["reconnected"] = 1


def a_moved_client_is_reset(run: GoldenRun, moved: Victim, stayed: Victim) -> None:
    an_unmoved_connection_is_reset(run, stayed, moved)


E1, E2, E3, E4, E5 = ((f"claim.E{n}.passed", f"claim.E{n}.held") for n in range(1, 6))
ORDER = ("wire_order.passed", "wire_order.held")
AGREED = ("measurement.sockets_not_agreed",)

SPOILS = (
    Spoil(a_stray_is_missing, ("connections.reset", "wire_order.passed")),
    Spoil(a_tier1_copy_is_missing, E4),
    Spoil(a_tier2_copy_is_missing, E5),
    Spoil(no_node_gets_a_copy, (*E3, *E5, *ORDER)),
    Spoil(the_clients_copy_is_missing, (*E2, *ORDER)),
    Spoil(copies_come_before_the_clients_reset, ORDER),
    Spoil(nobody_saw_an_owners_socket_begin, (), ("sockets_begun_unseen",)),
    Spoil(no_owners_socket_was_seen, (*E1, *E3, *AGREED)),
    Spoil(an_owner_is_not_freed, ("half_open.at_end", *E3)),
    Spoil(
        only_the_events_miss_an_owners_end,
        ("half_open.at_end", "measurement.half_open_not_agreed", *AGREED),
    ),
    Spoil(a_client_hangs, ("connections.hung", "connections.reset", *E2)),
    Spoil(a_clients_reset_is_no_reset, ("connections.reset", *E2)),
    Spoil(a_client_is_silent, ("connections.silent",)),
    Spoil(an_unmoved_connection_is_reset, ("connections.broken_unmoved",)),
    Spoil(
        a_socket_table_has_one_more,
        ("measurement.half_open_by_socket_tables", *AGREED),
    ),
    Spoil(the_socket_tables_are_empty, AGREED),
    Spoil(a_write_is_lost, ("data.lost_writes",)),
    Spoil(an_owner_is_not_as_predicted, ("measurement.owners_not_as_predicted",)),
    Spoil(the_first_look_saw_nothing, ("measurement.owners_not_as_predicted",)),
    Spoil(
        a_segment_comes_to_a_wrong_node,
        ("measurement.arrivals_not_as_predicted",),
    ),
    Spoil(nothing_moves, ("connections.moved", "connections.broken_unmoved")),
    Spoil(ten_socket_events_are_lost, doubts=("events_lost",)),
    Spoil(the_clock_is_set, doubts=("clock_step_ns",)),
    Spoil(segments_are_dropped, doubts=("dropped",)),
    Spoil(
        a_client_says_no_last_word,
        ("measurement.clients_without_summary",),
        ("clients_without_summary",),
    ),
    Spoil(a_client_tells_of_one_more, doubts=("opened_differs",)),
    Spoil(a_client_tells_of_one_less, doubts=("opened_differs",)),
    Spoil(a_connection_escapes_the_probes, AGREED, ("opened_differs",)),
    Spoil(the_probes_are_blind, doubts=("blind_probes",)),
    Spoil(the_capture_is_blind, doubts=("blind_capture",)),
    Spoil(a_switch_lost_a_frame, doubts=("switch_drops",)),
    Spoil(the_clusters_supervisor_failed, doubts=("faulty_cluster",)),
    Spoil(a_node_answers, ("packets.node_resets",), of="drop"),
    Spoil(a_switch_copies, ("packets.tier1_copies",), of="drop"),
    Spoil(a_node_gets_a_copy, ("packets.tier2_copies",), of="drop"),
    Spoil(
        a_moved_client_is_reset, ("connections.reset", "connections.hung"), of="drop"
    ),
    Spoil(a_client_is_silent, ("half_open.silent",), of="proactive"),
    Spoil(an_owner_is_not_freed, ("half_open.silent",), of="proactive"),
    Spoil(a_switch_copies, ("packets.tier1_copies",), of="proactive"),
    Spoil(a_moved_client_is_reset, ("connections.reset",), of="second-chance"),
    Spoil(a_client_reconnects, ("connections.reconnected",), of="second-chance"),
)
