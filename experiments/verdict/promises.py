"""What a run must show, by its spec: the promises of its policy as figures of a run.

An expectation is a dotted key of ``summary.json`` and a condition
(:mod:`experiments.verdict.expectations`). Some hold for every run, some come with the policy
(:class:`~controller.policies.promise.Promise`), the rest stand in the spec's ``expect``,
whose word is the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from controller.policies import POLICIES
from controller.policies.policy import ResetPolicy
from controller.policies.promise import Promise
from controller.policies.questions import OnStray
from experiments.spec.run_spec import RunSpec
from experiments.verdict.expectations import Condition
from nodes.clients.patterns import PATTERNS
from topologies.domain.events import EVENTS

Conditions = Mapping[str, Condition]

#: True of every design: who did not move is not disturbed, what was acknowledged stays,
#: and what two instruments say of the same thing is the same.
ALWAYS: Conditions = {
    "connections.broken_unmoved": 0,
    "data.lost_writes": 0,
    "measurement.owners_not_as_predicted": 0,
    "measurement.arrivals_not_as_predicted": 0,
    "measurement.clients_without_summary": 0,
    "measurement.sockets_not_agreed": 0,
    "measurement.half_open_not_agreed": 0,
    "measurement.half_open_by_socket_tables": (
        "== half_open.at_end - half_open.returned + half_open.silent"
    ),
}

#: What copies could reach is freed: half open is only what none could, because its
#: chassis was cut off when they were made.
_ALL_IN_REACH_FREED = "== half_open.out_of_reach"
_ALL_WHO_SPOKE = "== connections.spoke - connections.unfinished"


def _element(name: str) -> dict[str, Condition]:
    """That element was seen, for every connection that spoke and had an owner."""
    return {f"claim.{name}.passed": True, f"claim.{name}.held": _ALL_WHO_SPOKE}


#: Each promise in figures.
IN_FIGURES: Mapping[Promise, Conditions] = {
    Promise.STAYS_SILENT: {
        "connections.reset": 0,
        "packets.node_resets": 0,
        "connections.hung": "== connections.spoke",
    },
    Promise.RESETS_WHO_SPOKE: {"connections.reset": "== connections.spoke"},
    Promise.ANSWERS_STRAYS: {**_element("E1"), **_element("E2")},
    Promise.TELLS_NODES: _element("E3"),
    Promise.FANS_OUT: {**_element("E4"), **_element("E5")},
    Promise.IN_ORDER: {
        "wire_order.passed": True,
        "wire_order.held": _ALL_WHO_SPOKE,
    },
    Promise.NOBODY_HANGS: {"connections.hung": 0},
    Promise.FREES_OWNERS: {"half_open.at_end": _ALL_IN_REACH_FREED},
    Promise.FREES_THE_SILENT: {
        "half_open.silent": 0,
        "measurement.half_open_by_socket_tables": _ALL_IN_REACH_FREED,
    },
    Promise.NO_COPIES: {"packets.tier1_copies": 0},
    Promise.TELLS_NO_NODE: {"packets.tier2_copies": 0},
}

#: What is promised only where every event is planned, and not too many are.
WHEN_PLANNED: Mapping[Promise, Conditions] = {
    Promise.KEEPS_CONNECTIONS: {"connections.reset": 0, "connections.reconnected": 0},
}

#: Of a run whose connections all have to speak in the time that they are observed.
WHEN_SPEAKING: Conditions = {"connections.silent": 0}

#: A client that is led elsewhere finds out by a retransmission, if need be: so long may
#: that take, in seconds, and so many connections a second does a machine get round to.
_RETRANSMISSION_S = 1.0
_TURNS_PER_S = 1000.0


def expected(spec: RunSpec) -> dict[str, Condition]:
    """All that a run of this spec must show; the spec's own word is the last.

    Raises :class:`KeyError` for a policy or an event that is in no registry.
    """
    policy = POLICIES[spec.policy]
    kinds = [[event.kind for event in instant] for instant in spec.instants()]
    found = {**ALWAYS, **promised(policy, kinds)}
    if everyone_speaks(spec) and not policy.preserves_moved:
        found |= WHEN_SPEAKING
    return {**found, **spec.expect}


def promised(
    policy: ResetPolicy, instants: Sequence[Iterable[str]]
) -> dict[str, Condition]:
    """What the policy promises in figures, of events of these kinds; those that happen
    at once stand together."""
    in_reach = planned(instants) and len(instants) <= _most_events(policy, instants)
    found: dict[str, Condition] = {}
    for promise in sorted(policy.promises, key=lambda one: one.value):
        found |= IN_FIGURES.get(promise, {})
    for promise in policy.promises & WHEN_PLANNED.keys():
        found |= WHEN_PLANNED[promise] if in_reach else {}
    return found


def planned(instants: Iterable[Iterable[str]]) -> bool:
    """Whether every event is somebody's intention."""
    return all(EVENTS[kind].planned for kinds in instants for kind in kinds)


def everyone_speaks(spec: RunSpec) -> bool:
    """Whether every connection sends something after the last event, while observed."""
    work = spec.workload
    pattern = PATTERNS[work.pattern]
    pause_s = work.interval_s * pattern.pause_factor
    trip_s = 2 * (spec.links.delay_ms or 0.0) / 1000
    turns_s = work.connections / _TURNS_PER_S
    needs_s = _RETRANSMISSION_S + 2 * (pause_s + trip_s) + turns_s
    return not pattern.half_closed and spec.observe_s >= needs_s


def _most_events(policy: ResetPolicy, instants: Sequence[Iterable[str]]) -> int:
    """More than these move a connection beyond what the policy remembers."""
    if policy.on_stray is OnStray.REDIRECT and policy.table_history:
        return policy.table_history.versions
    return len(instants)
