"""What became of every connection of a run: pure.

A *connection* here is one life of a client's socket: a reconnection is another one,
even on the same 4-tuple. Words and their exact meaning:

================ =====================================================================
opened           the client's socket became established
home             the node that took it: whose namespace its socket is in; where there is
                 none, the one that answered its SYN, or else the predicted owner
unfinished       its home answered the SYN, but an event had the end of the handshake go
                 elsewhere: the client's socket is established, the home's never was. Only
                 where an event was under way then: otherwise its home was not seen
moved            while the client's socket was open, an event gave the connection an
                 owner other than its home
stray            a segment of the client, not SYN, RST or copy, in at a node that is not
                 the home
reset            the client's kernel accepted a RST for it
spoke            moved, and a stray of it was seen
silent           moved, and none was: the client waits and does not know. Not where at
                 the end the tables lead to its home again: then nothing is amiss
late             moved, and its first stray came within the last 250 ms of the observation
                 (DUE_NS), whose end cut off what follows from it: it has not spoken
hung             moved, a stray was sent, and at the end of the observation the client's
                 socket was still open
broken unmoved   did not move, yet was reset, timed out or was destroyed
half open        from the first stray (where nothing was captured: from the client's reset,
                 or else the move) until the home's kernel freed its socket, if that
                 is later; homes that failed hold nothing, so they are left out
held in vain     at the end of the observation: the home's socket is there, and no client
                 has the other end, or the tables lead elsewhere
half open,       of which no stray was seen: held in vain, and by the definition above
silent           not half open
half open,       by the definition above, yet the tables lead to the home again and the
returned         client has the other end: it goes on
out of reach     the home had power, but no copy of a reset could reach it when the half
                 open time began: its chassis was cut off
reset latency    from the first stray until the client's socket is reset
================ =====================================================================

Everything after the end of the observation is left out, since clients and servers are
then taken down: a half-open interval that still lasts is *censored* there, and counts
in the lifetimes as a lower bound.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from experiments.analysis.epochs import IN_FLIGHT_NS, History
from experiments.analysis.observations import RST, SYN, Observation
from experiments.analysis.socket_states import SocketLife
from experiments.analysis.statistics import Percentiles, peak, percentiles
from topologies.domain.connection import FourTuple
from topologies.domain.plan import FANOUT_MAC

_NS_PER_MS = 1e6
#: How long before the end a stray must have come for its consequences to be due: many
#: times what they take, also on a machine that has other things to do.
DUE_NS = 250_000_000


@dataclass(frozen=True)
class Fate:
    """What became of one connection; times are CLOCK_REALTIME ns, None: never."""

    connection: FourTuple
    opened_ns: int
    home: str | None
    end_ns: int  # of the observation
    moved_ns: int | None = None
    moved_to: str | None = None
    first_stray: Observation | None = None
    reset_ns: int | None = None
    #: The client's socket ended in whatever way.
    ended_ns: int | None = None
    #: The client's socket timed out or was destroyed.
    lost: bool = False
    #: The home's socket was seen, and when it was freed.
    home_seen: bool = False
    freed_ns: int | None = None
    home_failed: bool = False
    #: The home answered its SYN, and never had its socket.
    unfinished: bool = False
    #: No copy could reach the home when a reset of its connection was due.
    home_out_of_reach: bool = False
    #: By the tables of the end its segments reach a node that is not the home.
    led_elsewhere: bool = False
    strays_captured: bool = False
    #: Its first stray came so near the end that what follows from it was not due.
    late: bool = False

    @property
    def moved(self) -> bool:
        """Whether an event gave it another owner while it was open."""
        return self.moved_ns is not None

    @property
    def reset(self) -> bool:
        """Whether the client's socket was reset."""
        return self.reset_ns is not None

    @property
    def spoke(self) -> bool:
        """Whether a stray of it was seen once it had moved."""
        return self.moved and self.first_stray is not None

    @property
    def silent(self) -> bool:
        """Whether its client waits, led to a strange node, and no stray was seen."""
        waits = self.moved and self.ended_ns is None and self.led_elsewhere
        return waits and self.first_stray is None and not self.late

    @property
    def hung(self) -> bool:
        """Whether the client waits in vain. Without a capture, every move counts."""
        strayed = self.first_stray is not None or not self.strays_captured
        return self.moved and strayed and self.ended_ns is None

    @property
    def broken_unmoved(self) -> bool:
        """Whether it was disturbed without having moved."""
        return not self.moved and (self.reset or self.lost)

    @property
    def latency_ms(self) -> float | None:
        """First stray segment to the client's reset."""
        if self.reset_ns is None or self.first_stray is None:
            return None
        return (self.reset_ns - self.first_stray.time_ns) / _NS_PER_MS

    @property
    def half_open(self) -> tuple[int, int] | None:
        """From the first stray to the freeing of the home's socket, or to the end."""
        start = self.half_open_from
        if start is None or not self.home_seen or self.home_failed:
            return None
        until = self.end_ns if self.freed_ns is None else self.freed_ns
        return (start, until) if until > start else None

    @property
    def half_open_from(self) -> int | None:
        """The first stray; where nothing was captured, the client's reset or the move."""
        if self.first_stray is not None:
            return self.first_stray.time_ns
        if self.strays_captured or not self.moved:
            return None
        return self.reset_ns or self.moved_ns

    @property
    def half_open_at_end(self) -> bool:
        """Whether the home still held it when the observation ended."""
        return self.half_open is not None and self.freed_ns is None

    @property
    def held_in_vain(self) -> bool:
        """Whether at the end the home holds what no client has, or nobody leads to it."""
        held = self.home_seen and self.freed_ns is None
        return held and (self.ended_ns is not None or self.led_elsewhere)

    @property
    def half_open_silent(self) -> bool:
        """Whether it is held in vain, and no stray tells of it."""
        return self.held_in_vain and not self.half_open_at_end

    @property
    def half_open_returned(self) -> bool:
        """Whether it was half open, and is a whole connection again."""
        return self.half_open_at_end and not self.held_in_vain


