"""Shards of a computation: whoever computes them, the sum is that of one machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from experiments.commands.cli import main
from experiments.fleet.fleet_errors import FleetError
from experiments.fleet.parcel import NotWhole, pack
from experiments.fleet.placing import Machine, Order
from experiments.fleet.task import Reply, Task
from experiments.model import population
from experiments.model.many_shards import ShardCollector, shards_of
from experiments.model.model_run import compute_spec
from experiments.model.model_spec import ModelSpec, load_model_spec
from experiments.model.model_summary import Computed, summary_of
from experiments.model.routes import Routes
from experiments.model.shard import Shard, compute_shard
from experiments.model.tally import Clock, Tally
from experiments.model.tally_file import read_tally, write_tally

POLICIES = ["flood", "jet"]


def silent(_what: str, _done: int, _whole: int) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    """A rack with pins and locks: every kind of count."""
    pairs = ("model.connections=9000", "model.for_s=40", "balancer=rendezvous")
    return load_model_spec("rack", pairs)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several batches, of few connections."""
    monkeypatch.setattr(population, "BATCH", 1 << 11)


def reply_of(task: Task, scratch: Path) -> Reply:
    """What a machine sends back."""
    folder = scratch / task.name
    compute_shard(Shard(**json.loads(json.dumps(task.value))), folder)
    archive, digests = pack(folder)
    return Reply(0, None, 0.0, 1.0, b"", archive, digests)


class Sums:
    """The counts of a spec, before any shard has arrived."""

    def __init__(self, spec: ModelSpec, folder: Path, shards: int) -> None:
        self.spec, self.changes = spec, spec.changes()
        self.routes = Routes(self.changes)
        clock = Clock(spec.horizon_s, len(self.routes.nodes))
        self.tallies = {policy: Tally(clock, self.routes.eras) for policy in POLICIES}
        self.collector = ShardCollector(folder, self.tallies, shards, silent)

    def summaries(self) -> str:
        """As text."""
        found = []
        for policy, tally in self.tallies.items():
            one = self.spec.model_copy(update={"policy": policy})
            found.append(summary_of(Computed(one, self.changes, self.routes, tally)))
        return json.dumps(found)


def order(task: Task) -> Order:
    return Order(task, Machine("alpha", "1", 1), 1)


@pytest.mark.usefixtures("small_batches")
def test_the_sum_of_shards_is_what_one_machine_computes(
    spec: ModelSpec, tmp_path: Path
) -> None:
    """Byte by byte, in whatever order they come; one that comes twice counts once."""
    tasks = shards_of(spec, POLICIES, 3)
    assert [task.value["of"] for task in tasks] == [3, 3, 3]
    sums = Sums(spec, tmp_path, len(tasks))
    replies = [(task, reply_of(task, tmp_path / "made")) for task in tasks]
    for task, reply in [*reversed(replies), replies[0]]:
        sums.collector.on_reply(order(task), reply)
    expected = json.dumps(compute_spec(spec, POLICIES, silent))
    assert sums.summaries() == expected
    assert json.loads(expected)[1]["pins"]["entries"]["peak"] > 0


@pytest.mark.usefixtures("small_batches")
def test_there_are_no_more_shards_than_batches(spec: ModelSpec) -> None:
    batches = spec.population().batches
    assert len(shards_of(spec, POLICIES, 10_000)) == batches > 3
    (one,) = shards_of(spec, POLICIES, None)
    assert one.value["of"] == 1


def failed(reply: Reply) -> Reply:
    return Reply(1, None, 0.0, 1.0, b"a line\nno memory\n", reply.archive, {})


def cut(reply: Reply) -> Reply:
    return Reply(0, None, 0.0, 1.0, b"", reply.archive, {**reply.digests, "x": "0"})


def empty(reply: Reply) -> Reply:
    archive, digests = pack(Path("no-such-folder"))
    return Reply(0, None, 0.0, 1.0, b"", archive, digests)


@pytest.mark.parametrize(
    ("spoil", "error", "text"),
    [
        (failed, FleetError, "failed on alpha: status 1: no memory"),
        (cut, NotWhole, "missing: x"),
        (empty, NotWhole, "npz is missing"),
    ],
)
def test_a_shard_that_is_not_whole_is_not_added(
    spec: ModelSpec,
    tmp_path: Path,
    spoil: Callable[[Reply], Reply],
    error: type[Exception],
    text: str,
) -> None:
    (task,) = shards_of(spec, POLICIES, 1)
    sums = Sums(spec, tmp_path, 1)
    archive, digests = pack(tmp_path / "nothing")
    plain = Reply(0, None, 0.0, 1.0, b"", archive, digests)
    with pytest.raises(error, match=text):
        sums.collector.on_reply(order(task), spoil(plain))
    assert not any(tally.numbers for tally in sums.tallies.values())
    with pytest.raises(FleetError, match="lost 3 times"):
        sums.collector.on_given_up(order(task), "lost 3 times")


def test_counts_are_read_as_they_were_written(tmp_path: Path) -> None:
    clock = Clock(10.0, 4)
    tally = Tally(clock, 3)
    tally.count("opened", 7)
    tally.happen("moved", np.array([1.0, 2.0]))
    tally.in_eras("moved", np.array([1, 1, 2]))
    tally.load("live", np.array([0, 3]), np.array([0.0, 1.0]), np.array([2.0, 9.0]))
    tally.lasted("file", np.array([0.25, 3.0]))
    write_tally(tally, tmp_path / "one.npz")
    again = read_tally(tmp_path / "one.npz", clock, 3)
    again.merge(tally)
    tally.merge(read_tally(tmp_path / "one.npz", clock, 3))
    assert again.numbers == tally.numbers == {"opened": 14}
    assert again.durations["file"].longest == 3.0
    for kind in ("courses", "of_event", "loads"):
        one, other = getattr(again, kind), getattr(tally, kind)
        assert one.keys() == other.keys()
        assert all((one[name] == other[name]).all() for name in one)


def test_options_that_do_not_fit_are_refused() -> None:
    result = CliRunner().invoke(main, ["model", "rack", "--shards", "3"])
    assert (result.exit_code, "only with --scheduler" in result.output) == (2, True)
