"""Invented folders of runs, for tests of their readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from experiments.spec.run_spec import RunSpec

START_S = 1000.0
END_S = 1002.0
EVENT = {
    "requested_s": START_S,
    "applied_s": START_S + 0.1,
    "settled_s": START_S + 0.11,
}


def connection(port: int, owner: str, **more: Any) -> dict[str, Any]:
    """One line of ``connections.jsonl``, of an undisturbed connection."""
    return {
        "connection": f"10.1.0.1:{port} > 10.0.0.1:10809",
        "owner": owner,
        "moved": False,
        "new_owner": None,
        "hung": False,
        "opened_s": START_S - 1,
        "moved_s": None,
        "first_stray_s": None,
        "first_stray_at": None,
        "reset_s": None,
        "owner_freed_s": None,
        "half_open_s": None,
        "half_open_at_end": False,
        "reset_latency_ms": None,
        **more,
    }


def moved(port: int, *, reset: bool, freed_ms: float | None) -> dict[str, Any]:
    """One that drained away from c1n2, strayed after 120 ms, was reset 1 ms later."""
    stray = START_S + 0.120
    return connection(
        port,
        "c1n2",
        moved=True,
        new_owner="c1n1",
        moved_s=START_S,
        first_stray_s=stray,
        first_stray_at="c1n1",
        hung=not reset,
        reset_s=stray + 0.001 if reset else None,
        reset_latency_ms=1.0 if reset else None,
        owner_freed_s=None if freed_ms is None else stray + freed_ms / 1e3,
        half_open_s=[stray, END_S if freed_ms is None else stray + freed_ms / 1e3],
        half_open_at_end=freed_ms is None,
    )


def write_run(folder: Path, policy: str, rows: list[dict[str, Any]]) -> Path:
    """A run of drain-node c1n2 with those connections; returns its folder."""
    folder.mkdir(parents=True)
    spec = RunSpec.model_validate(
        {
            "scenario": "drain-node",
            "policy": policy,
            "events": [{"kind": "drain-node", "target": "c1n2"}],
            "observe_s": 1.5,
        }
    )
    data = yaml.dump(spec.model_dump(mode="json"), Dumper=yaml.CSafeDumper)
    (folder / "spec.yaml").write_text(data)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "connections.jsonl").write_text(lines)
    (folder / "summary.json").write_text(json.dumps(_summary(spec, rows)))
    return folder


def _summary(spec: RunSpec, rows: list[dict[str, Any]]) -> dict[str, Any]:
    strayed = [row for row in rows if row["first_stray_s"]]
    lives = [
        ((r["owner_freed_s"] or END_S) - r["first_stray_s"]) * 1e3 for r in strayed
    ]
    left = sum(row["owner_freed_s"] is None for row in strayed)
    latencies = [row["reset_latency_ms"] for row in rows if row["reset_s"]]
    return {
        "policy": spec.policy,
        "balancer": spec.balancer,
        "events": [{"kind": "drain-node", "target": "c1n2", **EVENT}],
        "connections": {
            "moved": len(strayed),
            "reset": len(latencies),
            "hung": sum(row["hung"] for row in rows),
            "broken_unmoved": 0,
        },
        "half_open": {
            "at_end": left,
            "count": len(strayed),
            "lifetime_ms": _percentiles(lives),
        },
        "reset_latency_ms": _percentiles(latencies),
        "packets": {"stray": len(strayed), "tier1_copies": 0, "tier2_copies": 0},
        "data": {"acknowledged_writes": 100, "lost_writes": 0},
        "claim": [
            {"element": "E1", "passed": True, "evidence": "a <frame>", "checked": 1, "held": 1}
        ],
        "expectations": [],
        "outcome": "as-expected",
        "moved_connections": sorted(row["connection"] for row in strayed),
        "provenance": {
            "code": "0123abc", "system": "Debian", "kernel": "6.1", "cores": 2,
            "memory_mib": 4096, "datapath": "netdev", "guard": "ebpf",
            "tools": {"iproute2": "ip 6.1"}, "packages": {"os-ken": "4.2.2"},
            "load_average": [0.5, 0.4, 0.3],
        },
    }  # fmt: skip


def _percentiles(values: list[float]) -> dict[str, float | None]:
    if not values:
        return {"p50": None, "p99": None, "max": None}
    ordered = sorted(values)
    return {
        "p50": round(ordered[(len(ordered) - 1) // 2], 3),
        "p99": round(ordered[-1], 3),
        "max": round(ordered[-1], 3),
    }