@dataclass(frozen=True)
class Totals:
    """What ``summary.json`` says in ``connections`` to ``reset_latency_ms``.

    ``censored`` of the lifetimes are lower bounds: these lasted to the end.
    ``half_open_out_of_reach``: those at the end that no copy could have reached.
    ``spoke`` and ``silent`` are None where nothing was captured.
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
    half_open_lifetime_ms: Percentiles
    censored: int
    reset_latency_ms: Percentiles


def connection_fates(
    lives: Iterable[SocketLife],
    history: History,
    strays: Iterable[Observation] | None,
    end_ns: int,
    answers: Iterable[Observation] = (),
    preserves_moved: bool = False,
) -> list[Fate]:
    """The fate of each connection that a client opened before ``end_ns``.

    ``lives`` are all sockets, each with its ``host``. ``strays`` are the observations in
    which strays are looked for, in the order of time; None where nothing was captured.
    ``answers``: the nodes' SYN,ACKs, in the order of time. ``preserves_moved``: the policy
    leads a connection to its home whatever the tables say.
    """
    servers: dict[FourTuple, list[SocketLife]] = defaultdict(list)
    clients: dict[FourTuple, list[SocketLife]] = defaultdict(list)
    for life in sorted(lives, key=lambda life: life.first_ns):
        (clients if life.at_client else servers)[life.connection].append(life)
    inbound = None if strays is None else _by_connection(strays)
    answered = _by_connection(answers)
    fates = []
    for connection, own in clients.items():
        begins = [life.first_ns for life in own] + [1 << 63]
        for life, begin, next_begin in zip(own, begins, begins[1:], strict=False):
            if not _opened(life, end_ns):
                continue
            span = _Span(begin, min(next_begin, end_ns))
            server = next((s for s in servers[connection] if span.holds(s)), None)
            answer = _answer(answered.get(connection, ()), span)
            fate = _fate(life, server, answer, history, end_ns)
            if inbound is not None:
                stray = _first_stray(
                    inbound.get(connection, ()), span, fate.home, server
                )
                fate = replace(fate, first_stray=stray, strays_captured=True)
                fate = _as_far_as_due(fate)
            elsewhere = not preserves_moved and _led_elsewhere(fate, history)
            fate = replace(fate, led_elsewhere=elsewhere)
            fates.append(_in_reach_or_not(fate, history))
    return fates


def totals(fates: Sequence[Fate]) -> Totals:
    """The figures of a whole run."""
    intervals = [fate.half_open for fate in fates if fate.half_open]
    latencies = [fate.latency_ms for fate in fates if fate.latency_ms is not None]
    at_end = sum(fate.half_open_at_end for fate in fates)
    seen = all(fate.strays_captured for fate in fates)
    return Totals(
        opened=len(fates),
        moved=sum(fate.moved for fate in fates),
        spoke=sum(fate.spoke for fate in fates) if seen else None,
        unfinished=sum(fate.spoke and fate.unfinished for fate in fates),
        silent=sum(fate.silent for fate in fates) if seen else None,
        late=sum(fate.late for fate in fates),
        reset=sum(fate.reset for fate in fates),
        hung=sum(fate.hung for fate in fates),
        broken_unmoved=sum(fate.broken_unmoved for fate in fates),
        half_open_peak=peak(intervals),
        half_open_at_end=at_end,
        half_open_silent=sum(fate.half_open_silent for fate in fates),
        half_open_returned=sum(fate.half_open_returned for fate in fates),
        half_open_out_of_reach=sum(
            fate.half_open_at_end and fate.home_out_of_reach for fate in fates
        ),
        half_open_lifetime_ms=percentiles(
            (end - start) / _NS_PER_MS for start, end in intervals
        ),
        censored=at_end,
        reset_latency_ms=percentiles(latencies),
    )


def is_stray_candidate(observation: Observation, nodes: frozenset[str]) -> bool:
    """Whether it is a client's segment in at a node that a socket would have to know.

    Not a SYN, which begins a connection, not a RST, and not a switch's copy.
    """
    return (
        not observation.outgoing
        and observation.label in nodes
        and not observation.flags & (SYN | RST)
        and observation.eth_src != FANOUT_MAC
    )


class _Span(NamedTuple):
    """While one client's socket has its 4-tuple to itself."""

    begin: int
    end: int

    def holds(self, server: SocketLife) -> bool:
        """Whether a node's socket is the other end of the client's."""
        return server.opened_ns is None or self.begin <= server.opened_ns < self.end


