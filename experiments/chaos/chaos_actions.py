"""What chaos does to a cluster, as plain data: one action each, and a file of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any


class Do(str, Enum):
    """The kinds of actions; what each needs stands at :class:`Action`."""

    EVENTS = "events"
    KILL = "kill"
    FREEZE = "freeze"
    LOSE = "lose"
    ABORT = "abort"
    REUSE = "reuse"
    VANISH = "vanish"
    FORGE = "forge"
    STORM = "storm"


class ScheduleError(ValueError):
    """A file that is no schedule. The text says why."""


@dataclass(frozen=True)
class Action:
    """One action at ``at_s`` seconds after the start.

    ``events``: kinds and targets of membership events at one instant (EVENTS). ``target``:
    a program (KILL, FREEZE): ``controller``, ``healer``, ``server c1n2``, ``guard c1n2``,
    ``ovs-vswitchd c1``, ``ovsdb-server c1``; a node (LOSE); a client (the others).
    ``for_s``: until it is undone (FREEZE, LOSE, VANISH), in seconds. ``share``: of resets
    that are lost (LOSE), 0 to 1. ``count``: segments (FORGE, STORM). ``rate``: of a
    STORM, segments a second. ``seed``: fixes what is random while it is done.
    """

    at_s: float
    do: Do
    target: str = ""
    events: tuple[tuple[str, str], ...] = ()
    for_s: float = 0.0
    share: float = 0.0
    count: int = 0
    rate: float = 0.0
    seed: int = 0

    @property
    def names(self) -> list[str]:
        """What it counts as, a name for each event: ``fail-node``, ``kill server``."""
        if self.do is Do.EVENTS:
            return [kind for kind, _ in self.events]
        if self.do in (Do.KILL, Do.FREEZE):
            return [f"{self.do.value} {self.target.split()[0]}"]
        return [self.do.value]

    @property
    def text(self) -> str:
        """One line for people."""
        what = ", ".join(f"{kind} {target}" for kind, target in self.events)
        words = [f"{self.at_s:8.3f} s", what or f"{self.do.value} {self.target}"]
        if self.for_s:
            words.append(f"for {self.for_s:g} s")
        if self.share:
            words.append(f"{self.share:.0%}")
        if self.count:
            words.append(f"{self.count} segments")
        return "  ".join(words)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; what has its default is left out."""
        defaults = {one.name: one.default for one in fields(self)}
        given = {k: v for k, v in asdict(self).items() if v != defaults[k]}
        return {**given, "do": self.do.value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Action:
        """The action that :meth:`to_json` described. Raises :class:`ScheduleError`."""
        try:
            events = tuple((kind, target) for kind, target in data.get("events", ()))
            return cls(**{**data, "do": Do(data["do"]), "events": events})
        except (TypeError, ValueError, KeyError) as error:
            raise ScheduleError(f"not an action: {data!r}: {error}") from error


Schedule = Sequence[Action]


def count_names(actions: Iterable[Action]) -> dict[str, int]:
    """Name -> how often; see :attr:`Action.names`."""
    return dict(sorted(Counter(n for one in actions for n in one.names).items()))


def write_schedule(path: Path, actions: Schedule, **about: Any) -> None:
    """Writes the file that :func:`read_schedule` reads. ``about``: more keys of it."""
    data = {**about, "actions": [one.to_json() for one in actions]}
    path.write_text(json.dumps(data, indent=1) + "\n")


def read_schedule(path: Path) -> tuple[Action, ...]:
    """The actions of a file: a schedule, or a ``chaos.json`` (its shortest sequence).

    Raises :class:`ScheduleError`.
    """
    try:
        data = json.loads(path.read_text())
        found = data.get("shortest") or data["actions"]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ScheduleError(f"{path} is no schedule: {error!r}") from error
    return tuple(sorted(map(Action.from_json, found), key=lambda one: one.at_s))
