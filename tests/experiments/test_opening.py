"""Connections that open slowly are waited for; those that do not open are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.running.opening import (
    STALL_S,
    OpeningProgress,
    OpeningStalled,
    await_opened,
)


class Clock:
    """A clock that only sleeping advances, and the progress of clients."""

    def __init__(
        self,
        opened: Callable[[float], int],
        ready_s: float,
        sessions: Callable[[float], int] = lambda _: 0,
    ) -> None:
        self.seconds = 0.0
        self.messages: list[str] = []
        self.trouble: dict[str, str] = {}
        self._opened = opened
        self._sessions = sessions
        self._ready_s = ready_s

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def await_them(self) -> None:
        opening = OpeningProgress(
            ready=lambda _: self.seconds >= self._ready_s,
            opened=lambda: self._opened(self.seconds),
            sessions=lambda: self._sessions(self.seconds),
            total=100,
            trouble=self.trouble.get,
        )
        clock = lambda: self.seconds  # noqa: E731
        await_opened(["h1", "h2"], opening, self.messages.append, clock, self.sleep)


def test_ready_clients_are_not_waited_for() -> None:
    clock = Clock(lambda _: 100, ready_s=0)
    clock.await_them()
    assert (clock.seconds, clock.messages) == (0, [])


def test_while_connections_open_there_is_no_deadline() -> None:
    clock = Clock(lambda seconds: int(seconds / (STALL_S - 1)), ready_s=50 * STALL_S)
    clock.await_them()
    assert clock.seconds >= 50 * STALL_S
    assert "1 of 100 connections are open, 0 in use" in clock.messages


def test_sessions_of_connections_that_are_open_are_waited_for() -> None:
    slowly = lambda seconds: int(seconds / (STALL_S - 2))  # noqa: E731
    clock = Clock(lambda _: 100, ready_s=50 * STALL_S, sessions=slowly)
    clock.await_them()
    assert clock.seconds >= 50 * STALL_S
    assert "100 of 100 connections are open, 3 in use" in clock.messages


def test_a_stalled_opening_names_the_count_and_the_clients_that_are_not_ready() -> None:
    clock = Clock(lambda seconds: min(31, int(seconds)), ready_s=1e9)
    with pytest.raises(OpeningStalled, match=r"31 of 100 .* not ready: h1, h2"):
        clock.await_them()
    assert 31 + STALL_S <= clock.seconds < 33 + STALL_S


def test_what_the_clients_met_is_said() -> None:
    clock = Clock(lambda _: 4, ready_s=1e9)
    clock.trouble = {"h2": "no such export"}
    with pytest.raises(OpeningStalled, match="last error of h2: no such export$"):
        clock.await_them()


def test_without_any_connection_the_deadline_is_the_same() -> None:
    clock = Clock(lambda _: 0, ready_s=1e9)
    with pytest.raises(OpeningStalled, match="0 of 100"):
        clock.await_them()
    assert clock.seconds < STALL_S + 2


def test_a_client_that_ended_is_not_waited_for() -> None:
    opening = OpeningProgress(
        ready=lambda name: name == "h1",
        opened=lambda: 0,
        sessions=lambda: 0,
        total=100,
        ended=lambda name: "by SIGKILL",
    )
    with pytest.raises(OpeningStalled, match="on h2 ended .*: by SIGKILL"):
        await_opened(["h1", "h2"], opening, lambda _: None)
