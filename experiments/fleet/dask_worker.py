"""``./resetbed worker``: this machine runs tasks for a scheduler, until it is ended.

When the scheduler goes, the tasks under way are ended, and the worker waits for it to come
back. Dask's worker lives in this process: if it is killed, its tasks die with it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from distributed import Status, Worker, WorkerPlugin

from experiments.fleet.addresses import Address
from experiments.fleet.dask_settings import FACTS, RESOURCE, apply_settings
from experiments.fleet.fleet_errors import FleetError
from experiments.fleet.introduction import introduce
from experiments.fleet.machine_facts import machine_facts
from experiments.fleet.task_runner import TaskRunner
from experiments.fleet.tls_keys import Keys

_AGAIN_S = 1.0
#: Tasks get SIGTERM, and SIGKILL after 15 s (experiments/fleet/task_process.py).
_LEAVE_S = 20.0
#: How often it is said that the scheduler does not answer.
_SAY_EVERY_S = 30.0


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker works. ``jobs``: tasks at a time. ``port``: where it listens; 0: any."""

    name: str
    jobs: int
    folder: Path
    port: int = 0


class _Runs(WorkerPlugin):  # type: ignore[misc]  # Dask is not always installed
    """Gives a worker its runner, and ends tasks that are cancelled."""

    name = FACTS

    def __init__(self, runner: TaskRunner) -> None:
        self.runner = runner

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Dask cannot stop what it called; the runner can."""
        if start == "executing" and finish not in ("memory", "error"):
            self.runner.withdraw(str(key))

    def teardown(self, worker: Any) -> None:
        """The worker closes: its scheduler has gone, or it is to end."""
        self.runner.close()


def run_worker(
    address: Address, keys: Keys, options: WorkerOptions, say: Callable[[str], None]
) -> None:
    """Serves until SIGTERM or SIGINT. Raises :class:`FleetError` for what cannot work."""
    apply_settings()
    keys.check()
    lock = _own_folder(options)
    try:
        asyncio.run(_serve(address, keys, options, say))
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)
        os.close(lock)


def _own_folder(options: WorkerOptions) -> int:
    """Empties the worker's folder and locks it; a killed worker has left its own behind."""
    options.folder.parent.mkdir(parents=True, exist_ok=True)
    path = options.folder.with_name(f"{options.folder.name}.lock")
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise FleetError(
            f"a worker called {options.name} runs here already; choose another --name"
        ) from None
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(mode=0o700)
    return lock


async def _serve(
    address: Address, keys: Keys, options: WorkerOptions, say: Callable[[str], None]
) -> None:
    facts = await asyncio.to_thread(machine_facts)
    serving = asyncio.ensure_future(_serve_always(address, keys, options, facts, say))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        say("ended")


async def _serve_always(
    address: Address,
    keys: Keys,
    options: WorkerOptions,
    facts: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    loop = asyncio.get_running_loop()
    said_s = -_SAY_EVERY_S
    while True:
        trouble = "the scheduler has gone"
        try:
            await introduce(address, keys)
            runner = TaskRunner(
                options.folder / "tasks", facts["code_digest"], partial(_end, say)
            )
            async with _worker(address, keys, options, facts, runner) as worker:
                say(f"{options.name} works for {address}, {options.jobs} at a time")
                said_s = -_SAY_EVERY_S
                try:
                    await worker.finished()
                except asyncio.CancelledError:
                    await _take_leave(worker, runner)
                    raise
        except FleetError:
            raise  # it will not get better
        except (OSError, ValueError, RuntimeError, asyncio.TimeoutError) as error:
            trouble = _explained(error, options)
        if loop.time() - said_s >= _SAY_EVERY_S:
            said_s = loop.time()
            say(f"{address}: {trouble}; trying again")
        await asyncio.sleep(_AGAIN_S)


async def _take_leave(worker: Worker, runner: TaskRunner) -> None:
    """No more tasks, and the scheduler learns that those under way were ended."""
    worker.status = Status.closing_gracefully
    runner.close()
    until_s = asyncio.get_running_loop().time() + _LEAVE_S
    while worker.state.executing and asyncio.get_running_loop().time() < until_s:
        await asyncio.sleep(0.05)


def _end(say: Callable[[str], None]) -> None:
    """Ends this process, which still is what it was before its code changed."""
    say("the code on this machine has changed: start the worker again")
    os.kill(os.getpid(), signal.SIGTERM)


def _worker(
    address: Address,
    keys: Keys,
    options: WorkerOptions,
    facts: dict[str, Any],
    runner: TaskRunner,
) -> Worker:
    return Worker(
        str(address),
        name=options.name,
        nthreads=options.jobs,
        resources={RESOURCE: options.jobs},
        security=keys.security(),
        local_directory=str(options.folder / "dask"),
        port=options.port,
        memory_limit=0,  # tasks are other processes, and Dask must not pause them
        dashboard_address="127.0.0.1:0",
        plugins=(_Runs(runner),),
        startup_information={FACTS: lambda _worker: facts},
        heartbeat_interval="1s",
        death_timeout=20,
    )


def _explained(error: Exception, options: WorkerOptions) -> str:
    """An error of Dask's start, with its remedy."""
    text = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
    if "name taken" in text:
        return f"another worker is called {options.name}: choose another --name"
    return text or f"no answer ({type(error).__name__})"
