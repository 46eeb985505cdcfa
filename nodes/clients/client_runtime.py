"""Shared runtime of the clients: connect, retry, shut down in time (asyncio)."""

from __future__ import annotations

import asyncio
import errno
import heapq
import itertools
import math
import signal
import socket
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Any, Protocol, TypeVar

from nodes.clients.client_options import ClientOptions
from nodes.clients.client_ports import SourcePorts
from nodes.clients.client_report import ReportWriter, ServerClosed, Summary

T = TypeVar("T")

#: Pause after the first failed attempt to connect. It doubles up to the maximum.
MIN_PAUSE_S = 0.02
MAX_PAUSE_S = 1.0
#: asm-generic/socket.h; not in Python's socket module. TCP paces without a qdisc.
SO_MAX_PACING_RATE = 47
#: tcpi_state of a closed connection (include/net/tcp_states.h).
TCP_CLOSE = 7


class Connector:
    """Opens TCP connections to the target from seeded ports, at the requested rate.

    Slots 0 to ``connections`` - 1 are the client's connections. The next slot is for the
    connection of the verification.
    """

    def __init__(self, options: ClientOptions, report: ReportWriter) -> None:
        self._options = options
        self._report = report
        slots, keep = options.connections + 1, options.pattern.same_port
        self._ports = SourcePorts(options.seed, options.stream, slots, keep)
        self._next_turn = 0.0

    async def connect(self, slot: int) -> tuple[socket.socket, int]:
        """A connected non-blocking socket and its source port.

        The kernel retransmits lost SYNs until the timeout. Raises ``OSError``, at the
        timeout ``TimeoutError``. A failed attempt is reported.
        """
        await self._wait_for_turn()
        options = self._options
        sock, port = self._ports.bind(
            slot, options.family, lambda port: self._report.skipped(slot, port)
        )
        if options.pattern.pace is not None:
            sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, options.pattern.pace)
        try:
            await with_timeout(
                options.connect_timeout_s,
                asyncio.get_running_loop().sock_connect(
                    sock, (options.target, options.port)
                ),
            )
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                self._report.failed(slot, port, error)
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(sock, options.keepalive_s)
        return sock, port

    async def _wait_for_turn(self) -> None:
        """Wait for this connection's turn. Turns are in the order of the calls."""
        now = asyncio.get_running_loop().time()
        turn = max(now, self._next_turn)
        self._next_turn = turn + 1 / self._options.open_rate
        if turn > now:
            await asyncio.sleep(turn - now)


async def connect_from(options: ClientOptions, port: int) -> socket.socket:
    """A connected non-blocking socket from that source port, with the client's keepalive.

    For sessions that a library drives. Raises ``OSError``.
    """
    sock = socket.socket(options.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(("", port))
        await asyncio.get_running_loop().sock_connect(
            sock, (options.target, options.port)
        )
    except BaseException:
        sock.close()
        raise
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    keep_alive(sock, options.keepalive_s)
    return sock


def keep_alive(sock: socket.socket, idle_s: int) -> None:
    """Enable TCP keepalive after ``idle_s`` seconds without a segment (tcp(7)); 0: off.

    If a node fails after it acknowledged a request, the client has nothing to send.
    Without keepalive it would wait without end for the answer.
    """
    if idle_s:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, idle_s)


async def with_timeout(seconds: float, what: Awaitable[T]) -> T:
    """The result of ``what``. Raises ``TimeoutError`` (an ``OSError``) after ``seconds``.

    ``asyncio.wait_for`` is not used: before Python 3.12 it swallows a cancellation if
    ``what`` finishes in the same turn of the loop, and the caller continues.
    """
    task = asyncio.ensure_future(what)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if not done:
        raise TimeoutError(errno.ETIMEDOUT, f"nothing for {seconds:g} s")
    return await task


