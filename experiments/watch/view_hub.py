"""Hands views from the thread that sees to the streams of any number of pages."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

from experiments.watch.recording import Recording

#: A stream with nothing to say says so at that distance, in seconds.
ALIVE_S = 5.0


class ViewHub:
    """The newest view and the recording. A stream that is slow skips views."""

    def __init__(self) -> None:
        self._recording = Recording()
        self._lock = threading.Lock()
        self._view: dict[str, Any] = {}
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Event] = set()

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """The streams run in that loop. Before any stream."""
        self._loop = loop

    def publish(self, view: dict[str, Any]) -> None:
        """The newest view; from any thread."""
        with self._lock:
            self._view = view
            self._recording.add(view)
        self._wake()

    def close(self) -> None:
        """Ends every stream; from any thread."""
        self._closed = True
        self._wake()

    @property
    def view(self) -> dict[str, Any]:
        """The newest view; empty before the first one."""
        with self._lock:
            return self._view

    async def stream(self) -> AsyncIterator[str]:
        """Server-sent events: ``history``, then each new ``view``."""
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            with self._lock:
                sent, history = self._view.get("serial", 0), self._recording.history()
            yield _event("history", sent, history)
            while not self._closed:
                try:
                    await asyncio.wait_for(changed.wait(), ALIVE_S)
                except asyncio.TimeoutError:
                    # Not a comment: a page must see that its server is there.
                    yield "event: alive\ndata: {}\n\n"
                    continue
                changed.clear()
                with self._lock:
                    serial, text = self._view.get("serial", 0), self._recording.newest
                if serial > sent:
                    sent = serial
                    yield _event("view", serial, text)
        finally:
            self._waiting.discard(changed)

    def _wake(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake_all)

    def _wake_all(self) -> None:
        for changed in self._waiting:
            changed.set()


def _event(name: str, serial: int, data: str) -> str:
    return f"event: {name}\nid: {serial}\ndata: {data}\n\n"
