"""How every client opens its connections, tries again, and ends in time (asyncio)."""

from __future__ import annotations

import asyncio
import errno
import heapq
import itertools
import math
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from nodes.clients.client_options import ClientOptions
from nodes.clients.client_ports import PortLanes
from nodes.clients.client_report import Journal, ServerClosed

T = TypeVar("T")

#: Pause after the first failed attempt to connect; it doubles up to the longest.
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 1.0
#: asm-generic/socket.h; Python has no name for it. TCP paces itself, without a qdisc.
SO_MAX_PACING_RATE = 47
#: tcpi_state of a connection that is no more (include/net/tcp_states.h).
TCP_CLOSE = 7


class Dialer:
    """Opens TCP connections to the target, from seeded ports, no faster than asked.

    Lanes 0 to ``connections`` - 1 are the client's connections, the lane after them is
    for one more connection, to look at the result with.
    """

    def __init__(self, options: ClientOptions, journal: Journal) -> None:
        self._options = options
        self._journal = journal
        lanes, keep = options.connections + 1, options.pattern.same_port
        self._ports = PortLanes(options.seed, options.stream, lanes, keep)
        self._next_slot = 0.0

    async def dial(self, lane: int) -> tuple[socket.socket, int]:
        """A connected non-blocking socket and its source port.

        Lost SYNs are sent again by the kernel until the time is up. Raises ``OSError``
        (``TimeoutError`` then); the journal has heard of a failed connect already.
        """
        await self._slot()
        options = self._options
        sock, port = self._ports.bind(
            lane, options.family, lambda port: self._journal.skipped(lane, port)
        )
        if options.pattern.pace is not None:
            sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, options.pattern.pace)
        try:
            await within(
                options.connect_timeout_s,
                asyncio.get_running_loop().sock_connect(
                    sock, (options.target, options.port)
                ),
            )
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                self._journal.failed(lane, port, error)
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _keep_alive(sock, options.keepalive_s)
        return sock, port

    async def _slot(self) -> None:
        """Wait for this connection's turn. Turns come in the order of the calls."""
        now = asyncio.get_running_loop().time()
        slot = max(now, self._next_slot)
        self._next_slot = slot + 1 / self._options.open_rate
        if slot > now:
            await asyncio.sleep(slot - now)


def _keep_alive(sock: socket.socket, idle_s: int) -> None:
    """Probe the peer after ``idle_s`` seconds of silence (tcp(7)); 0: never.

    A client whose request was acknowledged, and whose answer never comes because its
    node has gone, has nothing to send: without a probe it would wait for ever.
    """
    if idle_s:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, idle_s)


async def within(seconds: float, what: Awaitable[T]) -> T:
    """The result of ``what``. Raises ``TimeoutError`` (an ``OSError``) if it is late.

    Not ``asyncio.wait_for``: before Python 3.12 it takes a cancellation for itself where
    ``what`` is done in the same turn of the loop, and the caller goes on for ever.
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


def how_it_broke(sock: socket.socket) -> OSError:
    """Why nothing can be sent any more, where a library took that error and dropped it.

    The reset came while the client was busy, or between two pieces of a request. The
    kernel's socket is in TCP_CLOSE after it, and after an orderly end it is not.
    """
    if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE:
        return ConnectionResetError(errno.ECONNRESET, "reset while sending")
    return ServerClosed("the server closed the connection")


async def first_of(*futures: asyncio.Future[Any], timeout: float | None = None) -> None:
    """Wait until one of the futures is done or ``timeout`` seconds have passed."""
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


async def persist(attempt: Callable[[], Awaitable[T]]) -> T:
    """What ``attempt`` gives, once it gives anything but ``OSError``.

    Between attempts it waits, longer each time up to a bound. Never gives up: end it
    by cancelling the task.
    """
    for pause in _pauses():
        try:
            return await attempt()
        except OSError:
            await asyncio.sleep(pause)
    raise AssertionError("pauses have no end")


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_S
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE_S)


class Agenda:
    """Calls many things, each at its time, with one timer of the event loop.

    asyncio compares timers in Python: ten thousand of them cost more than the requests
    they are for.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        """Call it at that time of the loop's; what is due together, in call order."""
        heapq.heappush(self._entries, (when, next(self._order), call))
        if self._timer is None or when < self._timer.when():
            self._wind()

    def _wind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._entries:
            self._timer = self._loop.call_at(self._entries[0][0], self._run)

    def _run(self) -> None:
        now = self._loop.time()
        while self._entries and self._entries[0][0] <= now:
            heapq.heappop(self._entries)[2]()
        self._wind()


class Stop:
    """Tells every part of a client that the run ends, once.

    It ends by signal, by duration, or because a watched task failed; make it inside
    the running loop.
    """

    def __init__(self, options: ClientOptions) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadline_s = options.deadline_s
        #: Done when the run ends; raises what a watched task failed with.
        self.future: asyncio.Future[None] = self._loop.create_future()
        #: When the client must have exited, in the loop's time.
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
        """End the run. The kernel ends the process if it overruns its deadline.

        The alarm is for what asyncio cannot interrupt; it kills without a summary.
        """
        if not self.is_set:
            self._begin_to_end()
            self.future.set_result(None)

    def _begin_to_end(self) -> None:
        self.deadline = self._loop.time() + self._deadline_s
        signal.alarm(math.ceil(self._deadline_s) + 1)

    def watch(self, task: asyncio.Task[None]) -> None:
        """End the run if that task fails: an error must not wait for SIGTERM."""
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self.is_set or task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._begin_to_end()
            self.future.set_exception(error)

    def remaining_s(self, spare_s: float = 0.0) -> float:
        """Seconds left until ``spare_s`` before the deadline, never negative."""
        return max(0.0, self.deadline - spare_s - self._loop.time())
