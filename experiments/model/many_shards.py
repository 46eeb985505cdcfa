"""A computation on the machines of a scheduler: shards out, counts back, one sum.

The counts are sums (:mod:`experiments.model.tally`), so the order in which shards arrive
does not matter, and the summary is that of one machine, to the last digit.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from experiments.files.disk_full import disk_full_named
from experiments.fleet.addresses import Address
from experiments.fleet.fleet_errors import FleetError
from experiments.fleet.parcel import NotWhole, unpack
from experiments.fleet.placing import Home, Order, Placing
from experiments.fleet.task import Reply, Task
from experiments.fleet.tls_keys import Keys
from experiments.model.model_run import Report
from experiments.model.model_spec import ModelSpec
from experiments.model.model_summary import Computed, summary_of
from experiments.model.routes import Routes
from experiments.model.shard import PROGRAM, Shard, file_of
from experiments.model.tally import Clock, Tally
from experiments.model.tally_file import read_tally

#: Batches of one shard, of 65,536 connections each: a quarter of a minute to compute. Each
#: shard also builds the bucket tables, which takes seconds in a large cluster.
BATCHES = 400
MOST_SHARDS = 256
#: A shard is ended after that; seconds.
DEADLINE_S = 6 * 3600.0


@dataclass(frozen=True)
class ShardMachines:
    """A scheduler; how long a machine that has left keeps its shard; how many shards there
    are, None: one for so many connections."""

    address: Address
    keys: Keys
    patience_s: float
    shards: int | None = None


def compute_on_machines(
    spec: ModelSpec, policies: Sequence[str], machines: ShardMachines, report: Report
) -> list[dict[str, Any]]:
    """The figures of each policy, as :func:`~experiments.model.model_run.compute_spec`.

    Raises :class:`FleetError` if a shard cannot be computed, and :class:`ValueError` for a
    spec that needs a file of this machine.
    """
    from experiments.fleet.dask_fleet import Fleet

    if spec.model.trace is not None:
        raise ValueError("model.trace: a file of this machine; leave out --scheduler")
    report("bucket tables", 0, 1)
    changes = spec.changes()
    routes = Routes(changes)
    clock = Clock(spec.horizon_s, len(routes.nodes))
    tasks = shards_of(spec, policies, machines.shards)
    placing = Placing(tasks, {}, {}, machines.patience_s, time.monotonic())
    with tempfile.TemporaryDirectory(prefix="resetbed-model-") as folder:
        sums = {policy: Tally(clock, routes.eras) for policy in policies}
        collector = ShardCollector(Path(folder), sums, len(tasks), report)
        Fleet(machines.address, machines.keys, placing, collector).run()
    found = []
    for policy, tally in sums.items():
        one = spec.model_copy(update={"policy": policy})
        found.append(summary_of(Computed(one, changes, routes, tally)))
    return found


def shards_of(
    spec: ModelSpec, policies: Sequence[str], shards: int | None
) -> list[Task]:
    """The tasks; each is a group of its own, since no shard is compared with another."""
    batches = spec.population().batches
    wanted = min(-(-batches // BATCHES), MOST_SHARDS) if shards is None else shards
    of = max(1, min(wanted, batches))
    whole = spec.model_dump(mode="json")
    tasks = []
    for number in range(of):
        name = f"model-shard-{number + 1}-of-{of}"
        value = Shard(whole, list(policies), number, of).to_json()
        tasks.append(Task(name, name, PROGRAM, value, DEADLINE_S))
    return tasks


class ShardCollector:
    """Adds up the counts that arrive. Nothing of them is kept if the command ends: the
    same command computes all again."""

    def __init__(
        self, folder: Path, sums: Mapping[str, Tally], shards: int, report: Report
    ) -> None:
        self._folder = folder
        self._sums = sums
        self._shards = shards
        self._report = report
        self._arrived: set[str] = set()

    def on_machine(self, name: str, facts: Mapping[str, Any]) -> None:
        """Says that a machine works here."""
        self.say(f"{name} works here: {facts['cores']} cores")

    def on_home(self, home: Home) -> None:
        """Nothing is noted: a shard is the same wherever it is computed."""

    def on_reply(self, order: Order, reply: Reply) -> None:
        """Adds a shard's counts, once. Raises :class:`FleetError` if it has failed."""
        name = order.task.name
        if reply.reason or reply.status != 0:
            lines = reply.log.decode(errors="replace").strip().splitlines()
            why = reply.reason or f"status {reply.status}: {' '.join(lines[-1:])}"
            raise FleetError(f"{name} failed on {order.machine.name}: {why}")
        if name in self._arrived:
            return
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            files = Path(scratch) / "files"
            with disk_full_named(self._folder):
                unpack(reply.archive, reply.digests, files)
            try:
                arrived = {
                    policy: read_tally(files / file_of(policy), each.clock, each.eras)
                    for policy, each in self._sums.items()
                }
            except FileNotFoundError as error:
                raise NotWhole(f"{name}: {error.filename} is missing") from error
        for policy, tally in arrived.items():
            self._sums[policy].merge(tally)
        self._arrived.add(name)
        self._report("shards", len(self._arrived), self._shards)

    def on_given_up(self, order: Order, reason: str) -> None:
        """A sum without one of its parts is none: raises :class:`FleetError`."""
        raise FleetError(f"{order.task.name}: {reason}")

    def say(self, text: str) -> None:
        """Prints one line of progress."""
        click.echo(f"resetbed: {text}", err=True)
