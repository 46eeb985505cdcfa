"""Each block as a register with one writer: is its history linearisable? Pure.

Every write has a value of its own, and a client has one request in flight for a block.
So the history is a sequence, and an exact check is simple. A read must return the value of
the last acknowledged write, or of a write with an open fate: one that was never
acknowledged, since its connection broke. Such a write may happen at any time, also long
after the reset (a stopped server may still have it in its socket's buffer), but only
once: when it was read, and overwritten, it cannot return (Herlihy, Wing: ACM TOPLAS 12
(1990); pending invocations).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from experiments.chaos.chaos_facts import Operation
from experiments.chaos.violation import LOST_WRITE, Violation

#: Operations of ``nodes/clients/register_client.py``.
WRITE, ACKNOWLEDGED, READ = "w", "a", "r"


@dataclass
class _Register:
    #: The value that it has if no open write has happened since.
    value: int = 0
    open: set[int] = field(default_factory=set)
    #: Open writes that began before the last acknowledged one.
    overtaken: set[int] = field(default_factory=set)


@dataclass
class Registers:
    """Judges operation after operation."""

    acknowledged: int = 0
    reads: int = 0
    #: Writes that were never acknowledged, and of these, those that were seen to happen
    #: after a later write had been acknowledged: no violation, but worth knowing.
    unacknowledged: int = 0
    late: int = 0
    _registers: dict[int, _Register] = field(default_factory=dict)

    def feed(self, one: Operation) -> list[Violation]:
        """What an operation shows."""
        register = self._registers.setdefault(one.block, _Register())
        if one.what == WRITE:
            register.open.add(one.value)
            self.unacknowledged += 1
        elif one.what == ACKNOWLEDGED:
            self.acknowledged += 1
            self.unacknowledged -= 1
            register.open.discard(one.value)
            register.value = one.value
            register.overtaken = set(register.open)
        elif one.what == READ:
            self.reads += 1
            return self._read(register, one)
        return []

    def _read(self, register: _Register, one: Operation) -> list[Violation]:
        if one.value == register.value:
            return []
        if one.value in register.open:
            self.late += one.value in register.overtaken
            register.open.discard(one.value)
            register.value = one.value
            return []
        return [
            Violation(
                LOST_WRITE,
                one.t,
                f"block {one.block} holds {one.value}: expected {register.value}, or one "
                f"of {len(register.open)} writes that were not acknowledged",
            )
        ]
