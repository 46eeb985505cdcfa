"""All guard implementations, and the choice for this machine.

A new guard is a module and one line in :data:`GUARDS`. The module has a class with the
methods of :class:`~nodes.guard.guard.Guard`, and a function ``missing_requirement``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodes.guard.guard import Guard, GuardCounters, GuardError, GuardSettings

__all__ = [
    "AUTO",
    "GUARDS",
    "Choice",
    "Guard",
    "GuardCounters",
    "GuardError",
    "GuardKind",
    "GuardSettings",
    "choose_guard",
    "open_guard",
]

#: Means the first guard of :data:`GUARDS` that the machine can run.
AUTO = "auto"


@dataclass(frozen=True)
class GuardKind:
    """One implementation of the guard.

    ``missing_requirement()`` tries the guard (as root) and returns a sentence on what is
    missing on this machine, or None. ``open(workdir, nodes)`` creates a guard for about
    ``nodes`` nodes; it may write into ``workdir``.
    """

    name: str
    summary: str
    missing_requirement: Callable[[], str | None]
    open: Callable[[Path, int], Guard]


def _kind(name: str, summary: str, module: str, maker: str) -> GuardKind:
    """The guard whose class is ``maker`` of that module.

    The module is imported when it is first used. A name in a spec must cost nothing, and
    must be valid also on a machine that only analyses records.
    """

    def imported() -> Any:
        return importlib.import_module(f"nodes.guard.{module}")

    def missing_requirement() -> str | None:
        return str(found) if (found := imported().missing_requirement()) else None

    def make(folder: Path, nodes: int) -> Guard:
        guard: Guard = getattr(imported(), maker)(folder, nodes)
        return guard

    return GuardKind(name, summary, missing_requirement, make)


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
            *("scapy_processes", "ScapyGuard"),
        ),
    )
}


@dataclass(frozen=True)
class Choice:
    """The chosen guard, and the reason as a text for the user."""

    kind: GuardKind
    why: str


def choose_guard(name: str = AUTO) -> Choice:
    """The guard of that name, or for ``auto`` the best that this machine can run.

    Raises :class:`ValueError` for an unknown name, and :class:`GuardError` if a
    requirement is missing. A guard that was named is never replaced by another.
    """
    if name == AUTO:
        return _choose_first_possible()
    if name not in GUARDS:
        raise ValueError(f"no guard {name!r}; there are {', '.join([*GUARDS, AUTO])}")
    missing = GUARDS[name].missing_requirement()
    if missing:
        raise GuardError(f"guard {name}: {missing}")
    return Choice(GUARDS[name], f"guard {name}, as requested")


def open_guard(name: str, workdir: Path, nodes: int = 1) -> Guard:
    """The guard that :func:`choose_guard` chooses, for about ``nodes`` nodes.

    It is not attached yet.
    """
    return choose_guard(name).kind.open(workdir, nodes)


def _choose_first_possible() -> Choice:
    reasons: list[str] = []
    for kind in GUARDS.values():
        missing = kind.missing_requirement()
        if missing is None:
            why = f"guard {kind.name}, {kind.summary}"
            return Choice(kind, "; ".join([why, *reasons]))
        reasons.append(f"{kind.name} is not possible: {missing}")
    raise GuardError("; ".join(reasons))
