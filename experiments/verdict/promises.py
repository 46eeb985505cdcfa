"""The expectations of a run, by its spec: the promises of its policy as conditions.

An expectation is a dotted key of ``summary.json`` and a condition
(:mod:`experiments.verdict.expectations`). Some hold for every run, some follow from the
policy (:class:`~controller.policies.promise.Promise`). Those in the spec's ``expect``
override both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from controller.policies import POLICIES
from controller.policies.policy import ResetPolicy
from controller.policies.promise import Promise
from controller.policies.questions import OnStray
from experiments.spec.run_spec import RunSpec
from experiments.verdict.expectations import Condition
from experiments.workloads import WORKLOADS
from nodes.clients.patterns import PATTERNS
from topologies.domain.events import EVENTS, LINK

Conditions = Mapping[str, Condition]

#: For every policy: connections that did not move are not disturbed, acknowledged writes
#: are not lost, and instruments that measure the same thing agree.
COMMON: Conditions = {
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

#: Every owner that a copy could reach has freed its socket. Half open remain only those
#: whose chassis was cut off when the copies were made.
_ALL_IN_REACH_FREED = "== half_open.out_of_reach"
_ALL_WHO_SPOKE = "== connections.spoke - connections.unfinished - connections.limited"


def _element(name: str) -> dict[str, Condition]:
    """The element was seen for every connection that spoke and had an owner."""
    return {f"claim.{name}.passed": True, f"claim.{name}.held": _ALL_WHO_SPOKE}


#: The conditions of each promise.
CONDITIONS_OF: Mapping[Promise, Conditions] = {
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

#: Conditions of promises that hold only if all events are planned, and not too many.
WHEN_PLANNED: Mapping[Promise, Conditions] = {
    Promise.KEEPS_CONNECTIONS: {"connections.reset": 0, "connections.reconnected": 0},
}

#: Conditions of promises that hold only if the one event adds a member.
WHEN_ADDED: Mapping[Promise, Conditions] = {
    Promise.KEEPS_FROM_NEW: {"connections.reset": 0, "connections.reconnected": 0},
}
_ADDING = frozenset(("add-node", "add-chassis"))

#: With healing, for a run that is observed for longer than its bound: nothing is held
#: that a packet could free.
WHEN_HEALED: Conditions = {
    "measurement.half_open_by_socket_tables": "== half_open.cut_off",
}

#: For servers whose locks end with their connections: of a client that has gone, only an
#: owner that no copy could reach, or that nobody asked, keeps one.
WHEN_LOCKED: Conditions = {
    "harm.locks_of_nobody.at_end": "<= half_open.out_of_reach + half_open.silent",
}
#: The same with healing.
WHEN_LOCKED_AND_HEALED: Conditions = {
    "harm.locks_of_nobody.at_end": "<= half_open.cut_off",
}

#: For a run that is observed long enough for every connection to send something.
WHEN_SPEAKING: Conditions = {"connections.silent": 0}

#: Upper bound for a retransmission, by which a moved client may learn of its reset, s.
_RETRANSMISSION_S = 1.0
#: How long after its owner is freed a lock may still be listed: the server's own work, and
#: the time until the lock monitor looks again, s.
_LISTED_S = 1.0
#: How many connections a machine serves in a second, at least.
_CONNECTIONS_PER_S = 1000.0


def expected(spec: RunSpec, healing: bool | None = None) -> dict[str, Condition]:
    """All expectations of a run of this spec; the spec's own override the others.

    ``healing``: whether the run healed half-open connections; None: as the spec says.

    Raises :class:`KeyError` for a policy or an event that is in no registry.
    """
    policy = POLICIES[spec.policy]
    kinds = _membership(spec)
    # A limited table may have had to forget any of them.
    forgetful = spec.cluster.pins is not None
    conditions = {**COMMON, **promised(policy, kinds, forgetful)}
    healed = spec.healing if healing is None else healing
    if healed and spec.observe_s >= spec.heal_within_s:
        conditions |= WHEN_HEALED
    conditions |= _of_locks(spec, policy, healed)
    if all_connections_speak(spec) and not policy.preserves_moved:
        conditions |= WHEN_SPEAKING
    return {**conditions, **spec.expect}


def _of_locks(spec: RunSpec, policy: ResetPolicy, healed: bool) -> Conditions:
    """What locks nobody may hold at the end, if owners are freed and locks go with them."""
    workload = WORKLOADS[spec.workload.kind]
    if workload.lock_monitor is None or workload.locks_outlive:
        return {}
    if healed and spec.observe_s >= spec.heal_within_s + _LISTED_S:
        return WHEN_LOCKED_AND_HEALED
    frees = Promise.FREES_OWNERS in policy.promises
    return WHEN_LOCKED if frees and spec.observe_s >= _LISTED_S else {}


def promised(
    policy: ResetPolicy, instants: Sequence[Iterable[str]], forgetful: bool = False
) -> dict[str, Condition]:
    """The conditions of the policy's promises, for events of these kinds, grouped by
    instant. ``forgetful``: no connection is promised to be kept."""
    within_memory = planned(instants) and len(instants) <= _max_instants(
        policy, instants
    )
    conditions: dict[str, Condition] = {}
    for promise in sorted(policy.promises, key=lambda promise: promise.value):
        conditions |= CONDITIONS_OF.get(promise, {})
    if forgetful:
        return conditions
    for promise in policy.promises & WHEN_PLANNED.keys():
        conditions |= WHEN_PLANNED[promise] if within_memory else {}
    for promise in policy.promises & WHEN_ADDED.keys():
        conditions |= WHEN_ADDED[promise] if _adds_one(instants) else {}
    return conditions


def _adds_one(instants: Sequence[Iterable[str]]) -> bool:
    """Whether the only event is one that adds a node or a chassis."""
    kinds = [kind for instant in instants for kind in instant]
    return len(kinds) == 1 and kinds[0] in _ADDING


def _membership(spec: RunSpec) -> list[list[str]]:
    """The kinds of membership events, by instant; a change of a link breaks no promise."""
    kinds = [[e.kind for e in instant if e.kind != LINK] for instant in spec.instants()]
    return [instant for instant in kinds if instant]


def planned(instants: Iterable[Iterable[str]]) -> bool:
    """Whether every event is planned, not a failure."""
    return all(EVENTS[kind].planned for kinds in instants for kind in kinds)


def all_connections_speak(spec: RunSpec) -> bool:
    """Whether every connection sends something between the last event and the end."""
    work = spec.workload
    pattern = PATTERNS[work.pattern]
    interval_s = work.interval_s * pattern.pause_factor
    round_trip_s = 2 * max(link.delay_ms or 0.0 for link in spec.all_links()) / 1000
    serving_s = work.connections / _CONNECTIONS_PER_S
    needs_s = _RETRANSMISSION_S + 2 * (interval_s + round_trip_s) + serving_s
    return not pattern.half_closed and spec.observe_s >= needs_s


def _max_instants(policy: ResetPolicy, instants: Sequence[Iterable[str]]) -> int:
    """The number of instants that the policy's history of tables covers."""
    if policy.on_stray is OnStray.REDIRECT and policy.table_history:
        return policy.table_history.changes
    return len(instants)
