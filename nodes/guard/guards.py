"""The guards there are, and which of them this machine can run.

To add one: a module with a class that has :class:`~nodes.guard.guard.Guard`'s methods and a
function that says what the machine lacks for it, and one line in :data:`GUARDS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def _kind(name: str, summary: str, module: str, maker: str) -> GuardKind:
    """The guard that class ``maker`` of that module makes of a working folder.

    The module is imported when it is first asked: a name in a spec must cost nothing,
    and be known also where a record is only looked at.
    """

    def imported() -> Any:
        return importlib.import_module(f"nodes.guard.{module}")

    def lacks() -> str | None:
        return str(found) if (found := imported().lacks()) else None

    def make(folder: Path) -> Guard:
        guard: Guard = getattr(imported(), maker)(folder)
        return guard

    return GuardKind(name, summary, lacks, make)


#: In order of preference.
GUARDS: dict[str, GuardKind] = {
    kind.name: kind
    for kind in (
        _kind(
            "ebpf",
            "in the kernel: one eBPF program for all nodes, no process per node",
            *("guard_ebpf", "EbpfGuard"),
        ),
        _kind(
            "scapy",
            "the readable reference: one Python process per node",
            *("guard_scapy_fleet", "ScapyGuard"),
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
