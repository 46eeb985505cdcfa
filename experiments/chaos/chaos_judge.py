"""All invariants, held against facts in the order of time; pure.

The same judge judges while chaos runs, and a recorded timeline afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from experiments.chaos.chaos_facts import (
    Begun,
    Changed,
    Changing,
    Closed,
    Ended,
    Fact,
    Fault,
    Look,
    Memory,
    Opened,
    Operation,
    WrongEcho,
)
from experiments.chaos.chaos_routes import Routes
from experiments.chaos.half_open_bound import HalfOpenBound
from experiments.chaos.program_health import ProgramHealth
from experiments.chaos.registers import Registers
from experiments.chaos.unmoved_resets import UnmovedResets
from experiments.chaos.violation import FAULT, WRONG_ECHO, Violation
from topologies.domain.arrangement import Arrangement
from topologies.domain.balancer import Balancer

#: Slack of the bound: reading all tables twice, and a program's start or wake-up on a
#: machine whose few cores are all busy. In seconds.
SLACK_S = 1.0


@dataclass(frozen=True)
class Terms:
    """What a run is judged by. ``bound_s``: the bound of healing; None: none promised."""

    arrangement: Arrangement
    balancer: Balancer
    bound_s: float | None
    slack_s: float = SLACK_S


class ChaosJudge:
    """Feed it facts; it returns what they violate."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.routes = Routes(terms.arrangement, terms.balancer)
        bound_s = float("inf") if terms.bound_s is None else terms.bound_s
        plan = terms.arrangement.plan
        self.half_open = HalfOpenBound(plan, self.routes, bound_s, terms.slack_s)
        self.resets = UnmovedResets(self.routes)
        self.registers = Registers()
        self.programs = ProgramHealth(self.routes)
        #: Looks so far, and how late they were together, in seconds.
        self.looks = 0
        self.late_s = 0.0

    def feed(self, fact: Fact) -> list[Violation]:
        """What that fact shows, together with those before it."""
        if isinstance(fact, Look):
            self.looks += 1
            self.late_s += fact.late_s
            parts = (self.half_open, self.resets, self.programs)
            return [one for part in parts for one in part.look(fact)]
        if isinstance(fact, Operation):
            return self.registers.feed(fact)
        if isinstance(fact, Memory):
            return self.programs.memory(fact)
        if isinstance(fact, Fault):
            return [Violation(FAULT, fact.t, fact.text)]
        if isinstance(fact, WrongEcho):
            return [Violation(WRONG_ECHO, fact.t, f"{fact.client}: {fact.text}")]
        self._note(fact)
        return []

    def _note(self, fact: Begun | Ended | Changing | Changed | Opened | Closed) -> None:
        if isinstance(fact, Begun):
            self.half_open.begun(fact)
            self.resets.begun(fact)
        elif isinstance(fact, Ended):
            self.half_open.ended(fact)
        elif isinstance(fact, Changing):
            self.routes.changing(fact.t)
        elif isinstance(fact, Changed):
            self.routes.changed(fact.t, fact.arrangement)
        elif isinstance(fact, Opened):
            self.resets.opened_one(fact)
        else:
            self.resets.closed_one(fact)


def judge_timeline(terms: Terms, facts: Iterable[Fact]) -> list[Violation]:
    """Every violation that the facts show, in their order."""
    judge = ChaosJudge(terms)
    return [violation for fact in facts for violation in judge.feed(fact)]
