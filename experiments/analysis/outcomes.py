"""The outcome of every connection of a run: pure.

A *connection* here is the lifetime of one client socket. A reconnection is another
connection, even on the same 4-tuple. Terms:

================ =====================================================================
opened           the client's socket became established
owner            the node in whose namespace the server's socket is. If no such socket was
                 seen: the node that answered the SYN, or else the predicted node
unfinished       the owner answered the SYN, but after an event the rest of the handshake
                 went to another node. The client's socket was established, the owner's
                 never was. Only if an event was in progress then: otherwise the owner's
                 socket was not seen
moved            while the client's socket was open, an event assigned the connection to a
                 node other than its owner
stray            a client's segment that arrives at a node that is not the owner; not a
                 SYN, a RST or a copy
reset            the client's kernel accepted a RST for it
spoke            moved, and a stray of it was seen
silent           moved, and no stray was seen: the client waits and does not know. Not
                 if the last tables send it to its owner again: then nothing is wrong
late             moved, and its first stray came within the last 250 ms of the observation
                 (DUE_NS). The end cut off its consequences, so it does not count as spoke
hung             moved, a stray was sent, and at the end of the observation the client's
                 socket was still open
broken unmoved   did not move, but was reset, timed out or was destroyed
half open        from the first stray until the owner's kernel freed its socket, if that is
                 later. Without a capture: from the client's reset, or else the move.
                 Owners that failed are left out: they hold nothing
stale at end     at the end of the observation the owner's socket exists, but no client
                 has the other end, or the tables send its segments elsewhere
half open,       stale at the end, but not half open by the definition above, because no
silent           stray was seen
half open,       half open by the definition above at the end, but not stale: the tables
returned         send it to its owner again, the client has the other end, and it works
limited          spoke, but the budget allowed no fan-out: the client was reset by RST|ACK
cut off          stale at the end, and no packet can reach the owner: its chassis is cut off
held on          moved and freed: from the time when nothing justified it any more (the move,
                 or the end of the client's socket, whichever came last) until the owner
                 freed its socket
out of reach     the owner had power, but no copy of a reset could reach it when the half
                 open interval began: its chassis was cut off
reset latency    from the first stray until the client's socket is reset
================ =====================================================================

Everything after the end of the observation is left out, because clients and servers are
stopped then. A half-open interval that lasts until the end is *censored*: it counts in
the lifetimes as a lower bound.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from experiments.analysis.epochs import IN_FLIGHT_NS, EpochTimeline
from experiments.analysis.observations import RST, SYN, Observation
from experiments.analysis.socket_states import SocketLifetime
from experiments.analysis.statistics import Percentiles, peak, percentiles
from topologies.domain.connection import FourTuple
from topologies.domain.plan import FANOUT_MAC

_NS_PER_MS = 1e6
#: A stray must come this long before the end for its consequences to be expected. They
#: take a small part of it, also on a busy machine.
DUE_NS = 250_000_000


@dataclass(frozen=True)
class Outcome:
    """The outcome of one connection. Times are CLOCK_REALTIME ns; None: never."""

    connection: FourTuple
    opened_ns: int
    owner: str | None
    end_ns: int  # of the observation
    moved_ns: int | None = None
    moved_to: str | None = None
    first_stray: Observation | None = None
    reset_ns: int | None = None
    #: When the client's socket ended, for any reason.
    ended_ns: int | None = None
    #: The client's socket timed out or was destroyed.
    lost: bool = False
    #: Whether the owner's socket was seen, and when it was freed.
    owner_seen: bool = False
    freed_ns: int | None = None
    owner_failed: bool = False
    #: The owner answered the SYN, but never had a socket of it.
    unfinished: bool = False
    #: No copy could reach the owner when its half-open interval began.
    owner_out_of_reach: bool = False
    #: By the last tables its segments reach a node that is not the owner.
    routed_elsewhere: bool = False
    strays_captured: bool = False
    #: Its first stray came too near the end to expect its consequences.
    late: bool = False
    #: By the last tables no packet reaches the owner, which has power.
    owner_cut_off: bool = False
    #: Its stray was answered by a reset that no switch fans out, and by no other.
    limited: bool = False
    #: When the node of its first stray first sent it such a reset.
    refused_ns: int | None = None
    #: When the client's socket first saw an end of its connection close (FIN).
    closing_ns: int | None = None

    @property
    def moved(self) -> bool:
        """Whether an event assigned it to another node while it was open."""
        return self.moved_ns is not None

    @property
    def reset(self) -> bool:
        """Whether the client's socket was reset."""
        return self.reset_ns is not None

    @property
    def closed_first(self) -> bool:
        """Whether it was reset when one of its ends had closed it already."""
        reset, closing = self.reset_ns, self.closing_ns
        return reset is not None and closing is not None and closing < reset

    @property
    def spoke(self) -> bool:
        """Whether it moved, and a stray of it was seen."""
        return self.moved and self.first_stray is not None

    @property
    def silent(self) -> bool:
        """Whether its client waits for another node, and no stray was seen."""
        waits = self.moved and self.ended_ns is None and self.routed_elsewhere
        return waits and self.first_stray is None and not self.late

    @property
    def hung(self) -> bool:
        """Whether the client hangs. Without a capture, every moved one counts."""
        strayed = self.first_stray is not None or not self.strays_captured
        return self.moved and strayed and self.ended_ns is None

    @property
    def broken_unmoved(self) -> bool:
        """Whether it did not move, but was reset or lost."""
        return not self.moved and (self.reset or self.lost)

    @property
    def latency_ms(self) -> float | None:
        """Time from the first stray to the client's reset."""
        if self.reset_ns is None or self.first_stray is None:
            return None
        return (self.reset_ns - self.first_stray.time_ns) / _NS_PER_MS

    @property
    def half_open(self) -> tuple[int, int] | None:
        """Its half-open interval: from the first stray until the owner freed its socket,
        or the end."""
        start = self.half_open_from
        if start is None or not self.owner_seen or self.owner_failed:
            return None
        until = self.end_ns if self.freed_ns is None else self.freed_ns
        return (start, until) if until > start else None

    @property
    def half_open_from(self) -> int | None:
        """Time of the first stray; without a capture, of the client's reset or the move."""
        if self.first_stray is not None:
            return self.first_stray.time_ns
        if self.strays_captured or not self.moved:
            return None
        return self.reset_ns or self.moved_ns

    @property
    def half_open_at_end(self) -> bool:
        """Whether the owner still held it when the observation ended."""
        return self.half_open is not None and self.freed_ns is None

    @property
    def stale_at_end(self) -> bool:
        """Whether at the end the owner's socket has no client, or its segments go elsewhere."""
        held = self.owner_seen and self.freed_ns is None
        return held and (self.ended_ns is not None or self.routed_elsewhere)

    @property
    def cut_off_at_end(self) -> bool:
        """Whether it is stale at the end, and nothing can reach the owner."""
        return self.stale_at_end and self.owner_cut_off

    @property
    def held_on_ms(self) -> float | None:
        """How long the owner held it when nothing justified that any more; None if it did
        not move, or was not freed."""
        if self.moved_ns is None or self.freed_ns is None or self.owner_failed:
            return None
        since = max(self.moved_ns, self.ended_ns or 0)
        return max(0, self.freed_ns - since) / _NS_PER_MS

    @property
    def half_open_silent(self) -> bool:
        """Whether it is stale at the end, and no stray was seen."""
        return self.stale_at_end and not self.half_open_at_end

    @property
    def half_open_returned(self) -> bool:
        """Whether it was half open, and works again at the end."""
        return self.half_open_at_end and not self.stale_at_end


