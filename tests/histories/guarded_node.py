"""A storage node: its sockets, and a guard that does what the product's table says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from nodes.guard import verdict as table
from nodes.guard.segment import Flags, Segment, advance
from nodes.guard.verdict import (
    FLOW_VALID_S,
    RECENT_S,
    RESET_INTERVAL_S,
    Action,
    FlowInfo,
    Kind,
    Mode,
    Status,
    Verdict,
    kind_of,
)
from tests.histories.tcp_ends import End, State, Violation
from topologies.domain.connection import FourTuple


class Said(NamedTuple):
    """A segment that a node sends: on behalf of which connection, by whom, and how.

    ``onward``: back to the switches, as it came (``PASS_ON``) or marked (``RELAY``).
    """

    segment: Segment
    number: int
    by: str
    onward: Action | None = None


class Fact(NamedTuple):
    """What a guard remembers of a connection until ``until_s``."""

    until_s: float
    #: The acknowledgment number of an answer.
    answered: int = 0
    #: The connection that it was learned of.
    number: int = 0


#: Of a connection that a segment meets, the first that holds (``guard.bpf.c``).
_BY_MEMORY = (Status.ABORTED, Status.HELD, Status.ANSWERED, Status.FREED)
#: Between the first numbers that servers use in two connections, at whatever nodes, and in two
#: requests at one node. No small sum of them is near to 0: numbers that are near by chance
#: are no property to be shown (RFC 6528).
ISS_STEP, REQUEST_STEP = (1 << 27) + 123_457, 7_654_321


@dataclass
class GuardedNode:
    """A node. ``ended`` is told of an end that a segment has ended: the end, on behalf of
    which connection, and by whom. ``spends``: asks the budget of fan-outs."""

    name: str
    mode: Mode
    spends: Callable[[str], bool]
    ended: Callable[[End, int, str], None]
    #: Checks that are taken away.
    removed: frozenset[str]
    #: Connection -> its initial number here, where it is not any.
    iss: dict[int, int]
    sockets: dict[FourTuple, End] = field(default_factory=dict)
    #: When each connection last caused a fan-out, by a stray or by a client's reset.
    _fanned_out_s: dict[tuple[FourTuple, bool], float] = field(default_factory=dict)
    _facts: dict[tuple[FourTuple, Status], Fact] = field(default_factory=dict)
    _requests: int = 0

    def take(self, got: Segment, number: int, by: str, now_s: float) -> Iterator[Said]:
        """A segment that arrives at its interface, of the connection ``number``."""
        key = got.ingress_connection
        end = self.sockets.get(key)
        info = self._info(got, end, now_s)
        verdict = table.judge_ingress(got, info, self.mode, True)
        if table.causes_fan_out(verdict) and not self.spends(got.src):
            verdict = table.judge_ingress(got, info, self.mode, True, limited=True)
        if table.causes_fan_out(verdict):
            self._require_quiet(key, verdict, now_s)
        self._remember(got, number, info.status, verdict, now_s)
        if verdict.action is Action.ANSWER:
            assert verdict.segment
            yield Said(verdict.segment, number, "guard")
        elif verdict.action in (Action.PASS_ON, Action.RELAY):
            yield Said(got, number, by, verdict.action)
        elif verdict.action is Action.FREE:
            assert verdict.segment
            yield from self._to_tcp(verdict.segment, number, "guard", now_s)
        elif verdict.action is Action.PASS:
            yield from self._to_tcp(got, number, by, now_s)

    def leave(
        self, end: End, sent: Segment, number: int, now_s: float
    ) -> Iterator[Said]:
        """A segment that its TCP sends, on behalf of the connection ``number``."""
        key = sent.egress_connection
        freed = self._fact(key, Status.FREED, now_s)
        verdict = table.judge_egress(sent, Status.FREED if freed else Status.NOTHING)
        if sent.flags & Flags.RST:
            self._facts[key, Status.ABORTED] = Fact(now_s + RECENT_S, 0, number)
        if verdict.action is Action.FREE and freed:
            assert verdict.segment
            yield from self._to_tcp(
                verdict.segment, freed.number, "memory", now_s, is_guess=False
            )
        else:
            yield Said(verdict.segment or sent, number, "server")

    def ask(self, key: FourTuple) -> Segment | None:
        """The keepalive that its guard makes of a healer's request."""
        end = self.sockets.get(key)
        src, sport, dst, dport = key
        request = Segment(dst, src, dport, sport, 0, 0, Flags(0), is_request=True)
        info = end.info if end else FlowInfo(Status.NOTHING)
        return table.judge_request(request, info).segment

    def close(self, key: FourTuple, now_s: float) -> Iterator[Said]:
        """Its server aborts the connection, or the healer destroys it."""
        end = self.sockets.pop(key)
        yield from self.leave(end, end.abort(), end.number, now_s)

    def _to_tcp(
        self, got: Segment, number: int, by: str, now_s: float, is_guess: bool = True
    ) -> Iterator[Said]:
        key = got.ingress_connection
        end = self.sockets.get(key)
        if end is None:
            if kind_of(got) is Kind.SYN:
                yield from self._accept(got, number, now_s)
            return
        excused = is_guess and end.state is State.SYN_RECEIVED
        answers = end.take(got, now_s)
        if end.state is State.ENDED:
            del self.sockets[key]
            # A guess in the window may end a handshake: the kernel's own rule.
            self.ended(end, end.number if excused else number, "" if excused else by)
        for answer in answers:
            # A reset answers the segment; all else is the end's own.
            of = number if answer.flags & Flags.RST else end.number
            yield from self.leave(end, answer, of, now_s)

    def _accept(self, syn: Segment, number: int, now_s: float) -> Iterator[Said]:
        self._requests += 1
        steps = number * ISS_STEP + self._requests * REQUEST_STEP
        iss = self.iss.get(number, advance(1 << 20, steps))
        src, sport, dst, dport = syn.ingress_connection
        there = FourTuple(dst, dport, src, sport)
        start = advance(iss, 1)
        end = End(number, there, True, State.SYN_RECEIVED, start, start, syn.end)
        self.sockets[syn.ingress_connection] = end
        yield from self.leave(end, end.opening(), number, now_s)

    def _info(self, got: Segment, end: End | None, now_s: float) -> FlowInfo:
        key = got.ingress_connection
        if end is not None:
            return end.info
        if got.marked or got.relayed:
            return FlowInfo(Status.NOTHING)
        if got.flags & Flags.RST and self._fact(key, Status.RELAYED, now_s):
            return FlowInfo(Status.RELAYED)
        for status in _BY_MEMORY:
            fact = self._fact(key, status, now_s)
            if fact:
                other = status is Status.ANSWERED and fact.answered != got.ack
                return FlowInfo(Status.FANNED_OUT if other else status)
        return FlowInfo(Status.NOTHING)

    def _fact(self, key: FourTuple, status: Status, now_s: float) -> Fact | None:
        fact = self._facts.get((key, status))
        return fact if fact and fact.until_s > now_s else None

    def _require_quiet(self, key: FourTuple, verdict: Verdict, now_s: float) -> None:
        """A connection causes one fan-out in an interval, and one relay."""
        kind = key, verdict.action is Action.RELAY
        last_s = self._fanned_out_s.get(kind, 0.0)
        # Of two times that differ by the interval, floating point may say less.
        if now_s - last_s < RESET_INTERVAL_S - 1e-6:
            raise Violation(
                f"{self.name} fans {key} out again after {now_s - last_s} s"
            )
        self._fanned_out_s[kind] = now_s

    def _remember(
        self, got: Segment, number: int, status: Status, verdict: Verdict, now_s: float
    ) -> None:
        """docs/guard.md, "Memory"."""
        key, facts, kind = got.ingress_connection, self._facts, kind_of(got)
        quiet_s = 0.0 if "quiet" in self.removed else RESET_INTERVAL_S
        if got.marked or got.relayed:
            if verdict.action is Action.FREE and (
                status is Status.CONNECTION or "embryonic" in self.removed
            ):
                facts[key, Status.FREED] = Fact(now_s + RECENT_S, 0, number)
        elif kind is Kind.SYN:
            if "syn-forgets" not in self.removed:
                for each in Status:
                    facts.pop((key, each), None)
            for relayed in (False, True):
                self._fanned_out_s.pop((key, relayed), None)
        elif got.flags & Flags.RST:
            facts.pop((key, Status.HELD), None)
            if verdict.action is not Action.DROP:
                facts[key, Status.RELAYED] = Fact(now_s + quiet_s)
        elif "resets" in verdict.counts:
            facts[key, Status.ANSWERED] = Fact(now_s + quiet_s, got.ack)
        elif "resets_repeated" in verdict.counts:
            old = facts[key, Status.ANSWERED]
            facts[key, Status.ANSWERED] = old._replace(answered=got.ack)
        elif status is Status.CONNECTION:
            facts[key, Status.HELD] = Fact(now_s + FLOW_VALID_S)
