"""The guards there are, and which of them this machine can run.

To add one: a module with a class that has :class:`~nodes.guard.guard.Guard`'s methods and a
function that says what the machine lacks for it, and one line in :data:`GUARDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nodes.guard import guard_ebpf, guard_scapy_fleet
from nodes.guard.guard import Guard, GuardCounters, GuardError

__all__ = [
    "AUTO",
    "GUARDS",
    "Choice",
    "Guard",
    "GuardCounters",
    "GuardError",
    "GuardKind",
    "choose_guard",
    "open_guard",
]

#: Name that stands for the first guard of :data:`GUARDS` that the machine can run.
AUTO = "auto"


@dataclass(frozen=True)
class GuardKind:
    """One implementation of the guard.

    ``lacks()`` tries it out (root needed) and says in a sentence what the machine lacks
    for it, None if nothing. ``open(workdir)`` makes one; it may write into ``workdir``.
    """

    name: str
    summary: str
    lacks: Callable[[], str | None]
    open: Callable[[Path], Guard]


#: In order of preference.
GUARDS: dict[str, GuardKind] = {
    kind.name: kind
    for kind in (
        GuardKind(
            "ebpf",
            "in the kernel: one eBPF program for all nodes, no process per node",
            guard_ebpf.lacks,
            lambda _workdir: guard_ebpf.EbpfGuard(),
        ),
        GuardKind(
            "scapy",
            "the readable reference: one Python process per node",
            guard_scapy_fleet.lacks,
            guard_scapy_fleet.ScapyGuard,
        ),
    )
}


@dataclass(frozen=True)
class Choice:
    """Which guard was chosen and why, in words for the user."""

    kind: GuardKind
    why: str


def choose_guard(name: str = AUTO) -> Choice:
    """The guard of that name, or for ``auto`` the best that this machine can run.

    Raises :class:`ValueError` for an unknown name and :class:`GuardError` if the
    machine lacks what it needs. A guard asked for by name is never replaced.
    """
    if name == AUTO:
        return _choose_first_possible()
    if name not in GUARDS:
        raise ValueError(f"no guard {name!r}; there are {', '.join([*GUARDS, AUTO])}")
    lack = GUARDS[name].lacks()
    if lack:
        raise GuardError(f"guard {name}: {lack}")
    return Choice(GUARDS[name], f"guard {name}, as asked for")


def open_guard(name: str, workdir: Path) -> Guard:
    """A guard as :func:`choose_guard` chooses it, attached to nothing yet."""
    return choose_guard(name).kind.open(workdir)


def _choose_first_possible() -> Choice:
    lacks: list[str] = []
    for kind in GUARDS.values():
        lack = kind.lacks()
        if lack is None:
            why = f"guard {kind.name}, {kind.summary}"
            return Choice(kind, "; ".join([why, *lacks]))
        lacks.append(f"{kind.name} is not possible: {lack}")
    raise GuardError("; ".join(lacks))
