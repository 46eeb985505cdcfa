"""Which program of which run is killed when: a function of the seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import TypeVar

from tests.system.kills.victims import VICTIMS, Victim

_Each = TypeVar("_Each")

#: How long clients work before the event, and after it, in seconds.
STEADY_S, OBSERVE_S = 0.6, 1.8


@dataclass(frozen=True)
class Phase:
    """A part of a run's life."""

    name: str
    #: It begins with this word of the run's progress; empty: with the sandbox.
    word: str
    #: The kill comes that long after its beginning, in seconds.
    earliest_s: float
    latest_s: float


BRING_UP = Phase("bring-up", "", 0.0, 1.8)
PHASES = (
    BRING_UP,
    Phase("steady", "opening", 0.0, STEADY_S),
    Phase("event", "drain-node", 0.0, 0.3),
    Phase("take-down", "observing", OBSERVE_S - 0.1, OBSERVE_S + 0.7),
)


@dataclass(frozen=True)
class Kill:
    """One kill, and the run that it is for."""

    number: int
    victim: Victim
    phase: Phase
    delay_s: float
    #: Which of several programs of that kind.
    rank: int
    #: Of the run.
    seed: int

    def __str__(self) -> str:
        return f"k{self.number:03}-{self.victim.name}-{self.phase.name}"


def draw(seed: int, count: int) -> list[Kill]:
    """That many kills. Each victim comes once before one comes again; the first kills of
    a longer schedule are those of a shorter one."""
    random = Random(seed)
    return [
        Kill(
            number,
            victim,
            phase,
            random.uniform(phase.earliest_s, phase.latest_s),
            random.randrange(1000),
            random.randrange(1, 1000),
        )
        for number, (victim, phase) in enumerate(islice(_pairs(random), count))
    ]


def _pairs(random: Random) -> Iterator[tuple[Victim, Phase]]:
    """Victims in rounds, and phases in rounds of their own, each round shuffled."""
    yield from zip(_rounds(random, VICTIMS), _rounds(random, PHASES), strict=False)


def _rounds(random: Random, of: tuple[_Each, ...]) -> Iterator[_Each]:
    while True:
        yield from random.sample(of, len(of))
