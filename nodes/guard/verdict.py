"""The decision table of a guard: what happens to each segment at a node.

Pure: segment, what the node knows of its connection, mode -> verdict. It is the one
place where the behaviour is decided; ``guard.bpf.c`` is the same table for the kernel,
and the same packet tests (``tests/nodes/packet_table.py``) run against both.

Only TCP to or from the virtual address is judged. A marked frame that is anything else
is dropped; all other traffic is the kernel's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from nodes.guard.segment import (
    Flags,
    Segment,
    distance,
    exact_reset,
    exact_reset_from,
    not_recognised_reset,
    probe,
    refusal_reset,
    within,
)

#: How far a copy's acknowledgment field may lie from RCV.NXT. Behind the stray whose
#: SEG.SEQ it is there may be a whole lost window, and Linux receive windows go up to
#: ``net.ipv4.tcp_rmem[2]``: 6 MiB by default, 16 MiB and more where tuned.
SEQUENCE_SLACK = 16 * 1024 * 1024

#: How long a node remembers what it just did to a connection, in seconds: longer than
#: segments stay in flight here, shorter than any reconnection that skips the SYN.
RECENT_S = 1.0

#: How long a node is quiet about a connection once it has said that it does not
#: recognise it, in seconds. Each reset costs a copy for every node of the cluster, and
#: a client with several segments on their way, or one that waits behind those copies
#: and repeats itself, must not pay that for each. Only while the answer would be the
#: same: a client that has received more since then did not take it (RFC 5961, 3.2), and
#: shows that by its acknowledgment. As long as Linux is quiet about segments out of
#: window (``net.ipv4.tcp_invalid_ratelimit``), shorter than a client gives up.
RESET_INTERVAL_S = 0.5

#: How long a node takes a connection for held without another segment of it, in
#: seconds.
FLOW_VALID_S = 0.2


class Action(Enum):
    """What to do with a segment."""

    PASS = "pass"  # it takes its normal way
    DROP = "drop"
    ANSWER = "answer"  # drop it, and send the verdict's segment out instead
    FREE = "free"  # drop it, and give the verdict's segment to the node's own TCP
    PROBE = "probe"  # as FREE, then judge again with the numbers that TCP answers
    AMEND = "amend"  # the verdict's segment leaves in its place
    PASS_ON = "pass on"  # it goes back to the switches, whole, for its earlier owner


class Mode(Enum):
    """What strays get: an answer; silence (reset policy ``drop``); a second chance at
    the connection's earlier owner (``second-chance``), and only there an answer."""

    ANSWER = "answer"
    SILENT = "silent"
    PASS_ON = "pass-on"


class Kind(Enum):
    """Segments, told apart by their flags alone."""

    RESET = "RST"  # without ACK: says "not recognised"
    ABORT = "RST|ACK"  # says "aborted" or "refused"
    SYN = "SYN"
    SYN_ACK = "SYN|ACK"
    ACK = "ACK"  # any other with ACK: data, FIN, keepalive, ...
    OTHER = "no ACK"


class Known(Enum):
    """What a node holds of a connection. A listening socket holds nothing of it."""

    NOTHING = "nothing"
    EMBRYONIC = "SYN-RECEIVED"  # RFC 9293, 3.3.2; in Linux a request or a SYN cookie
    CONNECTION = "connection"  # ESTABLISHED to LAST-ACK
    TIME_WAIT = "TIME-WAIT"
    ABORTED = "aborted"  # gone by the node's own doing, within RECENT_S
    FREED = "freed"  # a copy was accepted for it within RECENT_S
    ANSWERED = "answered"  # the same reset was sent for it within RESET_INTERVAL_S
    # Nothing, but a segment found the connection here within FLOW_VALID_S. The kernel
    # unhashes a socket before it sends its reset (tcp_set_state in __tcp_close,
    # tcp_disconnect), and this segment came in between: it is not another node's stray.
    # Only the guard in the kernel sees that, as it looks up every segment.
    HELD = "held"


class Fit(Enum):
    """Whether a copy's numbers belong to the connection held here."""

    FITS = "fits"
    MISFITS = "misfits"
    UNSURE = "unsure"  # the guard does not know the connection's numbers yet


