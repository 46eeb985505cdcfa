"""A worker's tasks: ended in time, when nobody wants them, and when the worker ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from experiments.fleet.parcel import unpack
from experiments.fleet.task import Reply
from experiments.fleet.task_runner import TaskRunner, Withdrawn
from experiments.machine.code_digest import code_digest
from tests.system.commands import eventually, processes_with


def order(seconds: float, deadline_s: float = 60.0) -> dict[str, Any]:
    """A fake run that takes so long."""
    spec = {"steady_s": seconds, "policy": "flood", "seed": 7}
    program = "tests.experiments.fake_run"
    return {"program": program, "value": spec, "deadline_s": deadline_s}


@pytest.fixture
def runner(tmp_path: Path) -> TaskRunner:
    """A runner whose code stays as it is."""
    return TaskRunner(tmp_path / "tasks", code_digest(), lambda: None)


def at_work(tmp_path: Path) -> bool:
    """Whether a task has its process; the processes of its folder name it."""
    return bool(processes_with(f"fake_run {tmp_path}"))


def start(
    runner: TaskRunner, tmp_path: Path, stop: Callable[[], None]
) -> Future[dict[str, Any]]:
    """A task that takes for ever, stopped when it is at work."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(runner.run, "one", order(1000.0))
        eventually("at work", lambda: at_work(tmp_path), 60)
        stop()
    return future


def test_what_a_task_leaves_comes_back(runner: TaskRunner, tmp_path: Path) -> None:
    reply = Reply(**runner.run("one", order(0.0)))
    assert (reply.status, reply.reason, reply.log) == (0, None, b"seed 7\n")
    unpack(reply.archive, reply.digests, tmp_path / "back")
    assert (tmp_path / "back" / "summary.json").is_file()
    assert list((tmp_path / "tasks").iterdir()) == []


def test_a_task_that_fails_has_its_status_and_log(runner: TaskRunner) -> None:
    broken = {**order(0.0), "value": {}}
    reply = Reply(**runner.run("one", broken))
    assert reply.status == 1
    assert b"KeyError" in reply.log
    assert reply.digests == {}


def test_a_task_ends_at_its_deadline(runner: TaskRunner, tmp_path: Path) -> None:
    reply = Reply(**runner.run("one", order(1000.0, deadline_s=1.0)))
    assert (reply.status, reply.reason) == (None, "not done within 1 s")
    assert not at_work(tmp_path)


def test_a_task_that_nobody_wants_is_ended(runner: TaskRunner, tmp_path: Path) -> None:
    runner.withdraw("another")
    future = start(runner, tmp_path, lambda: runner.withdraw("one"))
    with pytest.raises(Withdrawn):
        future.result()
    assert not at_work(tmp_path)
    assert list((tmp_path / "tasks").iterdir()) == []


def test_a_runner_that_is_closed_runs_nothing(
    runner: TaskRunner, tmp_path: Path
) -> None:
    future = start(runner, tmp_path, runner.close)
    with pytest.raises(Withdrawn):
        future.result()
    with pytest.raises(Withdrawn):
        runner.run("two", order(0.0))
    assert not at_work(tmp_path)


def test_other_code_than_at_the_start_is_not_run(tmp_path: Path) -> None:
    changed = threading.Event()
    runner = TaskRunner(tmp_path / "tasks", "0" * 64, changed.set)
    with pytest.raises(Withdrawn, match="code"):
        runner.run("one", order(0.0))
    assert changed.is_set()


def test_any_change_of_code_has_another_digest(tmp_path: Path) -> None:
    for name in ("resetbed", "setup.cfg", "nodes/a.py", "nodes/b.c"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    seen = {code_digest(tmp_path)}
    (tmp_path / "nodes" / "__pycache__").mkdir()
    (tmp_path / "nodes" / "__pycache__" / "a.pyc").touch()
    (tmp_path / "README.md").touch()
    assert {code_digest(tmp_path)} == seen, "neither caches nor documents are code"
    (tmp_path / "nodes" / "b.c").write_text("other")
    seen.add(code_digest(tmp_path))
    (tmp_path / "nodes" / "b.c").rename(tmp_path / "nodes" / "c.c")
    seen.add(code_digest(tmp_path))
    (tmp_path / "setup.cfg").write_text("other")
    seen.add(code_digest(tmp_path))
    assert len(seen) == 4
