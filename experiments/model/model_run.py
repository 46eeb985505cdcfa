"""From a spec to figures: one policy, or all on the same connections."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from controller.policies import POLICIES
from experiments.files.disk_full import disk_full_named
from experiments.files.handover import make_folders
from experiments.files.whole_file import write_whole
from experiments.model.engine import compute
from experiments.model.model_spec import ModelSpec
from experiments.model.model_summary import Computed, summary_of
from experiments.model.routes import Routes

#: Told now and then: what is being done, how much of it is done, and how much there is.
Report = Callable[[str, int, int], None]
#: Seconds between two reports.
_PAUSE_S = 0.5


def compute_spec(
    spec: ModelSpec, policies: Sequence[str], report: Report
) -> list[dict[str, Any]]:
    """The figures of each policy; all have the same course and the same connections."""
    report("bucket tables", 0, 1)
    changes = spec.changes()
    routes, population = Routes(changes), spec.population()
    found = []
    for policy in policies:
        one = spec.model_copy(update={"policy": policy})
        progress = _seldom(report, policy)
        tally = compute(one.computation(changes, population), progress, routes)
        found.append(summary_of(Computed(one, changes, routes, tally)))
    return found


def all_policies() -> list[str]:
    """The names of all policies, for a comparison."""
    return list(POLICIES)


def write_folder(
    folder: Path, spec: ModelSpec, summaries: Sequence[dict[str, Any]]
) -> None:
    """``spec.yaml``, ``model.json`` (a list, one for each policy) and the plots.

    Raises :class:`~experiments.files.disk_full.DiskFullError`.
    """
    # Slow to import, and not needed where nothing is drawn.
    from experiments.model.model_plots import write_plots

    resolved = yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False)
    text = json.dumps(list(summaries), indent=1) + "\n"
    with disk_full_named(folder):
        make_folders(folder)
        write_whole(folder / "spec.yaml", resolved)
        write_plots(summaries, folder)
        write_whole(folder / "model.json", text)


def _seldom(report: Report, what: str) -> Callable[[int, int], None]:
    """Passes a report on if some time has passed since the last."""
    last = [time.monotonic()]

    def progress(done: int, whole: int) -> None:
        now = time.monotonic()
        if now - last[0] > _PAUSE_S:
            last[0] = now
            report(what, done, whole)

    return progress