@dataclass(frozen=True)
class Numbers:
    """A connection's send and receive sequence variables (RFC 9293, 3.3.1)."""

    snd_una: int
    snd_nxt: int
    rcv_nxt: int


@dataclass(frozen=True)
class Knowledge:
    """What the node knows of a segment's connection when the segment arrives."""

    known: Known
    numbers: Numbers | None = None


@dataclass(frozen=True)
class Verdict:
    """What to do, with which segment, and which guard counters to increment."""

    action: Action
    segment: Segment | None = None
    counts: tuple[str, ...] = ()


def kind_of(segment: Segment) -> Kind:
    """The kind of a segment."""
    has_ack = bool(segment.flags & Flags.ACK)
    if segment.flags & Flags.RST:
        return Kind.ABORT if has_ack else Kind.RESET
    if segment.flags & Flags.SYN:
        return Kind.SYN_ACK if has_ack else Kind.SYN
    return Kind.ACK if has_ack else Kind.OTHER


def fit_of(copy: Segment, numbers: Numbers | None) -> Fit:
    """Whether the stray behind a copy was a segment of the connection held here.

    The copy's SEG.SEQ is what the client had acknowledged: something this node sent.
    Its acknowledgment field is where the client was: near what this node expects.
    """
    if numbers is None:
        return Fit.UNSURE
    acknowledged = within(numbers.snd_una, copy.seq, numbers.snd_nxt)
    near = abs(distance(numbers.rcv_nxt, copy.ack)) <= SEQUENCE_SLACK
    return Fit.FITS if acknowledged and near else Fit.MISFITS


def _pass(segment: Segment, numbers: Numbers | None) -> Verdict:
    return Verdict(Action.PASS)


def _drop(segment: Segment, numbers: Numbers | None) -> Verdict:
    return Verdict(Action.DROP)


def _pass_on(segment: Segment, numbers: Numbers | None) -> Verdict:
    return Verdict(Action.PASS_ON)


def _not_recognised(segment: Segment, numbers: Numbers | None) -> Verdict:
    return Verdict(Action.ANSWER, not_recognised_reset(segment))


def _refuse(segment: Segment, numbers: Numbers | None) -> Verdict:
    return Verdict(Action.ANSWER, refusal_reset(segment))


def _free(copy: Segment, numbers: Numbers | None) -> Verdict:
    # A request socket shows its numbers to nobody, but its window starts at the
    # client's ISN + 1, which is where the stray was (tcp_check_req checks it).
    rcv_nxt = copy.ack if numbers is None else numbers.rcv_nxt
    return Verdict(Action.FREE, exact_reset(copy, rcv_nxt))


def _probe(copy: Segment, numbers: Numbers | None) -> Verdict:
    return Verdict(Action.PROBE, probe(copy))


@dataclass(frozen=True)
class Rule:
    """One row of the table; None in a column fits anything."""

    marked: bool | None
    kind: Kind | None
    known: Known | None
    fit: Fit | None
    mode: Mode | None
    then: Callable[[Segment, Numbers | None], Verdict]
    counts: tuple[str, ...] = ()


_COPY, _PLAIN, _ANY = True, False, None
_LOUD, _SILENT, _ONWARD = Mode.ANSWER, Mode.SILENT, Mode.PASS_ON
_IN = ("copies_received",)
_ACCEPTED = ("copies_received", "copies_accepted")
_REJECTED = ("copies_received", "copies_rejected")

