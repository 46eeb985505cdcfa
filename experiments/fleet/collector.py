"""Who gets what becomes of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from experiments.fleet.placing import Home, Order
from experiments.fleet.task import Reply


class Collector(Protocol):
    """Notes decisions and keeps results. All calls come from one thread.

    What a method has noted when it returns is on the disk: the command may be killed at any
    instant, and started again.
    """

    def on_machine(self, name: str, facts: Mapping[str, Any]) -> None:
        """A machine joined whose code is ours."""

    def on_home(self, home: Home) -> None:
        """A group has got a home; none of its tasks has started there."""

    def on_reply(self, order: Order, reply: Reply) -> None:
        """A task has ended. Raises :class:`~experiments.fleet.parcel.NotWhole`."""

    def on_given_up(self, order: Order, reason: str) -> None:
        """A task was lost too often, and has failed."""

    def say(self, text: str) -> None:
        """Tells the user."""
