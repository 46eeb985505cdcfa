"""Many functions of time that are constant between membership events, as arrays.

A time is an *era*: 0 is before the first change, ``k`` follows change number ``k``. A
function has a number and a value from each of some eras on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]
_WALK = 4


class StepFunctions:
    """Functions 0 to ``count`` - 1, each with a value at its first era or before it.

    ``ids``, ``eras``, ``values``: one entry for each step, in any order. A lookup before
    the first step of a function is an error of the caller.
    """

    def __init__(
        self, count: int, eras: int, steps: tuple[Index, Index, npt.ArrayLike]
    ) -> None:
        ids, since, values = (np.asarray(each, np.int64) for each in steps)
        self._stride = eras + 1
        keys = ids * self._stride + since
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self.values = values[order]
        self.since = since[order]
        #: Position of each function's first step; its steps follow one another.
        self.first = np.searchsorted(self._keys, np.arange(count) * self._stride)
        same = np.zeros(len(keys), bool)
        same[:-1] = ids[order][:-1] == ids[order][1:]
        #: When the step after each begins; ``eras`` where there is none.
        self.until = np.full(len(keys), eras, np.int64)
        self.until[:-1][same[:-1]] = self.since[1:][same[:-1]]

    def at(self, ids: Index, eras: Index) -> Index:
        """The position of the step in force, of each function at its era."""
        found: Index = self.first[ids]
        (later,) = (self.until[found] <= eras).nonzero()
        # Most functions have few steps: walk before searching among all.
        for _ in range(_WALK):
            if not len(later):
                return found
            found[later] += 1
            later = later[self.until[found[later]] <= eras[later]]
        keys = ids[later] * self._stride + eras[later]
        found[later] = np.searchsorted(self._keys, keys, side="right") - 1
        return found
