"""Undoes what has been done to machines when a later step of the same change fails.

State, plan and machines agree before a change and after it. A change that fails half-way
is taken back, the latest step first, so that they agree again and the same change can be
tried once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from experiments.cluster.errors import ClusterError

_UNDONE = "What had been done is undone: the same can be tried again."
_NOT_UNDONE = (
    "The cluster is no longer what it is taken for: take it down, and up again "
    "(./resetbed down, ./resetbed up)."
)


@dataclass(frozen=True)
class _Step:
    """``cost``: what undoing it does not bring back; empty where it brings back all."""

    undoing: str
    undo: Callable[[], object]
    cost: str


class Rollback:
    """The steps of the change that is under way, and how to undo each."""

    def __init__(self) -> None:
        """No change is under way."""
        self._steps: list[_Step] = []

    def step(self, undoing: str, undo: Callable[[], object], cost: str = "") -> None:
        """To be called before a step is begun: ``undo`` must bear with half of it."""
        self._steps.append(_Step(undoing, undo, cost))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A change: what fails in it is undone, and raised as :class:`ClusterError`
        that says what is left to do."""
        self._steps.clear()
        try:
            yield
        except Exception as error:
            raise ClusterError("\n".join((_text_of(error), *self._undo()))) from error
        finally:
            self._steps.clear()

    def _undo(self) -> Iterator[str]:
        """Undoes all; what is to be said of it."""
        failed = False
        for step in reversed(self._steps):
            try:
                step.undo()
            except Exception as error:  # noqa: BLE001
                # The others are to be undone all the same.
                failed = True
                yield f"{step.undoing}: failed: {_text_of(error)}"
            else:
                if step.cost:
                    yield f"{step.undoing}: done, but {step.cost}."
        yield _NOT_UNDONE if failed else _UNDONE


def _text_of(error: Exception) -> str:
    return str(error) or repr(error)
