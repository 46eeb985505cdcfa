"""``summary.json`` of a run: figures, expectations, provenance.

It is written last and atomically: where it exists, the folder is complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from controller.pipeline.cluster_state import ClusterState
from controller.policies import POLICIES
from controller.policies.questions import Travel
from experiments.analysis.analysis import Analysis
from experiments.analysis.balance import balance
from experiments.analysis.refusals import refused_ends
from experiments.analysis.waiting import Waiting
from experiments.files.whole_file import write_whole
from experiments.harm.harm import harm, longest_gap_s
from experiments.harm.slots import held_by_nobody, refused, slots
from experiments.ladder.ladder import choose, ladder
from experiments.ladder.svg import ladder_svg
from experiments.ladder.text import ladder_text
from experiments.prediction.predict import connections_of
from experiments.prediction.slot_use import predicted
from experiments.record.event_record import one_per_instant
from experiments.record.run_record import RunRecord
from experiments.spec.run_spec import RunSpec
from experiments.verdict.expectations import Observability, judge
from experiments.verdict.promises import expected
from experiments.verdict.trust import AS_EXPECTED, UNTRUSTED, outcome, reasons
from experiments.workloads import WORKLOADS
from nodes.servers.lock_log import LOCK_LOG, LockSample, read_lock_log

SCHEMA = 1


def write_results(
    folder: Path,
    spec: RunSpec,
    record: RunRecord,
    analysis: Analysis,
) -> dict[str, Any]:
    """Writes connections and ladder into ``folder``, then the summary; returns it."""
    summary = summarise(spec, record, analysis, folder / "hosts")
    if analysis.cases:
        diagram = ladder(choose(analysis.cases), record.final.plan)
        (folder / "ladder.svg").write_text(ladder_svg(diagram))
        (folder / "ladder.txt").write_text(ladder_text(diagram))
    with (folder / "connections.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in analysis.connections)
    write_whole(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def summarise(
    spec: RunSpec,
    record: RunRecord,
    analysis: Analysis,
    hosts: Path,
) -> dict[str, Any]:
    """The summary; ``docs/results.md`` explains each key.

    ``hosts``: the folder with the hosts' output.
    """
    looks = None
    if WORKLOADS[spec.workload.kind].lock_monitor is not None:
        looks = read_lock_log(hosts / LOCK_LOG)
    summary: dict[str, Any] = {
        "schema": SCHEMA,
        "scenario": spec.scenario,
        "policy": spec.policy,
        "balancer": spec.balancer,
        "seed": spec.seed,
        "ip": spec.ip,
        "cluster": spec.cluster.model_dump(),
        "datapath": record.datapath.to_json(),
        "links": spec.links.model_dump(),
        "workload": spec.workload.model_dump(),
        "servers": spec.servers.model_dump(),
        "events": [event.to_json() for event in record.events],
        "observation": {
            "steady_s": record.snapshots.steady_s,
            "end_s": record.snapshots.end_s,
        },
        **_connection_figures(record, analysis),
        "healing": _healing(record, analysis),
        "packets": dict(record.packets),
        "balance": balance(record.states(), connections_of(spec)),
        "data": _data(record),
        "claim": [row.to_json() for row in analysis.claim],
        "wire_order": analysis.order.to_json() if analysis.order else None,
        "measurement": _measurement(record, analysis, looks),
        "moved_connections": analysis.moved_connections,
        "provenance": {**record.provenance, **record.cluster},
    }
    measure = WORKLOADS[spec.workload.kind].figures
    if measure is not None:
        summary[spec.workload.kind] = measure(hosts)
    found = _harm(spec, record, looks)
    if found:
        summary["harm"] = found
    if record.pins is not None:
        summary["pins"] = record.pins
    return {**summary, **_verdict(spec, record, summary)}


def _harm(
    spec: RunSpec, record: RunRecord, looks: Sequence[LockSample] | None
) -> dict[str, Any]:
    """Locks, where there are any, and slots, where they are limited."""
    end_s, found = record.snapshots.end_s, {}
    if looks is not None:
        found = harm(record.reports, looks, end_s)
    if spec.servers.slots is not None:
        found["refused_connections"] = len(refused(record.reports, end_s))
        found["slots"] = _slots(spec, record)
    return found


def _slots(spec: RunSpec, record: RunRecord) -> dict[str, Any]:
    """Slots as clients and kernels saw them, and as predicted."""
    seen, limit = record.snapshots, spec.servers.slots or 0
    instants_s = [each.requested_s for each in one_per_instant(record.events)]
    return {
        **slots(limit, record.reports, instants_s, seen.end_s),
        "held_by_nobody": held_by_nobody(
            seen.held_after,
            seen.clients_after,
            refused_ends(record.final.plan.clients, record.reports),
        ),
        "predicted": predicted(spec),
    }


def _too_few(states: Sequence[ClusterState]) -> frozenset[str]:
    """Elements of the claim that need several copies, and could not have them at some
    time."""
    elements = set()
    for state in states:
        chassis = state.membership.reachable_chassis(state.plan)
        nodes = [n for c in chassis for n in state.membership.reachable_nodes(c)]
        if len(chassis) < 2:
            elements.add("E4")
        if len(nodes) - (state.policy.travel is Travel.TO_OTHERS) < 2:
            elements.add("E3")
    return frozenset(elements)


def _verdict(
    spec: RunSpec, record: RunRecord, summary: Mapping[str, Any]
) -> dict[str, Any]:
    """Expectations, those that could not be judged, and the run's outcome."""
    observability = Observability(
        captured=summary["wire_order"] is not None,
        hashed=not POLICIES[spec.policy].preserves_moved,
        lossy=any(link.loss_percent for link in spec.all_links()),
        too_few=_too_few(record.states()),
    )
    conditions = expected(spec, record.initial.healing)
    results, not_judged = judge(summary, conditions, observability)
    all_met = all(result.met for result in results)
    decided = outcome(summary["measurement"]["reasons"], all_met)
    return {
        "expectations": [asdict(result) for result in results],
        "not_judged": [asdict(one) for one in not_judged],
        "outcome": decided,
        "as_expected": None if decided == UNTRUSTED else decided == AS_EXPECTED,
    }


