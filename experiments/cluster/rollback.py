"""Undoes the steps of a change if a later step of the same change fails.

State, plan and machines agree before and after each change. A change that fails half-way
is undone, the latest step first. Then they agree again, and the change can be retried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from experiments.cluster.errors import ClusterError

_UNDONE = "All steps are undone: the same can be tried again."
_NOT_UNDONE = (
    "The cluster no longer agrees with its recorded state: restart it "
    "(./resetbed down, ./resetbed up)."
)


@dataclass(frozen=True)
class _Step:
    """One step. ``cost``: what undoing does not restore; empty if it restores all."""

    undoing: str
    undo: Callable[[], object]
    cost: str


class Rollback:
    """The steps of the current change, and how to undo each."""

    def __init__(self) -> None:
        """Starts without a change."""
        self._steps: list[_Step] = []

    def step(self, undoing: str, undo: Callable[[], object], cost: str = "") -> None:
        """Registers a step before it begins. ``undo`` must also undo half of a step."""
        self._steps.append(_Step(undoing, undo, cost))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A change. If it fails, it is undone.

        Raises :class:`ClusterError` with the error, what could not be undone, and the
        remedy.
        """
        self._steps.clear()
        try:
            yield
        except Exception as error:
            raise ClusterError("\n".join((_text_of(error), *self._undo()))) from error
        finally:
            self._steps.clear()

    def _undo(self) -> Iterator[str]:
        """Undoes all steps; yields the lines of a report."""
        failed = False
        for step in reversed(self._steps):
            try:
                step.undo()
            except Exception as error:  # noqa: BLE001
                # The other steps must be undone in any case.
                failed = True
                yield f"{step.undoing}: failed: {_text_of(error)}"
            else:
                if step.cost:
                    yield f"{step.undoing}: done, but {step.cost}."
        yield _NOT_UNDONE if failed else _UNDONE


def _text_of(error: Exception) -> str:
    return str(error) or repr(error)
