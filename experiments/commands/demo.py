"""The demo: one scale-out under three policies, on the same connections."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.display.render import (
    claim_table,
    comparison,
    console,
    print_verdict,
    read_summary,
)
from experiments.running.launch import make_folder, run_in_sandbox
from experiments.spec.spec_file import find_spec, load_run
from experiments.verdict.trust import EXIT_STATUS, worst

SCENARIO = "scale-out-node"
#: Transactions that hold locks: they show what a half-open connection costs its user.
WORKLOAD = "postgres"
POLICIES = ("drop", "client-only", "flood")

LESSON = """\
[bold]What it shows[/]: the same {moved} connections moved each time, because the node that \
joined changed the hash. With [bold]drop[/] their clients hang. With [bold]client-only[/] \
they are reset within milliseconds and connect again, but the nodes that owned them keep \
{left} half-open connections, and all that these hold.{locked_out} With [bold]flood[/] the \
load balancers fan the reset out to every node, and nothing is left."""

LOCKED_OUT = """ {count} clients wait for [bold]their own[/] row locks, \
until TCP keepalive ends the old sessions: 2 h 11 min by Linux's defaults."""


def run_demo(out: Path | None, seed: int, overrides: tuple[str, ...] = ()) -> int:
    """Makes three runs; prints one table, the claim chart and the ladder.

    Returns the worst exit status: 0 as expected, 1 not as expected, 4 if a measurement
    cannot be trusted.
    """
    started = time.monotonic()
    out = out or Path("results") / f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
    folders = []
    for number, policy in enumerate(POLICIES, start=1):
        console().print(f"[bold]run {number} of {len(POLICIES)}: {policy}[/]")
        given = (
            *(f"workload.kind={WORKLOAD}", f"policy={policy}", f"seed={seed}"),
            *overrides,
        )
        spec = load_run(find_spec(SCENARIO), given)
        status, folder = run_in_sandbox(spec, make_folder(spec, out / policy))
        if not _finished(status, folder):
            return status or 1
        folders.append(folder)
    show(folders)
    console().print(f"{time.monotonic() - started:.0f} s; results in {out}")
    return EXIT_STATUS[worst([read_summary(folder)["outcome"] for folder in folders])]


def _finished(status: int, folder: Path) -> bool:
    """Whether a run wrote a summary, and its exit status agrees with it."""
    if not (folder / "summary.json").exists():
        return False
    return status == EXIT_STATUS[read_summary(folder)["outcome"]]


def show(folders: list[Path]) -> None:
    """Prints the comparison of the runs, then claim chart and ladder of the last one."""
    summaries = [read_summary(folder) for folder in folders]
    out = console()
    out.print()
    out.print(comparison(summaries))
    same = len({tuple(summary["moved_connections"]) for summary in summaries}) == 1
    if same and all(summary["as_expected"] for summary in summaries):
        out.print(
            LESSON.format(
                moved=summaries[-1]["connections"]["moved"],
                left=summaries[1]["half_open"]["at_end"],
                locked_out=_locked_out(summaries[1]),
            )
        )
    elif not same:
        out.print("[red]the three runs did not move the same connections[/]")
    for summary in summaries:
        print_verdict(summary)
    out.print()
    out.print(claim_table(summaries[-1]))
    ladder = folders[-1] / "ladder.txt"
    if ladder.exists():
        out.print(ladder.read_text(), markup=False, soft_wrap=True)
        out.print(f"the same as an image: {ladder.with_suffix('.svg')}", markup=False)


def _locked_out(summary: Mapping[str, Any]) -> str:
    """A sentence about those that wait for their locks; empty without such a workload."""
    lock = (summary.get("harm") or {}).get("own_lock")
    if not lock or not lock["still_waiting"]:
        return ""
    return LOCKED_OUT.format(count=lock["still_waiting"])
