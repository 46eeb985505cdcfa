"""Faults of a good run's record, one changed fact each, and their required effects."""

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


class Subject(NamedTuple):
    """A connection of the record, its owner, and its owner after the event."""

    connection: FourTuple
    home: str
    new: str | None


#: Changes the record. The first subject has moved, the second has not.
Act = Callable[[GoldenRun, Subject, Subject], None]


@dataclass(frozen=True)
class Fault:
    """``unmet``: expectations that it must break, at least. ``doubts``: reasons for
    distrust, by the name of the figure or of the check in :mod:`experiments.verdict.trust`.
    ``of``: the record that is changed."""

    act: Act
    unmet: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    of: str = "flood"

    @property
    def name(self) -> str:
        """For the test's name."""
        return f"{self.of}: {self.act.__name__}"


def event_ns(run: GoldenRun) -> int:
    """When the record's event was requested."""
    return round(float(run.record["events"][0]["requested_s"]) * SECOND)


def settled_ns(run: GoldenRun) -> int:
    """When no cached flow from before the event was left."""
    return round(float(run.record["events"][0]["settled_s"]) * SECOND)


def is_copy(one: Observation, subject: Subject) -> bool:
    """A switch's copy of the subject's reset."""
    return one.connection == subject.connection and one.eth_src == FANOUT_MAC


def is_stray(one: Observation, subject: Subject) -> bool:
    """A segment of the subject's client, inbound at the node that has no socket for it."""
    ours = one.connection == subject.connection and one.eth_src != FANOUT_MAC
    return ours and one.label == subject.new and not one.flags & (RST | SYN)


def is_end(event: SocketEvent, subject: Subject, *, client: bool) -> bool:
    """The subject's reset, or the end of its socket, at one of its two ends."""
    ours = event.connection == subject.connection and event.at_client == client
    return ours and (event.kind == RESET_RECEIVED or event.new == "CLOSE")


