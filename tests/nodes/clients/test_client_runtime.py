"""How clients wait, fail and end: nothing may keep one from ending."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable

import pytest

from nodes.clients import echo_client
from nodes.clients.client_runtime import Shutdown, with_timeout


async def within_a_second(what: Awaitable[str]) -> str:
    return await with_timeout(1, what)


def test_a_result_in_time_is_returned() -> None:
    async def run() -> str:
        return await within_a_second(asyncio.sleep(0, "here"))

    assert asyncio.run(run()) == "here"


def test_an_exception_is_raised_unchanged() -> None:
    async def run() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(ConnectionResetError("why"))
        await with_timeout(1, future)

    with pytest.raises(ConnectionResetError, match="why"):
        asyncio.run(run())


def test_a_late_operation_is_cancelled() -> None:
    async def run() -> bool:
        never = asyncio.get_running_loop().create_future()
        with pytest.raises(OSError, match=r"nothing for 0\.01 s"):
            await with_timeout(0.01, never)
        return never.cancelled()

    assert asyncio.run(run())


def test_a_cancellation_is_honoured_even_if_the_result_is_there() -> None:
    async def run() -> asyncio.Task[str]:
        ready = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(within_a_second(ready))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # it waits by now
        ready.set_result("here")
        task.cancel()
        await asyncio.wait({task})
        return task

    assert asyncio.run(run()).cancelled()


def test_a_client_of_which_a_part_failed_ends_in_time_like_any_other() -> None:
    options, _ = echo_client.parse_arguments(["--target", "10.0.0.1"])

    async def fail() -> None:
        raise ValueError("a bug")

    async def run() -> int:
        stop = Shutdown(options)
        task = asyncio.create_task(fail())
        stop.watch(task)
        await asyncio.wait({task, stop.future})
        with pytest.raises(ValueError, match="a bug"):
            stop.future.result()
        return signal.alarm(0)

    assert 0 < asyncio.run(run()) <= options.deadline_s + 2
