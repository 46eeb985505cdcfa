"""Which connections were reset without a fan-out, because of the budget: pure.

A guard answers such a stray by RST|ACK. Its numbers are those of RFC 9293, 3.10.7.1, so
the client is reset as always, but no switch copies it. Another node's RST|ACK means that
an application aborted: that is not the answer to a stray.
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
    """The outcomes, with ``limited`` set: the node of the first stray answered it by
    RST|ACK, and sent no reset of the connection that is fanned out."""
    fanned_out = {(t.connection, t.node) for t in traces if t.resets}
    refused: dict[FourTuple, list[Observation]] = defaultdict(list)
    for segment in observations:
        is_refusal = segment.flags & (RST | ACK | SYN) == RST | ACK
        if is_refusal and segment.outgoing and segment.src in VIPS:
            assert segment.connection is not None, "one end is the VIP"
            refused[segment.connection].append(segment)
    return [
        replace(one, limited=True) if _is_limited(one, refused, fanned_out) else one
        for one in outcomes
    ]


def _is_limited(
    outcome: Outcome,
    refused: dict[FourTuple, list[Observation]],
    fanned_out: set[tuple[FourTuple, str]],
) -> bool:
    stray = outcome.first_stray
    if stray is None or (outcome.connection, stray.label) in fanned_out:
        return False
    return any(
        answer.label == stray.label
        and answer.seq == stray.ack
        and answer.time_ns >= stray.time_ns
        for answer in refused.get(outcome.connection, ())
    )
