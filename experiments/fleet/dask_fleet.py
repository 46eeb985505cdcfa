"""Sends tasks to the machines of a scheduler, and collects what comes of them.

Dask carries: it finds workers, authenticates them, hands each task over and its result
back. What runs where is decided in :mod:`experiments.fleet.placing`, and noted by the
collector before it happens.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass
from typing import Any

from distributed import Client, Future, KilledWorker

from experiments.fleet.addresses import Address
from experiments.fleet.collector import Collector
from experiments.fleet.dask_settings import FACTS, RESOURCE, apply_settings
from experiments.fleet.fleet_errors import FleetError
from experiments.fleet.introduction import introduce
from experiments.fleet.machine_facts import machine_facts, refusal
from experiments.fleet.parcel import NotWhole
from experiments.fleet.placing import MOST_LOSSES, Home, Machine, Order, Placing
from experiments.fleet.task import Reply
from experiments.fleet.task_runner import Withdrawn, run_order
from experiments.fleet.tls_keys import Keys

#: How often the scheduler is asked which machines there are.
_LOOK_S = 0.5
#: How long the scheduler has to answer: at the start, and when it was there before.
_FIRST_ANSWER_S = 30.0
_RETURN_S = 600.0
_AGAIN_S = 1.0
#: How long one question to it takes at most.
_ANSWER_S = 20.0
#: How often it is said that nothing can run.
_SAY_EVERY_S = 30.0


class _SchedulerGone(Exception):
    """The scheduler does not answer (any more)."""


@dataclass(frozen=True)
class _Sent:
    """An order that Dask has; ``answer`` is done when its reply is here."""

    order: Order
    future: Future
    answer: asyncio.Task[dict[str, Any]]


class Fleet:
    """Runs all tasks of a placing to their ends."""

    def __init__(
        self, address: Address, keys: Keys, placing: Placing, collector: Collector
    ) -> None:
        self._address = address
        self._keys = keys
        self._placing = placing
        self._collector = collector
        self._facts: dict[str, Any] = {}
        self._judged: dict[str, bool] = {}  # address of a worker -> whether it is used
        self._sent: list[_Sent] = []
        self._idle_said_s = -_SAY_EVERY_S
        self._look_s = 0.0  # when the scheduler is asked next

    def run(self) -> None:
        """Returns when every task has ended. Raises :class:`FleetError`.

        If this ends early (Ctrl-C, SIGTERM as ``SystemExit``), the tasks under way are ended
        on their machines, and nothing is noted of them.
        """
        apply_settings()
        self._facts = machine_facts()
        asyncio.run(self._run())

    async def _run(self) -> None:
        until_s = time.monotonic() + _FIRST_ANSWER_S
        while self._placing.remaining:
            try:
                client = await self._connect()
            except _SchedulerGone as error:
                if time.monotonic() > until_s:
                    raise FleetError(_no_scheduler(self._address, error)) from error
                await asyncio.sleep(_AGAIN_S)
                continue
            try:
                await self._say_where(client)
                await self._session(client)
            except _SchedulerGone as error:
                self._collector.say(f"{self._address}: {error}; trying again")
                until_s = time.monotonic() + _RETURN_S
            finally:
                self._drop_all()
                await client.close(timeout=_AGAIN_S)

    async def _connect(self) -> Client:
        """Raises :class:`FleetError` if the keys do not fit, or :class:`_SchedulerGone`."""
        try:
            await introduce(self._address, self._keys)
            return await Client(
                str(self._address),
                security=self._keys.security(),
                asynchronous=True,
                timeout=10,
                name="resetbed",
            )
        except (OSError, asyncio.TimeoutError) as error:
            raise _SchedulerGone(str(error) or type(error).__name__) from error

    async def _say_where(self, client: Client) -> None:
        asked = client.get_metadata([FACTS, "dashboard"], default=None)
        pages = await _answered(asked)
        if pages:
            host = self._address.host
            self._collector.say(f"dashboard, on {host}: {pages}")

    async def _session(self, client: Client) -> None:
        """Until every task has ended. Raises :class:`_SchedulerGone`."""
        self._look_s = 0.0
        while self._placing.remaining:
            if time.monotonic() >= self._look_s:
                self._look_s = time.monotonic() + _LOOK_S
                self._see(await _answered(client.scheduler.identity(n_workers=-1)))
            for decision in self._placing.decide(time.monotonic()):
                if isinstance(decision, Home):
                    self._collector.on_home(decision)
                else:
                    self._sent.append(_send(client, decision))
            await self._wait()
            for sent in [each for each in self._sent if each.answer.done()]:
                self._sent.remove(sent)
                self._take(sent)
            if client.status != "running":
                raise _SchedulerGone("the scheduler has gone")

    def _see(self, scheduler: Mapping[str, Any]) -> None:
        """Which machines are there, and what is lost with the others."""
        workers: dict[str, dict[str, Any]] = scheduler["workers"]
        usable = {a: w for a, w in workers.items() if self._is_usable(a, w)}
        if workers and not usable and not any(self._judged.values()):
            raise FleetError("no worker that is there can be used (see above)")
        machines = [
            Machine(str(w["name"]), address, int(w["resources"][RESOURCE]))
            for address, w in usable.items()
        ]
        for order in self._placing.see(machines, time.monotonic()):
            self._forget(order)
            if order.machine.address in workers:
                self._withdraw(order, "its worker ends")
            else:
                self._lose(order, "its worker has gone")
        if not self._placing.under_way:
            self._say_idle(machines)

    def _is_usable(self, address: str, worker: Mapping[str, Any]) -> bool:
        """Judges a worker when it is first seen, and says so."""
        if address not in self._judged:
            facts = worker.get(FACTS) or {}
            why = refusal(self._facts, facts)
            self._judged[address] = why is None
            if why:
                self._collector.say(f"worker {worker['name']} is refused: {why}")
            else:
                self._collector.on_machine(str(worker["name"]), facts)
        return self._judged[address] and worker["status"] == "running"

    def _say_idle(self, machines: list[Machine]) -> None:
        if time.monotonic() - self._idle_said_s < _SAY_EVERY_S:
            return
        self._idle_said_s = time.monotonic()
        if not machines:
            self._collector.say(
                f"waiting for workers: on each machine, ./resetbed worker {self._address}"
            )

    async def _wait(self) -> None:
        """Until an answer is here, or it is time to look again."""
        answers = [sent.answer for sent in self._sent]
        if answers:
            await asyncio.wait(
                answers, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED
            )
        else:
            await asyncio.sleep(_LOOK_S)

    def _take(self, sent: _Sent) -> None:
        """Notes what came of an order."""
        error: BaseException | None
        sent.future.release()
        try:
            error, answer = None, sent.answer.result()
        except (asyncio.CancelledError, CancelledError):
            raise _SchedulerGone("the scheduler has lost its tasks") from None
        except Withdrawn as withdrawn:
            self._withdraw(sent.order, str(withdrawn))
            return
        except KilledWorker:
            error = FleetError("its worker has gone")
        except Exception as raised:  # noqa: BLE001 - whatever the task raised there
            error = raised
        if error is None:
            try:
                self._collector.on_reply(sent.order, Reply(**answer))
            except NotWhole as not_whole:
                error = not_whole
        if error is None:
            self._placing.finished(sent.order)
        else:
            self._lose(sent.order, str(error) or type(error).__name__)

    def _lose(self, order: Order, reason: str) -> None:
        self._look_s = 0.0  # before that machine gets another task
        machine = order.machine.name
        if self._placing.lost(order):
            text = f"lost {MOST_LOSSES} times, at last on {machine}: {reason}"
            self._collector.on_given_up(order, text)
            self._placing.give_up(order)
        else:
            self._say_again(order, reason)

    def _withdraw(self, order: Order, reason: str) -> None:
        """The worker ended it: that says nothing against the task."""
        self._look_s = 0.0
        self._placing.withdraw(order)
        self._say_again(order, reason)

    def _say_again(self, order: Order, reason: str) -> None:
        name, machine = order.task.name, order.machine.name
        self._collector.say(f"{name} is lost on {machine}, and done again: {reason}")

    def _forget(self, order: Order) -> None:
        for sent in [each for each in self._sent if each.order == order]:
            self._sent.remove(sent)
            sent.answer.cancel()
            sent.future.release()

    def _drop_all(self) -> None:
        for sent in self._sent:
            sent.answer.cancel()
        self._sent.clear()
        self._placing.withdraw_all(time.monotonic())


def _send(client: Client, order: Order) -> _Sent:
    """Hands an order to Dask. Its key starts with the task's name, as pages show it."""
    key = f"{order.task.name}-{uuid.uuid4().hex[:8]}"
    future = client.submit(
        run_order,
        key,
        json.dumps(asdict(order.task)),
        key=key,
        workers=[order.machine.address],
        allow_other_workers=False,
        resources={RESOURCE: 1},
        retries=0,
        pure=False,
    )
    return _Sent(order, future, asyncio.ensure_future(_result(future)))


async def _result(future: Future) -> dict[str, Any]:
    answer: dict[str, Any] = await future
    return answer


async def _answered(question: Any) -> Any:
    """What the scheduler answers. Raises :class:`_SchedulerGone`."""
    try:
        return await asyncio.wait_for(question, _ANSWER_S)
    except (OSError, asyncio.TimeoutError) as error:
        raise _SchedulerGone(f"the scheduler does not answer ({error})") from error


def _no_scheduler(address: Address, error: Exception) -> str:
    text = str(error)
    if "certificate" in text.lower() or "ssl" in text.lower():
        return f"{address} has other keys than this machine; copy its folder ({text})"
    return f"no scheduler answers at {address}; start one with ./resetbed scheduler ({text})"