@dataclass(frozen=True)
class Totals:
    """The totals of a run: ``connections`` to ``reset_latency_ms`` of ``summary.json``.

    ``censored``: how many lifetimes are lower bounds, because they lasted to the end.
    ``half_open_out_of_reach``: those at the end that no copy could have reached.
    ``spoke`` and ``silent`` are None without a capture. ``held_on_ms_max``: the longest
    time for which an owner held a connection in vain, of those that were freed.
    """

    opened: int
    moved: int
    spoke: int | None
    unfinished: int
    silent: int | None
    late: int
    reset: int
    hung: int
    broken_unmoved: int
    half_open_peak: int
    half_open_at_end: int
    half_open_silent: int
    half_open_returned: int
    half_open_out_of_reach: int
    half_open_cut_off: int
    limited: int
    held_on_ms_max: float | None
    half_open_lifetime_ms: Percentiles
    censored: int
    reset_latency_ms: Percentiles


def connection_outcomes(
    lifetimes: Iterable[SocketLifetime],
    timeline: EpochTimeline,
    strays: Iterable[Observation] | None,
    end_ns: int,
    answers: Iterable[Observation] = (),
    preserves_moved: bool = False,
) -> list[Outcome]:
    """The outcome of each connection that a client opened before ``end_ns``.

    ``lifetimes``: all sockets, each with its ``host``. ``strays``: the candidates for
    strays, in the order of time; None without a capture. ``answers``: the nodes' SYN,ACKs,
    in the order of time. ``preserves_moved``: the policy sends a connection to its owner,
    whatever the tables say.
    """
    servers: dict[FourTuple, list[SocketLifetime]] = defaultdict(list)
    clients: dict[FourTuple, list[SocketLifetime]] = defaultdict(list)
    for lifetime in sorted(lifetimes, key=lambda lifetime: lifetime.first_ns):
        (clients if lifetime.at_client else servers)[lifetime.connection].append(
            lifetime
        )
    inbound = None if strays is None else _by_connection(strays)
    answered = _by_connection(answers)
    outcomes = []
    for connection, sockets in clients.items():
        begins = [lifetime.first_ns for lifetime in sockets] + [1 << 63]
        for lifetime, begin, next_begin in zip(
            sockets, begins, begins[1:], strict=False
        ):
            if not _opened(lifetime, end_ns):
                continue
            span = _Span(begin, min(next_begin, end_ns))
            server = next((s for s in servers[connection] if span.holds(s)), None)
            answer = _answer(answered.get(connection, ()), span)
            outcome = _outcome(lifetime, server, answer, timeline, end_ns)
            if inbound is not None:
                stray = _first_stray(
                    inbound.get(connection, ()), span, outcome.owner, server
                )
                outcome = replace(outcome, first_stray=stray, strays_captured=True)
                outcome = _without_pending_stray(outcome)
            elsewhere = not preserves_moved and _routed_elsewhere(outcome, timeline)
            outcome = replace(outcome, routed_elsewhere=elsewhere)
            outcomes.append(_with_reachability(outcome, timeline))
    return outcomes


