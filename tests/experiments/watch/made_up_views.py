"""Views of clusters that never were, for tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

View = dict[str, Any]
#: An instant of 2026, in seconds since 1970.
START = 1_790_000_000.0
#: What each node holds at first.
HELD = 12


def made_up_view(chassis: int = 2, nodes: int = 3, clients: int = 2) -> View:
    """A cluster at rest; ``nodes`` for each chassis."""
    names = [f"c{number}" for number in range(1, chassis + 1)]
    held = [_node(name, number) for name in names for number in range(1, nodes + 1)]
    total = sum(node["established"] for node in held)
    return {
        "serial": 1,
        "t": START,
        "phase": "up",
        "message": "",
        "cluster": {
            "name": "testbed",
            "policy": "flood",
            "balancer": "modulo",
            "workload": "nbd",
            "guard": "ebpf",
            "datapath": "userspace",
            "healing": True,
        },
        "read_only": False,
        "fabric": {"connected": True, "in_sync": True},
        "chassis": [_chassis(name) for name in names],
        "nodes": held,
        "clients": [_client(f"h{n}", total // clients) for n in range(1, clients + 1)],
        "totals": {
            "established": total,
            "moved": 0,
            "half_open": 0,
            "strays": 0,
            "resets": 0,
            "tier1_copies": 0,
            "tier2_copies": 0,
            **_still("strays", "resets", "tier1_copies", "tier2_copies"),
        },
        "events": [],
        "log": [_line(START, "cluster testbed serves")],
        "possible": list(_possible(names, held)),
        "latest_reset": None,
        "cost": {
            "cluster_core_percent": 1.3,
            "watch_core_percent": 0.8,
            "over_s": 10,
        },
    }


def later(view: View, seconds: float = 0.25, **changes: Any) -> View:
    """The next view, with other values of some keys."""
    after = {"serial": view["serial"] + 1, "t": view["t"] + seconds}
    return {**view, **after, **changes}


def absent_view(after: View, seconds: float = 0.25) -> View:
    """No cluster runs any more."""
    return {
        "serial": after["serial"] + 1,
        "t": after["t"] + seconds,
        "phase": "absent",
        "message": 'no cluster "testbed" runs: ./resetbed up --name testbed starts one',
    }


def drained(view: View, target: str) -> Iterator[View]:
    """The course of a drain: at once half-open connections and resets, then none."""
    chassis = target.partition("n")[0]
    moved = next(n["established"] for n in view["nodes"] if n["name"] == target)
    event = {
        "t": view["t"] + 0.05,
        "kind": "drain-node",
        "target": target,
        "moved": moved,
    }
    midst = later(
        view,
        chassis=[{**c, "copies": 12, "copies_per_s": 48.0} for c in view["chassis"]],
        nodes=[_in_drain(n, target, chassis, moved) for n in view["nodes"]],
        totals={
            **view["totals"],
            "moved": moved,
            "half_open": moved,
            "strays": moved,
            "resets": moved,
            "strays_per_s": 4.0 * moved,
            "resets_per_s": 4.0 * moved,
            "tier1_copies": 2 * moved,
            "tier1_copies_per_s": 8.0 * moved,
            "tier2_copies": 6 * moved,
            "tier2_copies_per_s": 24.0 * moved,
        },
        events=[*view["events"], event],
        log=[
            *view["log"],
            _line(event["t"], f"drain-node {target}: every switch has its new tables"),
            _line(event["t"], f"{moved} connections have another owner now", "warning"),
        ],
        possible=[p for p in view["possible"] if p["target"] != target]
        + [_event("restore-node", target)],
        latest_reset=_reset(target, view["t"] + 0.06),
    )
    yield midst
    yield later(
        midst,
        1.0,
        chassis=[{**c, "copies_per_s": 0.0} for c in midst["chassis"]],
        nodes=[_healed(n, target) for n in midst["nodes"]],
        totals={
            **midst["totals"],
            "moved": 0,
            "half_open": 0,
            **_still("strays", "resets", "tier1_copies", "tier2_copies"),
        },
    )


def _in_drain(node: View, target: str, chassis: str, moved: int) -> View:
    told = {**node, "copies": moved, "copies_per_s": 4.0 * moved}
    if node["name"] == target:
        gone = {"state": "drained", "in_service": False}
        return {**told, **gone, "moved": moved, "half_open": moved}
    if node["chassis"] == chassis:
        return {**told, "strays": moved // 2, "strays_per_s": 2.0 * moved}
    return told


def _healed(node: View, target: str) -> View:
    rest = {**node, "moved": 0, "half_open": 0, **_still("strays", "copies")}
    return {**rest, "established": 0} if node["name"] == target else rest


def _node(chassis: str, number: int) -> View:
    return {
        "name": f"{chassis}n{number}",
        "chassis": chassis,
        "state": "in-service",
        "in_service": True,
        "alive": True,
        "established": HELD,
        "moved": 0,
        "half_open": 0,
        "strays": 0,
        "resets": 0,
        "copies": 0,
        **_still("strays", "copies"),
    }


def _chassis(name: str) -> View:
    return {
        "name": name,
        "in_service": True,
        "alive": True,
        "uplink": True,
        "in_sync": True,
        "copies": 0,
        "copies_per_s": 0.0,
    }


def _client(name: str, established: int) -> View:
    return {
        "name": name,
        "established": established,
        "resets": 0,
        "resets_per_s": 0.0,
    }


def _still(*names: str) -> View:
    return {f"{name}_per_s": 0.0 for name in names}


def _line(t: float, text: str, level: str = "info") -> View:
    return {"t": t, "text": text, "level": level}


def _event(kind: str, target: str, danger: bool = False) -> View:
    label = f"{kind.partition('-')[0].capitalize()} {target}"
    return {"kind": kind, "target": target, "label": label, "danger": danger}


def _possible(chassis: list[str], nodes: list[View]) -> Iterator[View]:
    for node in nodes:
        yield _event("drain-node", node["name"])
        yield _event("fail-node", node["name"], danger=True)
    for name in chassis:
        yield _event("add-node", name)
        yield _event("fail-chassis", name, danger=True)
        yield _event("uplink-down", name)
    yield _event("add-chassis", f"c{len(chassis) + 1}")
    yield _event("reseed", "fabric")
    yield _event("reseed", "all")


def _reset(owner: str, t: float) -> View:
    return {
        "serial": 7,
        "t": t,
        "client": "h1:40122",
        "owner": owner,
        "new_node": "c2n1",
        "client_reset_ms": 0.84,
        "owner_freed_ms": 3.37,
    }