def _connection_figures(record: RunRecord, analysis: Analysis) -> dict[str, Any]:
    """Figures of the connections: those that clients report, and those of the analysis."""
    totals, clients = analysis.totals, record.client_summaries
    return {
        "connections": {
            "opened": sum(one.opened for one in clients),
            "moved": totals.moved,
            "spoke": totals.spoke,
            "unfinished": totals.unfinished,
            "silent": totals.silent,
            "late": totals.late,
            "limited": totals.limited,
            "reset": totals.reset,
            "hung": totals.hung,
            "broken_unmoved": totals.broken_unmoved,
            "reconnected": sum(one.reconnected for one in clients),
            "reopened": sum(one.reopened for one in clients),
        },
        "disturbed": analysis.disturbed,
        "half_open": {
            "peak": totals.half_open_peak,
            "at_end": totals.half_open_at_end,
            "silent": totals.half_open_silent,
            "returned": totals.half_open_returned,
            "out_of_reach": totals.half_open_out_of_reach,
            "cut_off": totals.half_open_cut_off,
            "count": analysis.half_open_count,
            "lifetime_ms": _rounded(totals.half_open_lifetime_ms._asdict()),
        },
        "reset_latency_ms": _rounded(totals.reset_latency_ms._asdict()),
        "waiting_unmoved_ms": _waiting(analysis.waiting),
    }


def _healing(record: RunRecord, analysis: Analysis) -> dict[str, Any]:
    """Whether half-open connections were healed, and the longest one, healed or not."""
    longest = analysis.totals.held_on_ms_max
    return {
        "on": record.initial.healing,
        "within_s": record.cluster.get("heal_within_s"),
        "destroyed": record.destroyed,
        "longest_ms": None if longest is None else round(longest, 3),
    }


def _waiting(waiting: Waiting | None) -> dict[str, Any] | None:
    """How long unmoved connections waited for answers; None without a capture."""
    if waiting is None:
        return None
    return {
        "before": _rounded(waiting.before._asdict()),
        "after": _rounded(waiting.after._asdict()),
        "still_waiting": waiting.still_waiting,
    }


def _data(record: RunRecord) -> dict[str, int]:
    """Acknowledged writes of all clients, and the result of their last verification."""
    clients = record.client_summaries
    return {
        "acknowledged_writes": sum(one.acknowledged_writes for one in clients),
        "verified_writes": sum(one.verified_writes for one in clients),
        "lost_writes": sum(one.lost_writes for one in clients),
        "unverified_writes": sum(one.unverified_writes for one in clients),
    }


def _measurement(
    record: RunRecord, analysis: Analysis, looks: Sequence[LockSample] | None
) -> dict[str, Any]:
    """Reliability of the measurement: losses and disagreements of the instruments.

    ``looks``: of the lock monitor, None if the workload has none.
    """
    seen = record.snapshots
    gap_s = None if looks is None else longest_gap_s(looks, seen.steady_s, seen.end_s)
    capture = record.instruments.get("capture", {})
    probes = record.instruments["probes"]
    agreed = analysis.agreement
    figures = {
        "events_lost": probes["lost"],
        "clock_step_ns": probes["clock_step_ns"],
        "captured": capture.get("packets"),
        "dropped": capture.get("dropped"),
        "owners_not_as_predicted": analysis.mispredicted,
        "arrivals_compared": analysis.arrivals.compared,
        "arrivals_not_as_predicted": len(analysis.arrivals.mismatched),
        "opened_by_kernel": analysis.opened_by_kernel,
        "sockets_begun_unseen": analysis.begun_unseen,
        "sockets_compared": agreed.compared,
        "sockets_not_agreed": agreed.not_agreed,
        "half_open_by_socket_tables": len(agreed.half_open),
        "half_open_not_agreed": len(agreed.half_open_not_agreed),
        "disagreements": agreed.descriptions(),
        "clients_without_summary": len(record.reports) - len(record.client_summaries),
        "supervisor_faults": list(record.faults),
        "switch_drops": record.switch_drops,
        "locks_unseen_s": None if gap_s is None else round(gap_s, 3),
    }
    opened = sum(one.opened for one in record.client_summaries)
    why = reasons(figures, opened)
    return {"reliable": not why, "reasons": why, **figures}


def _rounded(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    """To the microsecond: further digits mean nothing."""
    return {
        key: None if value is None else round(value, 3)
        for key, value in figures.items()
    }
