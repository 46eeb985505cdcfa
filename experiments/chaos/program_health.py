"""Programs that ended run again, and no program's memory grows without bound; pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from experiments.chaos.chaos_facts import Look, Memory
from experiments.chaos.chaos_routes import Routes
from experiments.chaos.violation import MEMORY, NOT_RESTARTED, Violation

#: A program that ended must run again within that time, in seconds, counted while no
#: change is under way. A change holds the lock of the machines, and may itself wait for
#: a program that is stopped.
RESTART_S = 15.0
#: No program may ever have more, nor grow by more after its first minute, in KiB.
MOST_KIB = 512 << 10
GROWTH_KIB = 96 << 10
WARM_UP_S = 60.0


@dataclass
class ProgramHealth:
    """Judges looks and readings of memory."""

    routes: Routes
    #: Program -> resident memory in KiB: at the first reading, and the most.
    first_kib: dict[str, int] = field(default_factory=dict)
    most_kib: dict[str, int] = field(default_factory=dict)
    #: The longest time in which an ended program was missing.
    longest_missing_s: float = 0.0
    _missing_s: dict[str, float] = field(default_factory=dict)
    _warm_kib: dict[str, int] = field(default_factory=dict)
    _start_s: float | None = None

    def look(self, look: Look) -> list[Violation]:
        """Which programs are missing, and for how long."""
        since = {name: self._missing_s.get(name, look.t) for name in look.ended}
        if self.routes.is_changing:
            since = dict.fromkeys(since, look.t)
        self._missing_s = since
        found = []
        for name, start in since.items():
            missing_s = look.t - start
            self.longest_missing_s = max(self.longest_missing_s, missing_s)
            if missing_s > RESTART_S:
                text = f"{name} has not run for {missing_s:.1f} s"
                found.append(Violation(NOT_RESTARTED, look.t, text))
        return found

    def memory(self, fact: Memory) -> list[Violation]:
        """How much memory programs have."""
        if self._start_s is None:
            self._start_s = fact.t
        found = []
        for name, kib in fact.kib.items():
            self.first_kib.setdefault(name, kib)
            self.most_kib[name] = max(kib, self.most_kib.get(name, 0))
            if fact.t - self._start_s < WARM_UP_S:
                self._warm_kib[name] = max(kib, self._warm_kib.get(name, 0))
            limit = min(MOST_KIB, self._warm_kib.get(name, MOST_KIB) + GROWTH_KIB)
            if kib > limit:
                text = f"{name} has {kib >> 10} MiB, more than {limit >> 10} MiB"
                found.append(Violation(MEMORY, fact.t, text))
        return found
