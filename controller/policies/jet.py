"""Baseline: as ``stateful``, but only connections that a joining member would take.

A connection is in danger only if its bucket would move as soon as a member joins that may
join next: the *horizon*. These are the members that are out of service, and the next new
one. All others need no pin (Mendelson, Vargaftik, Lorenz, Barabash, Keslassy, Orda: "Load
balancing with JET: just enough tracking for connection consistency", CoNEXT 2021).

This is a property of the bucket, so the switch decides by the bucket's entry
(:mod:`controller.pipeline.horizon`). A member that leaves takes its connections along, also
when it is drained: JET assumes that it is gone. Their clients are reset as for client-only.
With a balancer that moves more than the fewest buckets every connection is in danger, and
pinned.
"""

from __future__ import annotations

from controller.policies import stateful
from controller.policies.policy import ResetPolicy, TableHistory
from controller.policies.promise import Promise
from controller.policies.questions import Memory, OnStray

JET = ResetPolicy(
    name="jet",
    summary="baseline: switches pin connections that a joining member would take (JET)",
    on_stray=OnStray.RESET,
    memory=Memory.MOVABLE,
    promises=frozenset(
        (
            Promise.RESETS_WHO_SPOKE,
            Promise.ANSWERS_STRAYS,
            Promise.NOBODY_HANGS,
            Promise.KEEPS_FROM_NEW,
            Promise.NO_COPIES,
            Promise.TELLS_NO_NODE,
        )
    ),
    table_history=TableHistory(0, stateful.fabric_entries, stateful.chassis_entries),
)
