"""Three machines in network namespaces: whatever is killed, every run counts once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars
import pytest

from experiments.results.judge import judge_folder
from experiments.sweep.state import FAILED, MET, read_lines, read_records
from experiments.sweep.suite_file import expand, load_suite
from tests.experiments.rack import FAKE, HEAD, Rack, rack
from tests.system.commands import UNTRUSTED, eventually, processes_with

pytestmark = pytest.mark.live
# In continuous integration its absence fails the tests, and skips none.
if os.environ.get("CI") != "true":
    pytest.importorskip(
        "distributed", reason="Dask is missing: ./resetbed setup extra dask"
    )

NAMES = ("alpha", "beta", "gamma")
SCHEDULER = "tcp://10.77.0.1:8786"
#: The command line as it is.
REAL = "import sys; from experiments.commands.cli import main; sys.exit(main())"
#: Workers whose code has another digest.
OTHER_CODE = (
    "import experiments.fleet.machine_facts as f; f.code_digest = lambda: '0' * 64"
)
#: A client that speaks TLS, and has no certificate of the cluster.
NO_KEY = """
import asyncio, ssl, sys
async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("10.77.0.1", 8786, ssl=context)
    print("closed" if not await reader.read(1) else "served")
try:
    asyncio.run(main())
except (ssl.SSLError, ConnectionError) as error:
    print("refused:", error)
"""


class Cluster:
    """A scheduler, three workers, and sweeps on them."""

    def __init__(self, machines: Rack) -> None:
        self.rack = machines
        self.keys = str(machines.scratch / "keys")
        made = machines.start(HEAD, "keys", "cluster-keys", "--out", self.keys)
        assert made.wait(60) == 0, machines.said("keys")
        self.scheduler = self.start_scheduler()
        self.workers = {name: self.start_worker(name) for name in NAMES}
        for name in NAMES:
            eventually(f"{name} at work", partial(self.has_joined, name), 60)

    def at_work(self) -> Sequence[int]:
        """The runs that its workers have at work. Other tests have such runs, too."""
        work = self.rack.scratch / "work"
        return processes_with(f"-m tests.experiments.fake_run {work}")

    def has_joined(self, name: str, times: int = 1) -> bool:
        """Whether that worker has joined the scheduler so often."""
        return self.rack.said(name).count("works for") >= times

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        """The scheduler, on its usual port."""
        arguments = ("--listen", "0.0.0.0:8786", "--lost-after", "5")
        return self.rack.start(
            HEAD, "scheduler", "scheduler", *arguments, "--keys", self.keys
        )

    def start_worker(self, name: str, *options: str, code: str = FAKE) -> Any:
        """A worker on the machine of that name."""
        work = str(self.rack.scratch / "work")
        return self.rack.start(
            *(name, name, "worker", SCHEDULER, "--name", name, "--work", work),
            *("--keys", self.keys, *options),
            code=code,
        )

    def start_sweep(
        self, suite: Path, out: Path, *options: str, code: str = FAKE
    ) -> Any:
        """A sweep; its output is in the log of its folder's name."""
        return self.rack.start(
            *(HEAD, out.name, "sweep", str(suite), "--out", str(out)),
            *("--scheduler", SCHEDULER, "--keys", self.keys, "--wait-for-machine", "1"),
            *options,
            code=code,
        )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and three workers that run fake runs."""
    with rack(NAMES, tmp_path_factory.mktemp("rack")) as machines:
        yield Cluster(machines)


def suite_of(folder: Path, **keys: Any) -> Path:
    """A suite of three designs on one event, or with other ``keys``."""
    data = {"base": {"scenario": "drain-node", "steady_s": keys.pop("steady_s", 0.2)}}
    data |= {"factors": {"policy": ["drop", "client-only", "flood"]}, **keys}
    path = folder / "fake.yaml"
    path.write_text(json.dumps(data))
    return path


def lines(out: Path, what: str) -> list[dict[str, Any]]:
    """The lines of a kind in a sweep's state file."""
    return [line for line in read_lines(out / "state.jsonl") if line["what"] == what]


