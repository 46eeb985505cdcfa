"""Measures every server in turn, and shows the table."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.table import Table

from experiments.display.render import console
from experiments.doctor.workload_packages import require_packages
from experiments.files.disk_full import disk_full_named
from experiments.files.handover import chown_to_caller
from experiments.files.whole_file import write_whole
from experiments.machine.provenance import provenance
from experiments.memory.conversations import CONVERSATIONS
from experiments.workloads import WORKLOADS
from topologies import sandbox

IDLE, UNSENT = "idle", "answer unsent"


class Row(NamedTuple):
    """One measurement: a conversation's name, how many connections, and their state."""

    name: str
    connections: int
    state: str


def rows(names: Sequence[str], connections: int) -> list[Row]:
    """What is measured: each idle, and owed an answer if it can ask for one."""
    return [
        Row(name, min(connections, CONVERSATIONS[name].most), state)
        for name in names
        for state in (IDLE, UNSENT)
        if state == IDLE or CONVERSATIONS[name].ask
    ]


def measure_all(
    names: Sequence[str], connections: int, repetitions: int, out: Path
) -> int:
    """Measures, prints, and writes ``memory.json`` into ``out``. Returns 1 if a row failed.

    Of the repetitions of a row each part's median counts: ``bytes_each``.
    Raises :class:`~experiments.machine.requirements.RequirementMissing`.
    """
    for workload in {CONVERSATIONS[name].workload for name in names}:
        require_packages(WORKLOADS[workload])
    origin, found, failed = provenance(), [], 0
    wanted = rows(names, connections)
    for number, row in enumerate(wanted, start=1):
        click.echo(
            f"[{number}/{len(wanted)}] {row.name}, {row.state}: "
            f"{row.connections} half-open connections",
            err=True,
        )
        readings = [_measured(row, out / ".reading") for _ in range(repetitions)]
        good = [reading for reading in readings if reading is not None]
        failed += len(readings) - len(good)
        if good:
            each = {key: statistics.median(one[key] for one in good) for key in good[0]}
            found.append({**row._asdict(), "bytes_each": each, "repetitions": good})
    document = {"schema": 1, "rows": found, "provenance": origin}
    with disk_full_named(out):
        write_whole(out / "memory.json", json.dumps(document, indent=1) + "\n")
    chown_to_caller(out)
    console().print(table(found))
    click.echo(f"results: {out}")
    return int(failed > 0)


def _measured(row: Row, file: Path) -> dict[str, int] | None:
    """Bytes of one connection, by part; None if it failed, which is said."""
    job = {
        "conversation": row.name,
        "connections": row.connections,
        "unsent": row.state == UNSENT,
        "out": str(file),
    }
    argv = [sys.executable, "-m", "experiments.memory.memory_job", json.dumps(job)]
    if sandbox.enter(argv, f"memory-{os.getpid()}"):
        return None
    reading: dict[str, int] = json.loads(file.read_text())
    file.unlink()
    return reading


def table(found: Sequence[dict[str, Any]]) -> Table:
    """One row for each measurement, KiB of one connection, and MiB of 10,000."""
    shown = Table(title="memory of one half-open connection, KiB", title_justify="left")
    for title in ("server", "state", "of"):
        shown.add_column(title)
    for title in ("server", "kernel objects", "stacks", "data", "all", "10,000: MiB"):
        shown.add_column(title, justify="right")
    for one in found:
        each = one["bytes_each"]
        parts = (
            each[k] / 1024 for k in ("server", "objects", "stacks", "data", "total")
        )
        shown.add_row(
            *(one["name"], one["state"], f"{one['connections']:,}"),
            *(f"{part:.1f}" for part in parts),
            f"{each['total'] * 10_000 / 2**20:,.0f}",
        )
    return shown
