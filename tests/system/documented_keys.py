"""Whether the documents name every key of a run's summary."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "results.md"
#: Keys whose own keys the document leaves to the spec, or to what was found.
WHOLE = frozenset(("cluster", "links", "workload", "servers", "provenance"))
#: Keys whose own keys' keys are names of switches.
BY_NAME = frozenset(("pins",))


def undocumented(summary: Mapping[str, Any], text: str) -> list[str]:
    """Dotted keys that no row of the document's table names, in a code span.

    A key of a key has to stand in the row of its parent.
    """
    rows = list(_rows(text))
    missing = []
    for key, value in summary.items():
        meaning = next((said for keys, said in rows if key in keys), None)
        if meaning is None:
            missing.append(key)
        elif key not in WHOLE:
            spans = set(re.findall(r"`([^`]+)`", meaning))
            inner = _inner(value, deep=key not in BY_NAME)
            missing += [f"{key}.{name}" for name in inner if name not in spans]
    return missing


def _rows(text: str) -> Iterator[tuple[set[str], str]]:
    """Of the table of the summary: the keys of each row, and its text."""
    table = text.partition("| key of `summary.json` |")[2].partition("\n\n")[0]
    for line in table.splitlines():
        if line.startswith("| `"):
            keys, meaning = line.strip("| ").split(" | ", 1)
            yield set(re.findall(r"`([^`]+)`", keys)), meaning


def _inner(value: Any, *, deep: bool) -> Iterator[str]:
    """The keys inside, of mappings and of lists of them, each once."""
    found: dict[str, None] = {}
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, Mapping):
            for key, below in each.items():
                found[key] = None
                if deep:
                    found |= dict.fromkeys(_inner(below, deep=True))
    yield from found
