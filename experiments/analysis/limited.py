"""Which connections were reset without a fan-out: pure.

A guard answers a stray by RST|ACK if the budget refuses a fan-out, or if there was one just
before. Its numbers are those of RFC 9293, 3.10.7.1, so the client is reset as always, but no
switch copies it. Another node's RST|ACK means that an application aborted: that is not the
answer to a stray.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from experiments.analysis.observations import ACK, RST, SYN, Observation
from experiments.analysis.outcomes import Outcome
from experiments.analysis.reset_traces import ResetTrace
from topologies.domain.connection import VIPS, FourTuple


def with_limited(
    outcomes: Sequence[Outcome],
    observations: Iterable[Observation],
    traces: Iterable[ResetTrace],
) -> list[Outcome]:
    """The outcomes, with ``refused_ns`` and ``limited`` set.

    ``limited``: the node of the first stray answered by RST|ACK, and sent no reset of the
    connection that is fanned out. A node may send both: the second of two strays draws
    the RST|ACK, and on several processors that one may leave first.
    """
    fanned_out = {(t.connection, t.node) for t in traces if t.resets}
    refused: dict[FourTuple, list[Observation]] = defaultdict(list)
    for segment in observations:
        is_refusal = segment.flags & (RST | ACK | SYN) == RST | ACK
        if is_refusal and segment.outgoing and segment.src in VIPS:
            assert segment.connection is not None, "one end is the VIP"
            refused[segment.connection].append(segment)
    return [_with_refusal(one, refused, fanned_out) for one in outcomes]


def _with_refusal(
    outcome: Outcome,
    refused: dict[FourTuple, list[Observation]],
    fanned_out: set[tuple[FourTuple, str]],
) -> Outcome:
    stray = outcome.first_stray
    if stray is None:
        return outcome
    answers = [
        answer.time_ns
        for answer in refused.get(outcome.connection, ())
        if answer.label == stray.label and answer.time_ns >= stray.time_ns
    ]
    if not answers:
        return outcome
    limited = (outcome.connection, stray.label) not in fanned_out
    return replace(outcome, refused_ns=min(answers), limited=limited)
