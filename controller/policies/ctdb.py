"""CTDB's own cure: at the event each node kills its ends of what is no longer its own.

CTDB (ctdb(7), "Tracking and resetting TCP connections") does so when a public address
leaves a node: the event script ``10.interface`` gives the address's connections to
``ctdb_killtcp``. That sends each a "tickle", an ACK with the numbers 0 that seems to come
from the client, learns the right numbers from the kernel's answer, and sends the RST that
fits. Here an address never leaves; buckets do. So ``ctdb_killtcp`` itself gets the
connections that the new tables send elsewhere, when the switches have settled. It kills one
way, as CTDB has it for SMB: the node's end alone. The client is reset by the node to which
its next segment comes.
"""

from __future__ import annotations

from controller.policies.policy import ResetPolicy
from controller.policies.promise import Promise
from controller.policies.questions import AtEvent, OnStray

CTDB = ResetPolicy(
    name="ctdb",
    summary="at the event, CTDB's ctdb_killtcp frees owners; clients are reset when they speak",
    on_stray=OnStray.RESET,
    at_event=AtEvent.KILLTCP,
    extra_packages=True,
    promises=frozenset(
        (
            Promise.RESETS_WHO_SPOKE,
            Promise.ANSWERS_STRAYS,
            Promise.NOBODY_HANGS,
            Promise.FREES_OWNERS,
            Promise.FREES_THE_SILENT,
            Promise.NO_COPIES,
            Promise.TELLS_NO_NODE,
        )
    ),
)
