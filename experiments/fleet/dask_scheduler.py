"""``./resetbed scheduler``: where workers and commands meet. Dask's, with our keys."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import dask
from distributed import Scheduler

from experiments.files.whole_file import write_whole
from experiments.fleet.addresses import Address
from experiments.fleet.dask_settings import FACTS, apply_settings
from experiments.fleet.fleet_errors import FleetError
from experiments.fleet.tls_keys import Keys


@dataclass(frozen=True)
class SchedulerOptions:
    """How a scheduler serves. ``dashboard``: HOST:PORT of its pages, which are no secret.

    ``file``: gets its address, for workers that share a file system. ``lost_after_s``: a
    worker that is silent for so long is gone.
    """

    dashboard: str
    lost_after_s: float
    file: Path | None = None


def run_scheduler(
    address: Address, keys: Keys, options: SchedulerOptions, say: Callable[[str], None]
) -> None:
    """Serves until SIGTERM or SIGINT. Raises :class:`FleetError` if the port is in use."""
    apply_settings(options.lost_after_s)
    # Every server of Dask makes a folder for its data; a scheduler has none to keep.
    with TemporaryDirectory(prefix="resetbed-scheduler-") as folder:
        dask.config.set({"temporary-directory": folder})
        asyncio.run(_serve(address, keys, options, say))


async def _serve(
    address: Address, keys: Keys, options: SchedulerOptions, say: Callable[[str], None]
) -> None:
    serving = asyncio.ensure_future(_serve_always(address, keys, options, say))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        say("ended")


async def _serve_always(
    address: Address, keys: Keys, options: SchedulerOptions, say: Callable[[str], None]
) -> None:
    scheduler = Scheduler(
        host=str(address).rpartition(":")[0],
        port=address.port,
        protocol="tls",
        security=keys.security(),
        dashboard=True,
        dashboard_address=options.dashboard,
    )
    try:
        await scheduler
    except RuntimeError as error:
        raise FleetError(f"--listen {address}: {error.__cause__}") from error
    async with scheduler:
        host = options.dashboard.rpartition(":")[0]
        pages = f"http://{host}:{scheduler.services['dashboard'].port}/status"
        scheduler.task_metadata[FACTS] = {"dashboard": pages}
        if options.file:
            write_whole(options.file, json.dumps({"address": scheduler.address}))
        say(f"scheduler at {scheduler.address}, keys in {keys.folder}")
        say(f"dashboard: {pages}")
        await scheduler.finished()