#: Segments from the client; the first rule that fits decides.
#:
#: A SYN|ACK is answered by RFC 9293, 3.10.7.1 like any other segment with ACK, but the
#: virtual address never opens connections, so no node can own it: the answer is the
#: kind of reset that is not fanned out. The same goes for what was still in flight
#: when the application here aborted its connection.
INGRESS: tuple[Rule, ...] = (
    # Fan-out copies (E5).
    # marked  segment       the node knows    numbers      mode     verdict     counts
    Rule(_COPY, Kind.RESET, Known.CONNECTION, Fit.FITS, _ANY, _free, _ACCEPTED),
    Rule(_COPY, Kind.RESET, Known.CONNECTION, Fit.MISFITS, _ANY, _drop, _REJECTED),
    Rule(_COPY, Kind.RESET, Known.CONNECTION, Fit.UNSURE, _ANY, _probe),
    # A late copy may meet the next connection of the same ends while it is opening.
    Rule(_COPY, Kind.RESET, Known.EMBRYONIC, Fit.MISFITS, _ANY, _drop, _REJECTED),
    Rule(_COPY, Kind.RESET, Known.EMBRYONIC, _ANY, _ANY, _free, _ACCEPTED),
    Rule(_COPY, Kind.RESET, _ANY, _ANY, _ANY, _drop, _IN),
    Rule(_COPY, _ANY, _ANY, _ANY, _ANY, _drop),
    Rule(_PLAIN, Kind.SYN, _ANY, _ANY, _ANY, _pass),
    Rule(_PLAIN, Kind.RESET, _ANY, _ANY, _ANY, _pass),
    Rule(_PLAIN, Kind.ABORT, _ANY, _ANY, _ANY, _pass),
    Rule(_PLAIN, Kind.OTHER, _ANY, _ANY, _ANY, _pass),
    Rule(_PLAIN, _ANY, Known.CONNECTION, _ANY, _ANY, _pass),
    Rule(_PLAIN, _ANY, Known.EMBRYONIC, _ANY, _ANY, _pass),
    Rule(_PLAIN, _ANY, Known.TIME_WAIT, _ANY, _ANY, _pass),
    Rule(_PLAIN, _ANY, Known.ABORTED, _ANY, _SILENT, _drop),
    Rule(_PLAIN, _ANY, Known.ABORTED, _ANY, _ANY, _refuse),
    Rule(_PLAIN, _ANY, Known.HELD, _ANY, _SILENT, _drop),
    Rule(_PLAIN, _ANY, Known.HELD, _ANY, _ANY, _refuse),
    Rule(_PLAIN, Kind.SYN_ACK, _ANY, _ANY, _SILENT, _drop),
    Rule(_PLAIN, Kind.SYN_ACK, _ANY, _ANY, _ANY, _refuse),
    Rule(_PLAIN, Kind.ACK, Known.ANSWERED, _ANY, _LOUD, _drop, ("strays",)),
    Rule(_PLAIN, Kind.ACK, _ANY, _ANY, _LOUD, _not_recognised, ("strays", "resets")),
    Rule(_PLAIN, Kind.ACK, _ANY, _ANY, _SILENT, _drop, ("strays",)),
    Rule(_PLAIN, Kind.ACK, _ANY, _ANY, _ONWARD, _pass_on, ("strays", "passed_on")),
)


def judge_arriving(segment: Segment, knowledge: Knowledge, mode: Mode) -> Verdict:
    """The verdict on a segment that reaches the node from its interface.

    One that has been passed on already is not passed on again: it is answered.
    """
    if mode is Mode.PASS_ON and segment.passed_on:
        mode = Mode.ANSWER
    kind, fit = kind_of(segment), fit_of(segment, knowledge.numbers)
    for rule in INGRESS:
        columns = (
            (rule.marked, segment.marked),
            (rule.kind, kind),
            (rule.known, knowledge.known),
            (rule.fit, fit),
            (rule.mode, mode),
        )
        if all(wanted in (None, got) for wanted, got in columns):
            verdict = rule.then(segment, knowledge.numbers)
            return Verdict(verdict.action, verdict.segment, rule.counts)
    raise AssertionError(f"no rule for {segment}")


def judge_leaving(segment: Segment, known: Known) -> Verdict:
    """The verdict on a segment that the node's own TCP sends.

    A bare RST of the kernel is never "not recognised", since strays do not reach the
    kernel: its socket was there and refused (data after close, say). It leaves as the
    RST|ACK that no switch fans out. A connection that still sends after a copy was
    accepted for it had moved its RCV.NXT meanwhile (its backlog held a segment), and
    the segment it sends says where to: that makes the reset exact.
    """
    kind = kind_of(segment)
    if kind is Kind.RESET:
        amended = Segment(**{**vars(segment), "flags": Flags.RST | Flags.ACK})
        return Verdict(Action.AMEND, amended)
    if known is Known.FREED and kind in (Kind.ACK, Kind.SYN_ACK):
        return Verdict(Action.FREE, exact_reset_from(segment))
    return Verdict(Action.PASS)