def _opened(life: SocketLife, end_ns: int) -> bool:
    """Whether it was established in time; unseen means before the probes began."""
    if life.established_ns is None:
        return life.opened_ns is None
    return life.established_ns < end_ns


def _answer(answers: Sequence[Observation], span: _Span) -> str | None:
    """The node that answered the SYN of the client's socket."""
    return next((a.label for a in answers if span.begin <= a.time_ns < span.end), None)


def _fate(
    life: SocketLife,
    server: SocketLife | None,
    answer: str | None,
    history: History,
    end_ns: int,
) -> Fate:
    opened = life.established_ns or life.first_ns
    home = (server.host if server else None) or answer
    home = home or history.at(opened).owner_of(life.connection)
    ended = _until(life.closed_ns, end_ns)
    moved_ns, moved_to = _move(life.connection, home, history, opened, ended or end_ns)
    return Fate(
        connection=life.connection,
        opened_ns=opened,
        home=home,
        end_ns=end_ns,
        moved_ns=moved_ns,
        moved_to=moved_to,
        reset_ns=_until(life.reset_ns, end_ns),
        ended_ns=ended,
        lost=life.lost and ended is not None,
        home_seen=server is not None,
        unfinished=server is None
        and answer is not None
        and history.under_way(opened, IN_FLIGHT_NS),
        freed_ns=_until(server.closed_ns, end_ns) if server else None,
        home_failed=moved_ns is not None and not history.at(moved_ns).powers(home),
    )


def _move(
    connection: FourTuple, home: str | None, history: History, opened: int, ended: int
) -> tuple[int | None, str | None]:
    """When its owner first was another, while its client had it, and which."""
    epochs = list(history.after(opened))
    if opened <= history.at(opened).settled_ns:  # opened by the old state, perhaps
        epochs.insert(0, history.at(opened))
    for epoch in epochs:
        if epoch.start_ns >= ended:
            break
        owner = epoch.owner_of(connection)
        if owner != home:
            return max(epoch.start_ns, opened), owner
    return None, None


def _led_elsewhere(fate: Fate, history: History) -> bool:
    """Whether the last tables lead the connection to a node that is not its home."""
    return history.epochs[-1].owner_of(fate.connection) != fate.home


def _in_reach_or_not(fate: Fate, history: History) -> Fate:
    """The fate, with whether a copy of its reset could reach the home."""
    start = fate.half_open_from
    if start is None or fate.home_failed:
        return fate
    return replace(fate, home_out_of_reach=history.cuts_off(start, fate.home))


def _as_far_as_due(fate: Fate) -> Fate:
    """The fate, or that of a connection that was still under way at the end.

    Then its stray, and what had come of it by then, are left out, as is all that comes
    after the end: where the observation ends must not decide what a run comes to.
    """
    stray = fate.first_stray
    if stray is None or stray.time_ns <= fate.end_ns - DUE_NS:
        return fate
    freed = fate.freed_ns is not None or fate.home_failed or not fate.home_seen
    if fate.ended_ns is not None and freed:
        return fate
    return replace(fate, first_stray=None, reset_ns=None, ended_ns=None, late=True)


def _first_stray(
    inbound: Sequence[Observation],
    span: _Span,
    home: str | None,
    server: SocketLife | None,
) -> Observation | None:
    """The first segment at a node without its socket: another node, or the home after
    it failed and came back without its state."""
    forgotten = server.closed_ns if server and server.lost else None
    for one in inbound:
        if span.begin <= one.time_ns < span.end and (
            one.label != home or (forgotten is not None and one.time_ns > forgotten)
        ):
            return one
    return None


def _by_connection(
    observations: Iterable[Observation],
) -> dict[FourTuple, list[Observation]]:
    found: dict[FourTuple, list[Observation]] = defaultdict(list)
    for one in observations:
        if one.connection:
            found[one.connection].append(one)
    return found


def _until(time_ns: int | None, end_ns: int) -> int | None:
    return time_ns if time_ns is not None and time_ns < end_ns else None