def _has_runs(out: Path, more_than: int) -> bool:
    return len(lines(out, "run")) > more_than


def check_whole(suite: Path, out: Path) -> None:
    """Every run counts once, as expected, and every group is on one machine."""
    runs = expand(load_suite(suite), suite)
    records = read_records(out / "state.jsonl")
    assert {name: record.reason for name, record in records.items()} == {
        run.name: None for run in runs
    }
    groups: dict[str, set[str | None]] = {}
    for run in runs:
        groups.setdefault(run.group(), set()).add(records[run.name].machine)
        assert (
            out / "logs" / f"{run.name}.log"
        ).read_text() == f"seed {run.spec.seed}\n"
    assert all(len(machines) == 1 for machines in groups.values()), groups
    homes, done = lines(out, "home"), lines(out, "run")
    moved = Counter(name for line in homes for name in line["again"])
    for run in runs:
        made = [line["machine"] for line in done if line["run"] == run.name]
        # Repeated only where its group moved, and then unless that came back to it.
        assert len(made) <= 1 + moved[run.name], made
        assert made[-1] == records[run.name].machine
    table = polars.read_parquet(out / "runs.parquet")
    assert sorted(table["run"]) == sorted(records)
    assert set(table["outcome"]) == {MET}
    assert {path.name for path in (out / "runs").iterdir()} == set(records)


def test_who_has_no_key_cannot_join(cluster: Cluster) -> None:
    probe = cluster.rack.start("alpha", "no-key", code=NO_KEY)
    assert probe.wait(30) == 0
    assert "refused" in cluster.rack.said("no-key") or "closed" in cluster.rack.said(
        "no-key"
    )
    other = str(cluster.rack.scratch / "other")
    assert (
        cluster.rack.start(HEAD, "other", "cluster-keys", "--out", other).wait(30) == 0
    )
    arguments = ("worker", SCHEDULER, "--keys", other, "--name", "stranger")
    stranger = cluster.rack.start("alpha", "stranger", *arguments)
    assert stranger.wait(60) == 3
    assert "different keys" in cluster.rack.said("stranger")
    assert "works for" not in cluster.rack.said("stranger")
    plain = cluster.rack.start("beta", "plain", "worker", SCHEDULER)
    assert plain.wait(30) == 3
    assert "./resetbed cluster-keys" in cluster.rack.said("plain")


def test_whatever_is_killed_every_run_counts_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    suite, out = suite_of(tmp_path, repetitions=5), tmp_path / "chaos"
    chance = random.Random(time.time_ns())
    sweep = cluster.start_sweep(suite, out)
    # One run may be lost with its worker twice, and no more.
    victims = ["worker", "scheduler", "sweep", "worker"]
    chance.shuffle(victims)
    for number, victim in enumerate(victims):
        eventually("progress", partial(_has_runs, out, 3 * number), 60)
        time.sleep(chance.uniform(0, 1))  # any instant will do
        name = chance.choice(NAMES)
        if victim == "worker":
            cluster.workers[name].kill()
            cluster.workers[name].wait()
            cluster.workers[name] = cluster.start_worker(name)
        elif victim == "scheduler":
            cluster.scheduler.kill()
            cluster.scheduler.wait()
            cluster.scheduler = cluster.start_scheduler()
        else:
            sweep.kill()
            sweep.wait()
            sweep = cluster.start_sweep(suite, out)
    assert sweep.wait(60) == 0, cluster.rack.said("chaos")
    check_whole(suite, out)
    assert {
        record.machine for record in read_records(out / "state.jsonl").values()
    } <= {*NAMES}
    assert not cluster.at_work()