def disconnect_reason(sock: socket.socket) -> OSError:
    """The reason of a disconnect, if a library consumed the socket's error.

    The reset arrived while the client was busy, or between two parts of a request. After
    a reset the kernel's socket is in TCP_CLOSE; after a FIN it is not.
    """
    if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE:
        return ConnectionResetError(errno.ECONNRESET, "reset while sending")
    return ServerClosed("the server closed the connection")


async def wait_any(*futures: asyncio.Future[Any], timeout: float | None = None) -> None:
    """Wait until one of the futures is done or ``timeout`` seconds have passed."""
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


async def retry_forever(attempt: Callable[[], Awaitable[T]]) -> T:
    """The result of ``attempt``, repeated until it raises no ``OSError``.

    The pause between attempts grows up to a maximum. It never gives up: cancel the task
    to end it.
    """
    for pause in _pauses():
        try:
            return await attempt()
        except OSError:
            await asyncio.sleep(pause)
    raise AssertionError("pauses have no end")


def _pauses() -> Iterator[float]:
    pause = MIN_PAUSE_S
    while True:
        yield pause
        pause = min(2 * pause, MAX_PAUSE_S)


class Worker(Protocol):
    """The work of one connection. ``finished``: it ended its connection as it meant to."""

    finished: bool

    @property
    def session(self) -> object | None:
        """Its connection; None while there is none."""

    def end(self) -> None:
        """Start nothing new."""


async def end_workers(
    workers: Collection[Worker],
    tasks: Collection[asyncio.Task[None]],
    grace_s: float,
    summary: Summary,
) -> None:
    """Let each worker finish what it is doing, for ``grace_s`` seconds at most.

    ``tasks``: what the workers run in. Those that do not finish count as hung if they have
    a connection, else as disconnected, and are cancelled. Raises the error of a task that
    failed.
    """
    for worker in workers:
        worker.end()
    done, late = await asyncio.wait(tasks, timeout=grace_s)
    for task in done:
        task.result()
    for worker in workers:
        if not worker.finished:
            summary.hung += worker.session is not None
            summary.disconnected += worker.session is None
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


class TimerQueue:
    """A queue of timed calls on one timer of the event loop.

    asyncio compares timers in Python: ten thousand of them cost more than the requests
    themselves.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        """Call it at that time of the loop. Equal times are called in order of insertion."""
        heapq.heappush(self._entries, (when, next(self._order), call))
        if self._timer is None or when < self._timer.when():
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._entries:
            self._timer = self._loop.call_at(self._entries[0][0], self._run)

    def _run(self) -> None:
        now = self._loop.time()
        while self._entries and self._entries[0][0] <= now:
            heapq.heappop(self._entries)[2]()
        self._arm()


class Shutdown:
    """Signals the end of the run to all parts of a client, once.

    The run ends by a signal, by its duration, or because a watched task failed. Create it
    inside the running loop.
    """

    def __init__(self, options: ClientOptions) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadline_s = options.deadline_s
        #: Done when the run ends. Raises the error of a failed watched task.
        self.future: asyncio.Future[None] = self._loop.create_future()
        #: The time by which the client must exit, in the loop's time.
        self.deadline = math.inf
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.set)
        if options.duration_s is not None:
            self._loop.call_later(options.duration_s, self.set)

    @property
    def is_set(self) -> bool:
        """Whether the run ends."""
        return self.future.done()

    def set(self) -> None:
        """End the run. The kernel kills the process if it exceeds its deadline.

        That alarm is for the case that asyncio is blocked. No summary is written then.
        """
        if not self.is_set:
            self._start_deadline()
            self.future.set_result(None)

    def _start_deadline(self) -> None:
        self.deadline = self._loop.time() + self._deadline_s
        signal.alarm(math.ceil(self._deadline_s) + 1)

    def watch(self, task: asyncio.Task[None]) -> None:
        """End the run as soon as that task fails."""
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self.is_set or task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._start_deadline()
            self.future.set_exception(error)

    def remaining_s(self, spare_s: float = 0.0) -> float:
        """Seconds until ``spare_s`` before the deadline, never negative."""
        return max(0.0, self.deadline - spare_s - self._loop.time())
