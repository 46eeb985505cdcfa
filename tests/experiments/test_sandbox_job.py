"""The program inside a sandbox: exit statuses of errors, and a cluster's replies."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from experiments.cluster import control
from experiments.cluster.errors import ClusterError
from experiments.cluster.live_cluster import Cluster
from experiments.cluster.live_view import LiveView
from experiments.files.disk_full import DiskFullError
from experiments.instruments.instruments import InstrumentError
from experiments.running import sandbox_job
from experiments.running.run import RunError
from experiments.spec.run_spec import RunSpec
from experiments.verdict.trust import EXIT_STATUS
from nodes.guard.guards import GuardError
from nodes.kernel.libbpf import BpfError
from topologies.domain.events import EventError
from topologies.private import UMASK
from topologies.runs import RUN_VARIABLE
from topologies.scripts import ScriptError
from topologies.switches import SwitchDaemonError


@pytest.fixture(autouse=True)
def own_umask() -> Iterator[None]:
    """A job sets the umask of its process, which here is that of the tests."""
    before = os.umask(0)
    yield
    os.umask(before)


def run(monkeypatch: pytest.MonkeyPatch, job: Callable[..., int], **words: Any) -> int:
    monkeypatch.setitem(sandbox_job.JOBS, "trial", job)
    return sandbox_job.main(json.dumps({"job": "trial", **words}))


@pytest.mark.parametrize("status", [0, 1, 4])
def test_the_programs_exit_status_is_the_jobs(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    assert run(monkeypatch, lambda: status) == status


def test_a_job_gets_its_arguments_and_the_private_umask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got: list[Any] = []

    def job(plan: dict[str, Any], out: str) -> int:
        mask = os.umask(0)
        got.extend((plan, out, mask))
        return 0

    assert run(monkeypatch, job, plan={"chassis": []}, out="here") == 0
    assert got == [{"chassis": []}, "here", UMASK]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BpfError("no BTF"), 3),
        (GuardError("no guard"), 3),
        (ClusterError("no cluster"), 1),
        (DiskFullError("no space"), 1),
        (InstrumentError("no probe"), 1),
        (RunError("no client"), 1),
        (ScriptError("no script"), 1),
        (SwitchDaemonError("no daemon"), 1),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else "",
)
def test_a_known_error_is_one_line_and_a_missing_requirement_refers_to_doctor(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    status: int,
) -> None:
    def job() -> int:
        raise error

    assert run(monkeypatch, job) == status
    output = capsys.readouterr()
    hint = "; see ./resetbed doctor" if status == 3 else ""
    assert output.err == f"resetbed: {error}{hint}\n"
    assert output.out == ""


def test_a_programming_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def job() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(monkeypatch, job)


def test_an_unknown_job_is_a_programming_error() -> None:
    with pytest.raises(KeyError, match="unknown"):
        sandbox_job.main('{"job": "unknown"}')


@pytest.mark.parametrize("outcome", EXIT_STATUS)
def test_a_run_ends_with_the_status_of_its_outcome(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, outcome: str
) -> None:
    got: list[Any] = []

    def experiment(spec: RunSpec, folder: Path, runtime: Path, tell: Any) -> Any:
        got.extend((spec, folder, runtime, tell))
        return {"outcome": outcome}

    monkeypatch.setattr(sandbox_job, "run_experiment", experiment)
    monkeypatch.setattr(sandbox_job, "runtime", lambda: tmp_path / "runtime")
    spec = RunSpec(seed=5, policy="drop")
    job = {"job": "run", "spec": spec.model_dump(mode="json"), "out": str(tmp_path)}
    assert sandbox_job.main(json.dumps(job)) == EXIT_STATUS[outcome]
    expected = [spec, tmp_path, tmp_path / "runtime", sandbox_job.print_progress]
    assert got == expected


def test_a_sandbox_finds_its_own_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN_VARIABLE, "run-7")
    assert sandbox_job.runtime().name == "run-7"


# ------------------------------------------------------------- the control socket


@dataclass
class Event:
    """A cluster's record of an event."""

    kind: str
    target: str

    def to_json(self) -> dict[str, str]:
        return {"kind": self.kind, "target": self.target}


@dataclass
class MadeUpCluster:
    """Executes events by recording them."""

    done: list[list[tuple[str, str]]] = field(default_factory=list)

    def events(self, events: list[tuple[str, str]]) -> list[Event]:
        self.done.append(events)
        return [Event(*pair) for pair in events]


class Served:
    """The operations of such a cluster, asked as through the socket."""

    def __init__(self) -> None:
        self.cluster, self.stop = MadeUpCluster(), threading.Event()
        cluster = cast(Cluster, self.cluster)
        self.view = LiveView(cluster)
        self.operations = sandbox_job.operations(cluster, self.view, self.stop)

    def ask(self, **request: Any) -> dict[str, Any]:
        return control.handle_request(self.operations, json.dumps(request).encode())


def test_a_ping_is_answered_and_changes_nothing() -> None:
    served = Served()
    assert served.ask(op="ping") == {"ok": True}
    assert (served.cluster.done, served.stop.is_set()) == ([], False)


def test_down_ends_the_cluster_and_answers_first() -> None:
    served = Served()
    assert served.ask(op="down") == {"ok": True}
    assert served.stop.is_set()


def test_a_cluster_that_goes_down_is_not_looked_at() -> None:
    served = Served()
    served.view.freeze()
    reply = served.ask(op="view")
    assert (reply["ok"], reply["error"]) == (False, "the cluster is going down")


def test_events_of_one_request_are_one_instant() -> None:
    served = Served()
    reply = served.ask(op="events", words=["drain-node", "c1n1", "fail-node", "c2n1"])
    pairs = [("drain-node", "c1n1"), ("fail-node", "c2n1")]
    assert served.cluster.done == [pairs]
    assert reply == {"ok": True, "events": [Event(*pair).to_json() for pair in pairs]}


@pytest.mark.parametrize(
    "words", [[], ["drain-node"], ["drain-nod", "c1n1"], ["drain-node", "c1n1", "x"]]
)
def test_invalid_events_are_bad_input_and_change_nothing(
    words: list[str],
) -> None:
    served = Served()
    reply = served.ask(op="events", words=words)
    assert (reply["ok"], reply["status"]) == (False, 2)
    assert reply["error"]
    assert served.cluster.done == []
    assert issubclass(EventError, control.INPUT_ERRORS)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"{", 2),
        (b"\xff", 2),
        (b'{"op": "unknown"}', 2),
        (b"{}", 2),
        (b"[]", 1),
        (b'{"op": "down", "now": 1}', 1),
    ],
)
def test_an_invalid_request_gets_an_error_and_changes_nothing(
    line: bytes, status: int
) -> None:
    served = Served()
    reply = control.handle_request(served.operations, line)
    assert (reply["ok"], reply["status"]) == (False, status)
    assert not served.stop.is_set()