def totals(outcomes: Sequence[Outcome]) -> Totals:
    """The figures of a whole run."""
    intervals = [outcome.half_open for outcome in outcomes if outcome.half_open]
    latencies = [
        outcome.latency_ms for outcome in outcomes if outcome.latency_ms is not None
    ]
    at_end = sum(outcome.half_open_at_end for outcome in outcomes)
    captured = all(outcome.strays_captured for outcome in outcomes)
    return Totals(
        opened=len(outcomes),
        moved=sum(outcome.moved for outcome in outcomes),
        spoke=sum(outcome.spoke for outcome in outcomes) if captured else None,
        unfinished=sum(outcome.spoke and outcome.unfinished for outcome in outcomes),
        silent=sum(outcome.silent for outcome in outcomes) if captured else None,
        late=sum(outcome.late for outcome in outcomes),
        reset=sum(outcome.reset for outcome in outcomes),
        hung=sum(outcome.hung for outcome in outcomes),
        broken_unmoved=sum(outcome.broken_unmoved for outcome in outcomes),
        half_open_peak=peak(intervals),
        half_open_at_end=at_end,
        half_open_silent=sum(outcome.half_open_silent for outcome in outcomes),
        half_open_returned=sum(outcome.half_open_returned for outcome in outcomes),
        half_open_out_of_reach=sum(
            outcome.half_open_at_end and outcome.owner_out_of_reach
            for outcome in outcomes
        ),
        half_open_cut_off=sum(outcome.cut_off_at_end for outcome in outcomes),
        limited=sum(outcome.spoke and outcome.limited for outcome in outcomes),
        held_on_ms_max=max(
            (o.held_on_ms for o in outcomes if o.held_on_ms is not None), default=None
        ),
        half_open_lifetime_ms=percentiles(
            (end - start) / _NS_PER_MS for start, end in intervals
        ),
        censored=at_end,
        reset_latency_ms=percentiles(latencies),
    )


def is_stray_candidate(observation: Observation, nodes: frozenset[str]) -> bool:
    """Whether it is a client's segment that arrives at a node and needs a socket there.

    Not a SYN, which opens a connection; not a RST; not a switch's copy.
    """
    return (
        not observation.outgoing
        and observation.label in nodes
        and not observation.flags & (SYN | RST)
        and observation.eth_src != FANOUT_MAC
    )


class _Span(NamedTuple):
    """The time in which a client's socket is the only one on its 4-tuple."""

    begin: int
    end: int

    def holds(self, server: SocketLifetime) -> bool:
        """Whether a node's socket is the other end of the client's."""
        return server.opened_ns is None or self.begin <= server.opened_ns < self.end


def _opened(lifetime: SocketLifetime, end_ns: int) -> bool:
    """Whether it was established before ``end_ns``.

    No event of it: it was established before the probes started."""
    if lifetime.established_ns is None:
        return lifetime.opened_ns is None
    return lifetime.established_ns < end_ns


