"""Runs per hour with one, two and three workers, beside a sweep without any.

``python -m tests.experiments.fleet_bench FOLDER``, as root, makes ``fleet.json`` there, and
``many-machines.svg`` of it. All machines are namespaces of this one, so real runs share its cores. Fake runs only wait: what
they gain is what the testbed itself allows.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments.sweep.state import MET, read_records
from tests.experiments.rack import FAKE, HEAD, Rack, rack
from tests.system.commands import eventually

WORKERS = (0, 1, 2, 3)
NAMES = ("alpha", "beta", "gamma")
SCHEDULER = "tcp://10.77.0.1:8786"
REAL = "import sys; from experiments.commands.cli import main; sys.exit(main())"
SUITES: dict[str, tuple[str, dict[str, Any]]] = {
    "fake": (
        FAKE,
        {"base": {"scenario": "drain-node", "steady_s": 2.0}, "repetitions": 6},
    ),
    "real": (
        REAL,
        {
            "base": {
                "scenario": "drain-node",
                "cluster": {"chassis": 2, "nodes": 2, "clients": 1},
                "workload": {"kind": "echo", "connections": 24},
                "steady_s": 0.2,
                "observe_s": 0.6,
            },
            "repetitions": 4,
        },
    ),
}


def main(folder: Path) -> None:
    """Measures all, and prints each figure as it is known."""
    found: list[dict[str, Any]] = []
    for kind, (code, data) in SUITES.items():
        suite = folder / f"{kind}.yaml"
        suite.write_text(json.dumps(data))
        for workers in WORKERS:
            scratch = folder / f"{kind}-{workers}"
            scratch.mkdir()
            with rack(NAMES, scratch) as machines:
                figures = _measure(machines, suite, code, workers)
            found.append({"runs_are": kind, "workers": workers, **figures})
            print(json.dumps(found[-1]), flush=True)
            (folder / "fleet.json").write_text(json.dumps(found, indent=1) + "\n")
    plot(found, folder / "many-machines.svg")


def plot(found: list[dict[str, Any]], path: Path) -> None:
    """Runs per hour, a panel for each kind of run that was measured whole."""
    measured = [f["runs_are"] for f in found]
    kinds = [kind for kind in SUITES if measured.count(kind) == len(WORKERS)]
    figure = Figure(figsize=(3.6 * len(kinds), 2.8), layout="constrained")
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    titles = {"fake": "runs that wait for 2 s", "real": "real runs, on two cores"}
    for panel, kind in zip(panels, kinds, strict=True):
        rates = [f["runs_per_hour"] for f in found if f["runs_are"] == kind]
        names = ["no\nworker", *(f"{n}\nworker{'s' * (n > 1)}" for n in WORKERS[1:])]
        bars = panel.bar(names, rates, color=["#818b98", *["#0969da"] * 3])
        panel.bar_label(bars, fmt="%.0f")
        panel.set_title(titles[kind])
        panel.margins(y=0.15)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("runs per hour")
    figure.savefig(path, metadata={"Date": None})


def _measure(machines: Rack, suite: Path, code: str, workers: int) -> dict[str, Any]:
    """One sweep; without workers it is one as ever."""
    out = machines.scratch / "out"
    options: tuple[str, ...] = ()
    ended = [_start(machines, code, name) for name in NAMES[:workers]]
    if workers:
        keys = str(machines.scratch / "keys")
        options = ("--scheduler", SCHEDULER, "--keys", keys)
    sweep = ("sweep", str(suite), "--out", str(out), *options)
    began_s = time.monotonic()
    status = machines.start(HEAD, "sweep", *sweep, code=code).wait(300)
    took_s = time.monotonic() - began_s
    for process in reversed(ended):
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    records = read_records(out / "state.jsonl").values()
    span_s = max(r.ended_s for r in records) - min(r.started_s for r in records)
    busy_s = sum(record.took_s for record in records)
    return {
        "status": status,
        "runs": len(records),
        "as_expected": sum(record.outcome == MET for record in records),
        "machines": sorted({str(record.machine) for record in records}),
        "runs_per_hour": round(3600 * len(records) / span_s, 1),
        "seconds_for_each_run": round(busy_s / len(records), 2),
        "seconds_between_runs": round(
            (span_s * max(workers, 1) - busy_s) / len(records), 3
        ),
        "whole_command_s": round(took_s, 1),
        "load_average": round(os.getloadavg()[0], 1),
    }


def _start(machines: Rack, code: str, name: str) -> Any:
    """Starts a worker, and before the first one keys and scheduler."""
    keys = str(machines.scratch / "keys")
    if name == NAMES[0]:
        made = machines.start(HEAD, "keys", "cluster-keys", "--out", keys)
        assert made.wait(60) == 0, machines.said("keys")
        serve = ("scheduler", "--listen", "0.0.0.0:8786", "--keys", keys)
        machines.start(HEAD, "scheduler", *serve)
    work = str(machines.scratch / "work")
    arguments = ("worker", SCHEDULER, "--keys", keys, "--name", name, "--work", work)
    worker = machines.start(name, name, *arguments, code=code)
    eventually(f"{name} at work", lambda: "works for" in machines.said(name), 60)
    return worker


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