def a_stray_is_missing(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.drop_frames(lambda one: is_stray(one, moved))


def a_tier1_copy_is_missing(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.drop_frames(lambda one: is_copy(one, moved) and one.label == "fabric-c2")


def a_tier2_copy_is_missing(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.drop_frames(lambda one: is_copy(one, moved) and one.label == "c2n1")


def no_node_gets_a_copy(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    nodes = ("c1n1", "c1n2", "c1n3", "c2n1", "c2n2", "c2n3")
    run.drop_frames(lambda one: is_copy(one, moved) and one.label in nodes)


def the_clients_copy_is_missing(
    run: GoldenRun, moved: Subject, stayed: Subject
) -> None:
    run.drop_frames(
        lambda one: (
            one.connection == moved.connection
            and one.label == "fabric-h1"
            and one.not_recognised
        )
    )


def copies_come_before_the_clients_reset(
    run: GoldenRun, moved: Subject, stayed: Subject
) -> None:
    for frame in run.frames:
        if is_copy(frame.seen, moved) and frame.seen.label == "fabric-c1":
            early = frame.seen.time_ns - 500 * US
            frame.seen = frame.seen._replace(time_ns=early)


def nobody_saw_an_owners_socket_begin(
    run: GoldenRun, moved: Subject, stayed: Subject
) -> None:
    run.drop_sockets(
        lambda event: (
            event.connection == moved.connection
            and not event.at_client
            and event.time_ns < event_ns(run)
        )
    )


def no_owners_socket_was_seen(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.drop_sockets(lambda event: not event.at_client)


def an_owner_is_not_freed(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.drop_sockets(lambda event: is_end(event, moved, client=False))
    run.hold(moved.connection, moved.home)


def only_the_events_miss_an_owners_end(
    run: GoldenRun, moved: Subject, stayed: Subject
) -> None:
    run.drop_sockets(lambda event: is_end(event, moved, client=False))


def a_client_hangs(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.drop_sockets(lambda event: is_end(event, moved, client=True))
    run.record["clients_after"].append(list(moved.connection))


def a_clients_reset_is_no_reset(
    run: GoldenRun, moved: Subject, stayed: Subject
) -> None:
    run.drop_sockets(
        lambda event: is_end(event, moved, client=True) and event.kind != STATE
    )


def a_client_is_silent(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    since = event_ns(run)
    run.drop_frames(
        lambda one: one.connection == moved.connection and one.time_ns > since
    )
    an_owner_is_not_freed(run, moved, stayed)
    a_client_hangs(run, moved, stayed)


def an_unmoved_connection_is_reset(
    run: GoldenRun, moved: Subject, stayed: Subject
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


def a_socket_table_has_one_more(
    run: GoldenRun, moved: Subject, stayed: Subject
) -> None:
    run.hold(stayed.connection, "c2n1" if stayed.home != "c2n1" else "c2n2")


def the_socket_tables_are_empty(
    run: GoldenRun, moved: Subject, stayed: Subject
) -> None:
    run.record["held_after"], run.record["clients_after"] = [], []


def a_write_is_lost(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.report[-1]["lost_writes"] = 1


def an_owner_is_not_as_predicted(
    run: GoldenRun, moved: Subject, stayed: Subject
) -> None:
    for held in run.record["held_before"]:
        if FourTuple(*held[0]) == stayed.connection:
            held[1] = ["c2n1" if stayed.home != "c2n1" else "c2n2"]


def the_first_look_saw_nothing(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.record["held_before"] = []


def a_segment_comes_to_a_wrong_node(
    run: GoldenRun, moved: Subject, stayed: Subject
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


def nothing_moves(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    for event in run.record["events"]:
        event["after"] = run.record["initial"]


def ten_socket_events_are_lost(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.record["instruments"]["probes"]["lost"] = 10


def the_clock_is_set(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.record["instruments"]["probes"]["clock_step_ns"] = -20_000_000


def segments_are_dropped(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.record["instruments"]["capture"]["dropped"] = 3


def a_client_says_no_last_word(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    del run.report[-1]


def a_client_tells_of_one_more(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.report[-1]["opened"] += 1


def a_client_tells_of_one_less(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.report[-1]["opened"] -= 1


def a_connection_escapes_the_probes(
    run: GoldenRun, moved: Subject, stayed: Subject
) -> None:
    run.drop_sockets(lambda event: event.connection == stayed.connection)


def the_probes_are_blind(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.sockets = []


def the_capture_is_blind(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.frames = []
    run.record["instruments"]["capture"]["packets"] = 0


def the_clusters_supervisor_failed(
    run: GoldenRun, moved: Subject, stayed: Subject
) -> None:
    run.record["faults"] = ["supervisor: OSError"]


def a_switch_lost_a_frame(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.record["switch_drops"] = 1


def a_node_answers(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.record["packets"]["node_resets"] = 1


def a_switch_copies(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.record["packets"]["tier1_copies"] = 1


def a_node_gets_a_copy(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.record["packets"]["tier2_copies"] = 1


def a_client_reconnects(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.report[-1]["reconnected"] = 1


def a_moved_client_is_reset(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    an_unmoved_connection_is_reset(run, stayed, moved)


E1, E2, E3, E4, E5 = ((f"claim.E{n}.passed", f"claim.E{n}.held") for n in range(1, 6))
ORDER = ("wire_order.passed", "wire_order.held")
AGREED = ("measurement.sockets_not_agreed",)


def nobody_looks_at_the_locks(run: GoldenRun, moved: Subject, stayed: Subject) -> None:
    run.locks.clear()


def the_lock_monitor_ends_early(
    run: GoldenRun, moved: Subject, stayed: Subject
) -> None:
    end_s = float(run.record["end_s"]) - 1.1
    run.locks = [look for look in run.locks if look["t"] < end_s]


def a_client_does_not_get_its_own_lock_back(
    run: GoldenRun, moved: Subject, stayed: Subject
) -> None:
    last = max(
        (line for line in run.report if line["event"] == "lock-granted"),
        key=lambda line: line["t"],
    )
    run.report.remove(last)


def a_client_that_has_gone_keeps_its_lock(
    run: GoldenRun, moved: Subject, stayed: Subject
) -> None:
    """The server lists the lock of a moved client's first connection to the end."""
    host, port = "h1", moved.connection.sport
    for look in run.locks:
        if look["t"] > float(run.record["end_s"]) - 1:
            look["holders"] = [*look["holders"], f"{host}:{port}"]


FAULTS = (
    Fault(a_stray_is_missing, ("connections.reset", "wire_order.passed")),
    Fault(a_tier1_copy_is_missing, E4),
    Fault(a_tier2_copy_is_missing, E5),
    Fault(no_node_gets_a_copy, (*E3, *E5, *ORDER)),
    Fault(the_clients_copy_is_missing, (*E2, *ORDER)),
    Fault(copies_come_before_the_clients_reset, ORDER),
    Fault(nobody_saw_an_owners_socket_begin, (), ("sockets_begun_unseen",)),
    Fault(no_owners_socket_was_seen, (*E1, *E3, *AGREED)),
    Fault(an_owner_is_not_freed, ("half_open.at_end", *E3)),
    Fault(
        only_the_events_miss_an_owners_end,
        ("half_open.at_end", "measurement.half_open_not_agreed", *AGREED),
    ),
    Fault(a_client_hangs, ("connections.hung", "connections.reset", *E2)),
    Fault(a_clients_reset_is_no_reset, ("connections.reset", *E2)),
    Fault(a_client_is_silent, ("connections.silent",)),
    Fault(an_unmoved_connection_is_reset, ("connections.broken_unmoved",)),
    Fault(
        a_socket_table_has_one_more,
        ("measurement.half_open_by_socket_tables", *AGREED),
    ),
    Fault(the_socket_tables_are_empty, AGREED),
    Fault(a_write_is_lost, ("data.lost_writes",)),
    Fault(an_owner_is_not_as_predicted, ("measurement.owners_not_as_predicted",)),
    Fault(the_first_look_saw_nothing, ("measurement.owners_not_as_predicted",)),
    Fault(
        a_segment_comes_to_a_wrong_node,
        ("measurement.arrivals_not_as_predicted",),
    ),
    Fault(nothing_moves, ("connections.moved", "connections.broken_unmoved")),
    Fault(ten_socket_events_are_lost, doubts=("events_lost",)),
    Fault(the_clock_is_set, doubts=("clock_step_ns",)),
    Fault(segments_are_dropped, doubts=("dropped",)),
    Fault(
        a_client_says_no_last_word,
        ("measurement.clients_without_summary",),
        ("clients_without_summary",),
    ),
    Fault(a_client_tells_of_one_more, doubts=("opened_differs",)),
    Fault(a_client_tells_of_one_less, doubts=("opened_differs",)),
    Fault(a_connection_escapes_the_probes, AGREED, ("opened_differs",)),
    Fault(the_probes_are_blind, doubts=("blind_probes",)),
    Fault(the_capture_is_blind, doubts=("blind_capture",)),
    Fault(a_switch_lost_a_frame, doubts=("switch_drops",)),
    Fault(the_clusters_supervisor_failed, doubts=("faulty_cluster",)),
    Fault(nobody_looks_at_the_locks, doubts=("blind_lock_monitor",), of="postgres"),
    Fault(the_lock_monitor_ends_early, doubts=("blind_lock_monitor",), of="postgres"),
    Fault(
        a_client_does_not_get_its_own_lock_back,
        ("harm.own_lock.still_waiting",),
        of="postgres",
    ),
    Fault(
        a_client_that_has_gone_keeps_its_lock,
        ("harm.locks_of_nobody.at_end",),
        of="postgres",
    ),
    Fault(a_node_answers, ("packets.node_resets",), of="drop"),
    Fault(a_switch_copies, ("packets.tier1_copies",), of="drop"),
    Fault(a_node_gets_a_copy, ("packets.tier2_copies",), of="drop"),
    Fault(
        a_moved_client_is_reset, ("connections.reset", "connections.hung"), of="drop"
    ),
    Fault(a_client_is_silent, ("half_open.silent",), of="proactive"),
    Fault(an_owner_is_not_freed, ("half_open.silent",), of="proactive"),
    Fault(a_switch_copies, ("packets.tier1_copies",), of="proactive"),
    Fault(a_moved_client_is_reset, ("connections.reset",), of="second-chance"),
    Fault(a_client_reconnects, ("connections.reconnected",), of="second-chance"),
)