def _answer(answers: Sequence[Observation], span: _Span) -> str | None:
    """The node that answered the SYN of the client's socket."""
    return next((a.label for a in answers if span.begin <= a.time_ns < span.end), None)


def _outcome(
    lifetime: SocketLifetime,
    server: SocketLifetime | None,
    answer: str | None,
    timeline: EpochTimeline,
    end_ns: int,
) -> Outcome:
    opened = lifetime.established_ns or lifetime.first_ns
    owner = (server.host if server else None) or answer
    owner = owner or timeline.at(opened).owner_of(lifetime.connection)
    ended = _until(lifetime.closed_ns, end_ns)
    moved_ns, moved_to = _move(
        lifetime.connection, owner, timeline, opened, ended or end_ns
    )
    return Outcome(
        connection=lifetime.connection,
        opened_ns=opened,
        owner=owner,
        end_ns=end_ns,
        moved_ns=moved_ns,
        moved_to=moved_to,
        reset_ns=_until(lifetime.reset_ns, end_ns),
        closing_ns=lifetime.closing_ns,
        ended_ns=ended,
        lost=lifetime.lost and ended is not None,
        owner_seen=server is not None,
        unfinished=server is None
        and answer is not None
        and timeline.under_way(opened, IN_FLIGHT_NS),
        freed_ns=_until(server.closed_ns, end_ns) if server else None,
        owner_failed=moved_ns is not None and not timeline.at(moved_ns).powers(owner),
    )


def _move(
    connection: FourTuple,
    owner: str | None,
    timeline: EpochTimeline,
    opened: int,
    ended: int,
) -> tuple[int | None, str | None]:
    """When an event first assigned it to another node while it was open, and to which."""
    epochs = list(timeline.after(opened))
    if opened <= timeline.at(opened).settled_ns:  # perhaps opened by the old state
        epochs.insert(0, timeline.at(opened))
    for epoch in epochs:
        if epoch.start_ns >= ended:
            break
        target = epoch.owner_of(connection)
        if target != owner:
            return max(epoch.start_ns, opened), target
    return None, None


def _routed_elsewhere(outcome: Outcome, timeline: EpochTimeline) -> bool:
    """Whether the last tables send the connection to a node that is not its owner."""
    return timeline.epochs[-1].owner_of(outcome.connection) != outcome.owner


def _with_reachability(outcome: Outcome, timeline: EpochTimeline) -> Outcome:
    """The outcome, with ``owner_cut_off`` and ``owner_out_of_reach`` set."""
    cut_off = outcome.owner in timeline.epochs[-1].cut_off
    outcome = replace(outcome, owner_cut_off=cut_off)
    start = outcome.half_open_from
    if start is None or outcome.owner_failed:
        return outcome
    return replace(outcome, owner_out_of_reach=timeline.cuts_off(start, outcome.owner))


def _without_pending_stray(outcome: Outcome) -> Outcome:
    """The outcome without a stray whose consequences the end cut off.

    The stray and the consequences seen so far are left out, like everything after the
    end: where the observation ends must not decide the run's outcome.
    """
    stray = outcome.first_stray
    if stray is None or stray.time_ns <= outcome.end_ns - DUE_NS:
        return outcome
    freed = (
        outcome.freed_ns is not None or outcome.owner_failed or not outcome.owner_seen
    )
    if outcome.ended_ns is not None and freed:
        return outcome
    return replace(outcome, first_stray=None, reset_ns=None, ended_ns=None, late=True)


def _first_stray(
    inbound: Sequence[Observation],
    span: _Span,
    owner: str | None,
    server: SocketLifetime | None,
) -> Observation | None:
    """The first segment at a node without its socket: another node, or the owner after
    it failed and returned without its state."""
    lost_ns = server.closed_ns if server and server.lost else None
    for segment in inbound:
        if span.begin <= segment.time_ns < span.end and (
            segment.label != owner
            or (lost_ns is not None and segment.time_ns > lost_ns)
        ):
            return segment
    return None


def _by_connection(
    observations: Iterable[Observation],
) -> dict[FourTuple, list[Observation]]:
    grouped: dict[FourTuple, list[Observation]] = defaultdict(list)
    for segment in observations:
        if segment.connection:
            grouped[segment.connection].append(segment)
    return grouped


def _until(time_ns: int | None, end_ns: int) -> int | None:
    return time_ns if time_ns is not None and time_ns < end_ns else None
