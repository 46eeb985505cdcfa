"""Invented results of the benchmark: every bound is met, and nothing is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.bench.basis.figure import Found, Line, Results, Setting
from experiments.bench.basis.size import QUICK, Size
from experiments.bench.figures import FIGURES
from experiments.bench.measure.reset_wave import Wave

NO_WAITS: Mapping[str, Any] = {
    "connections": 0,
    "before": {"p50": None, "p99": None, "max": None},
    "during": {"p50": None, "p99": None, "max": None},
}
#: The load of an idle machine, as ``Load.to_json`` returns it.
IDLE_LOAD: Mapping[str, Any] = {
    "seconds": 1.0,
    "cpu_seconds": 0.5,
    "busy": 0.3,
    "strangers": 0.0,
    "stolen": 0.0,
    "late_p99_ms": 0.1,
    "late_max_ms": 0.2,
    "backlog_drops": 0,
    "load_average": 0.5,
}


def wave(moved: int = 90, seconds: float = 0.09, **changed: Any) -> dict[str, Any]:
    """A complete wave: ``moved`` of as many connections and ten more."""
    whole = Wave(
        connections=moved + 10,
        moved=moved,
        freed=moved,
        seconds=seconds,
        clients_seconds=seconds,
        half_open=0,
        clients_lost=0,
        disturbed=0,
        waiting=NO_WAITS,
    )
    return {**whole.to_json(), **changed}


def _trip(p50: float) -> dict[str, float]:
    return {"p50": p50, "p99": 2 * p50, "max": 3 * p50}


def _growth(setting: Setting) -> Found:
    """A reset costs 0.1 ms, whatever the size of the cluster."""
    return {
        "nodes": setting.chassis * setting.nodes,
        "waves": [wave(n, n * 1e-4) for n in (100, 1000)],
    }


def _rates(rate: float) -> dict[str, Any]:
    one = {"rate": rate, "opened": 4000, "failures": {}, "retransmitted": 0}
    return {"rate": rate, "by_window": {"32": one}}


def found(figure: str, setting: Setting) -> Found:
    """The results of that figure in that setting."""
    ours = setting.kind == "ours"
    if figure == "growth":
        return _growth(setting)
    every: dict[str, Found] = {
        "bring-up": {"seconds": 20.0 if ours else 10.0, "steps": {"hosts": 8.0}},
        "round-trip": {**_trip(1.2 if ours else 1.0), "sample_ms": [1.0, 1.5]},
        "reset-latency": {
            "round_trip": _trip(1.0),
            "reset": _trip(1.2),
            "moved": 9,
            "not_reset": 0,
            "reset_sample_ms": [1.0, 2.0],
        },
        "bulk": {"gbit_1": 10.0, "gbit_16": 12.0},
        "connections": {
            **_rates(9000.0 if ours else 1000.0),
            **({} if ours else {"loopback_rate": 20_000.0}),
        },
        # 1 ms for each reset of ours, 100 ms for each of the naive one's.
        "mass-reset": wave() if ours else wave(90, 9.0),
        "footprint": {
            "taken_gib": 3.0,
            "processes_gib": 2.0,
            "processes": 450,
            "mib_for_each_node": 20.5,
            "processes_for_each_node": 3.0,
        },
        "beyond": {"up": {"seconds": 60.0, "steps": {}}, "wave": wave()},
    }
    return every[figure]


def results(name: str, size: Size = QUICK, repetitions: int = 1) -> dict[Setting, Any]:
    """Results of a figure in all its settings, the same in each repetition."""
    return {
        setting: [{**found(name, setting)} for _ in range(repetitions)]
        for setting in FIGURES[name].settings(size)
    }


def lines_of(name: str, given: Results, size: Size = QUICK) -> Sequence[Line]:
    """That figure's lines."""
    return FIGURES[name].lines(size, given)


def changed(
    given: Mapping[Setting, Any], kind: str, **values: Any
) -> dict[Setting, list[Found]]:
    """Those results with these values in every repetition of that kind of network."""
    return {
        setting: [
            {**one, **values} if setting.kind == kind else one for one in repetitions
        ]
        for setting, repetitions in given.items()
    }


def measured(figures: Sequence[str], setting: Setting) -> dict[str, Any]:
    """What ``measure_in_sandbox`` writes into its file of that setting."""
    return {
        "up": {"sandbox": 1.0, "load": dict(IDLE_LOAD), "steps": {"hosts": 8.0}},
        "figures": {
            name: {"found": found(name, setting), "load": dict(IDLE_LOAD)}
            for name in figures
        },
    }
