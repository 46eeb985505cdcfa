"""Counts as a file: NumPy's ``.npz``, arrays only, so that reading one runs no code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from experiments.model.tally import Clock, DurationHistogram, Tally

_SEPARATOR = "/"


def write_tally(tally: Tally, path: Path) -> None:
    """Every count, by kind and name."""
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for kind, named in (
        ("numbers", {name: np.array(n) for name, n in tally.numbers.items()}),
        ("courses", tally.courses),
        ("of_event", tally.of_event),
        ("loads", tally.loads),
        ("durations", {name: h.counts for name, h in tally.durations.items()}),
        ("longest", {n: np.array(h.longest) for n, h in tally.durations.items()}),
    ):
        arrays |= {f"{kind}{_SEPARATOR}{name}": each for name, each in named.items()}
    with path.open("wb") as file:
        # Not a keyword for each: a name may be "file".
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_tally(path: Path, clock: Clock, eras: int) -> Tally:
    """The counts of :func:`write_tally`.

    ``clock`` and ``eras``: of the same computation. Raises :class:`ValueError` for a file
    that has none, and :class:`OSError`.
    """
    found = Tally(clock, eras)
    longest: dict[str, float] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            kind, _, name = key.partition(_SEPARATOR)
            value = arrays[key]
            if kind == "numbers":
                found.numbers[name] = int(value)
            elif kind == "longest":
                longest[name] = float(value)
            elif kind == "durations":
                found.durations[name] = DurationHistogram(value)
            elif kind in ("courses", "of_event", "loads"):
                getattr(found, kind)[name] = value
            else:
                raise ValueError(f"{path}: unknown kind {kind!r}")
    for name, histogram in found.durations.items():
        histogram.longest = longest[name]
    return found
