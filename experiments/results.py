"""``summary.json`` of a run: the contract's figures, expectations, provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.analysis.analysis import Analysis, Evidence
from experiments.analysis.balance import balance
from experiments.expectations import check, expected
from experiments.predict import connections_of
from experiments.spec import RunSpec
from experiments.workloads import WORKLOADS

SCHEMA = 1


def write_results(
    folder: Path,
    spec: RunSpec,
    evidence: Evidence,
    analysis: Analysis,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes the summary and the ladder into ``folder``; returns the summary."""
    summary = summarise(spec, evidence, analysis, provenance, folder / "hosts")
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    if analysis.drawing is not None:
        (folder / "ladder.svg").write_text(analysis.drawing.svg)
        (folder / "ladder.txt").write_text(analysis.drawing.text)
    with (folder / "connections.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in analysis.connections)
    return summary


def summarise(
    spec: RunSpec,
    evidence: Evidence,
    analysis: Analysis,
    provenance: Mapping[str, Any],
    hosts: Path,
) -> dict[str, Any]:
    """The whole summary; see ``README.md`` for what each key means.

    ``hosts``: the folder of the hosts' output.
    """
    summary: dict[str, Any] = {
        "schema": SCHEMA,
        "scenario": spec.scenario,
        "policy": spec.policy,
        "balancer": spec.balancer,
        "seed": spec.seed,
        "ip": spec.ip,
        "cluster": spec.cluster.model_dump(),
        "datapath": evidence.datapath.to_json(),
        "links": spec.links.model_dump(),
        "workload": spec.workload.model_dump(),
        "events": [event.to_json() for event in evidence.events],
        "observation": {
            "steady_s": evidence.course.steady_s,
            "end_s": evidence.course.end_s,
        },
        **_fates(evidence, analysis),
        "packets": dict(evidence.packets),
        "balance": balance(evidence.states(), connections_of(spec)),
        "data": _data(evidence),
        "claim": [row.to_json() for row in analysis.claim],
        "wire_order": analysis.order.to_json() if analysis.order else None,
        "measurement": _measurement(evidence, analysis),
        "moved_connections": analysis.moved_connections,
        "provenance": {**provenance, **evidence.cluster},
    }
    measure = WORKLOADS[spec.workload.kind].figures
    if measure is not None:
        summary[spec.workload.kind] = measure(hosts)
    if evidence.pins is not None:
        summary["pins"] = evidence.pins
    kinds = [[event.kind for event in instant] for instant in spec.instants()]
    outcomes = check(summary, expected(spec.policy, spec.expect, kinds))
    summary["expectations"] = [asdict(outcome) for outcome in outcomes]
    summary["as_expected"] = all(outcome.met for outcome in outcomes)
    return summary


def _fates(evidence: Evidence, analysis: Analysis) -> dict[str, Any]:
    """What became of the connections: ``opened`` by the clients, the rest as counted."""
    totals, clients = analysis.totals, evidence.client_summaries
    return {
        "connections": {
            "opened": sum(one.opened for one in clients),
            "moved": totals.moved,
            "reset": totals.reset,
            "hung": totals.hung,
            "broken_unmoved": totals.broken_unmoved,
            "reconnected": sum(one.reconnected for one in clients),
            "reopened": sum(one.reopened for one in clients),
        },
        "half_open": {
            "peak": totals.half_open_peak,
            "at_end": totals.half_open_at_end,
            "out_of_reach": totals.half_open_out_of_reach,
            "count": analysis.half_open_count,
            "lifetime_ms": _rounded(totals.half_open_lifetime_ms._asdict()),
        },
        "reset_latency_ms": _rounded(totals.reset_latency_ms._asdict()),
    }


def _data(evidence: Evidence) -> dict[str, int]:
    """Acknowledged writes over all clients, and what a last look found of them."""
    clients = evidence.client_summaries
    return {
        "acknowledged_writes": sum(one.acknowledged_writes for one in clients),
        "verified_writes": sum(one.verified_writes for one in clients),
        "lost_writes": sum(one.lost_writes for one in clients),
        "unverified_writes": sum(one.unverified_writes for one in clients),
    }


def _measurement(evidence: Evidence, analysis: Analysis) -> dict[str, Any]:
    """How far the instruments can be trusted: what they lost, what they disagree on."""
    capture = evidence.instruments.get("capture", {})
    probes = evidence.instruments["probes"]
    return {
        "reliable": not (probes["lost"] or capture.get("dropped")),
        "events_lost": probes["lost"],
        "clock_step_ns": probes["clock_step_ns"],
        "captured": capture.get("packets"),
        "dropped": capture.get("dropped"),
        "owners_not_as_predicted": analysis.mispredicted,
        "arrivals_compared": analysis.arrivals.compared,
        "arrivals_not_as_predicted": len(analysis.arrivals.wrong),
        "half_open_by_socket_tables": analysis.half_open_by_tables,
        "clients_without_summary": len(evidence.reports)
        - len(evidence.client_summaries),
        "supervisor_faults": list(evidence.faults),
    }


def _rounded(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    """To the microsecond: more digits would only pretend."""
    return {
        key: None if value is None else round(value, 3)
        for key, value in figures.items()
    }
