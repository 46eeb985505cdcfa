"""``./resetbed chaos``: random events and failures, judged all the time."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import click

from experiments.commands.cli_options import (
    BadInput,
    cluster_arguments,
    cluster_options,
    handles_errors,
    healing_options,
)

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _duration(_context: Any, _parameter: Any, text: str) -> float:
    """``90s``, ``10m``, ``1h`` or a number of seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match:
        raise click.BadParameter(f"{text!r}: expected a time, e.g. 90s, 10m")
    return float(match[1]) * _UNITS[match[2] or "s"]


@click.command("chaos")
@click.option(
    "--for",
    "for_s",
    default="10m",
    show_default=True,
    callback=_duration,
    help="How long.",
)
@click.option("--seed", default=1, show_default=True, help="Fixes the schedule.")
@click.option(
    "--events",
    type=click.IntRange(1, 100_000),
    help="How many in that time.  [default: 100 a minute]",
)
@click.option(
    "--shrink",
    "tries",
    type=click.IntRange(0, 200),
    default=12,
    show_default=True,
    help="Runs to find the shortest sequence after a violation; 0: none.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.")
@click.option(
    "--replay",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Do what is in this file (schedule.json, or chaos.json).",
)
@healing_options
@cluster_options
@handles_errors
def command(
    for_s: float,
    seed: int,
    events: int | None,
    tries: int,
    out: Path | None,
    replay: Path | None,
    **size: Any,
) -> None:
    """Do random things to a cluster, and judge all the time.

    \b
      ./resetbed chaos --for 5m --seed 7
      ./resetbed chaos --replay results/chaos-7/chaos.json

    Membership events, several at once; programs killed and stopped; resets lost; clients
    that abort, vanish, reuse ports, forge resets and send strays. Invariants: no unmoved
    connection reset, none half open beyond the bound, no acknowledged write lost, every
    program restarted, memory bounded. A violation stops it, and the shortest sequence
    that repeats it is sought.
    """
    from experiments.chaos.chaos_actions import ScheduleError, read_schedule
    from experiments.chaos.chaos_launch import ChaosOrder, launch_chaos
    from experiments.chaos.shrinking import Limit
    from experiments.running.launch import empty_folder

    try:
        replayed = None if replay is None else read_schedule(replay)
    except ScheduleError as error:
        raise BadInput(str(error)) from error
    fixed: dict[str, Any] = {"workload": "nbd", **_DEFAULTS}
    plan, options = cluster_arguments({**size, **fixed})
    for shared in ("links", "servers"):  # they have no options here
        del options[shared]
    label = f"chaos-{seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    order = ChaosOrder(
        plan=plan,
        options=options,
        seed=seed,
        events=events or max(1, round(for_s * 100 / 60)),
        for_s=for_s,
        shrink=Limit(tries, 3 * for_s),
        folder=empty_folder(out or Path("results") / label),
    )
    sys.exit(launch_chaos(order, replayed))


_DEFAULTS: dict[str, Any] = {
    "weights": {},
    "buckets": None,
    "pins": None,
    "servers": (),
    "rate_mbit": None,
    "delay_ms": None,
    "loss_percent": None,
}

# Both services run on every node (experiments/chaos/mixed_workload.py): no choice.
command.params = [one for one in command.params if one.name != "workload"]
