"""The reset is trapped to the controller, which sends a message to the nodes' guards.

The switches deliver the client's reset and make no copy of it (US 11,190,580 B2, claims
2, 5 and 6). :mod:`controller.service.trapped_resets` describes the message. Without a
controller, clients are still reset, and owners stay half-open.
"""

from __future__ import annotations

from controller.flows.entries import FlowEntry, ToController
from controller.flows.flow_tables import ADDRESS_FAMILIES
from controller.policies.fan_out import client_reset
from controller.policies.policy import ResetPolicy
from controller.policies.promise import Promise
from controller.policies.questions import OnStray, Travel
from topologies.domain.membership import Membership
from topologies.domain.plan import Plan


def fabric_entries(plan: Plan, membership: Membership) -> tuple[FlowEntry, ...]:
    """Each client's reset goes to it, then to the controller."""
    return tuple(
        client_reset(client, family, (ToController(),), "to the controller")
        for client in plan.clients
        for family in ADDRESS_FAMILIES
    )


OUT_OF_BAND = ResetPolicy(
    name="out-of-band",
    summary="the reset is trapped to the controller, which notifies the guards",
    on_stray=OnStray.RESET,
    travel=Travel.OUT_OF_BAND,
    promises=frozenset(
        (
            Promise.RESETS_WHO_SPOKE,
            Promise.ANSWERS_STRAYS,
            Promise.TELLS_NODES,
            Promise.NOBODY_HANGS,
            Promise.FREES_OWNERS,
            Promise.NO_COPIES,
        )
    ),
    fabric_entries=fabric_entries,
)