def test_a_killed_command_leaves_no_run_at_work(
    cluster: Cluster, tmp_path: Path
) -> None:
    suite, out = suite_of(tmp_path, steady_s=500.0), tmp_path / "left"
    work = str(cluster.rack.scratch / "work")
    sweep = cluster.start_sweep(suite, out)
    eventually("a run at work", cluster.at_work, 60)
    sweep.kill()
    sweep.wait()
    eventually("no run at work", lambda: not cluster.at_work())
    # The worker takes the folder away after the last process has gone.
    eventually("no folder of a run", lambda: not any(Path(work).glob("*/tasks/*")))


def test_a_run_that_hangs_is_ended_where_it_runs(
    cluster: Cluster, tmp_path: Path
) -> None:
    suite = suite_of(tmp_path, steady_s=500.0, deadline_s=2.0, factors={})
    out = tmp_path / "hangs"
    assert cluster.start_sweep(suite, out).wait(60) == 1, cluster.rack.said("hangs")
    records = read_records(out / "state.jsonl").values()
    assert {(r.outcome, r.reason) for r in records} == {(FAILED, "not done within 2 s")}
    assert not cluster.at_work()
    (line,) = [
        x for x in cluster.rack.said("hangs").splitlines() if x.startswith("[1/1]")
    ]
    assert "1 failed, 0 running" in line


def test_a_real_run_comes_back_whole(cluster: Cluster, tmp_path: Path) -> None:
    base = {
        "scenario": "drain-node",
        "cluster": {"chassis": 2, "nodes": 2, "clients": 1},
        "workload": {"kind": "echo", "connections": 24},
        "steady_s": 0.2,
        "observe_s": 0.6,
    }
    suite, out = suite_of(tmp_path, base=base, factors={}), tmp_path / "real"
    for _ in range(3):
        status = cluster.start_sweep(suite, out, "--retry-failed", code=REAL).wait(100)
        if status != UNTRUSTED:  # a busy machine's; no fault of the sweep
            break
    assert status == 0, cluster.rack.said("real")
    (record,) = read_records(out / "state.jsonl").values()
    folder = out / "runs" / record.run
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["connections"]["reset"] == summary["connections"]["moved"] > 0
    assert judge_folder(folder)["connections"] == summary["connections"]
    (row,) = polars.read_parquet(out / "runs.parquet").to_dicts()
    assert row["machine"] == record.machine in NAMES
    assert row["kernel"] == summary["provenance"]["kernel"]
    assert row["cores"]


def test_a_machine_that_disappears_gives_its_group_away(
    cluster: Cluster, tmp_path: Path
) -> None:
    suite, out = suite_of(tmp_path, repetitions=3, steady_s=1.0), tmp_path / "gone"
    sweep = cluster.start_sweep(suite, out)
    home = eventually("a home", lambda: lines(out, "home"), 60)[0]["machine"]
    cluster.rack.ip(HEAD, f"link set {home} down")
    try:
        assert sweep.wait(60) == 0, cluster.rack.said("gone")
    finally:
        cluster.rack.ip(HEAD, f"link set {home} up")
    check_whole(suite, out)
    (moved,) = [line for line in lines(out, "home") if line["left"]]
    assert moved["left"] == home
    assert home not in {r.machine for r in read_records(out / "state.jsonl").values()}


def test_other_code_is_refused_with_both_versions(
    cluster: Cluster, tmp_path: Path
) -> None:
    suite, out = suite_of(tmp_path), tmp_path / "differs"
    for worker in cluster.workers.values():
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    times = cluster.rack.said("gamma").count("works for")
    cluster.start_worker("gamma", code=f"{OTHER_CODE}\n{FAKE}")
    eventually("gamma back", partial(cluster.has_joined, "gamma", times + 1), 60)
    sweep = cluster.start_sweep(suite, out)
    assert sweep.wait(60) == 3
    said = cluster.rack.said("differs")
    assert "is refused: its code is" in said
    assert "(content 000000000000), and here it is" in said
    assert lines(out, "run") == []
