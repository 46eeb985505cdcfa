"""The check that the document names every key of a summary, on invented tables."""

from __future__ import annotations

import pytest

from tests.system.documented_keys import DOCUMENT, undocumented

TABLE = """
| key of `summary.json` | meaning |
|---|---|
| `seed`, `cluster` | of the experiment |
| `packets` | `stray` ones, and `copies` |

Further on there is `more`.
"""


@pytest.mark.parametrize(
    ("summary", "missing"),
    [
        ({"seed": 1, "cluster": {"chassis": 2}}, []),
        ({"packets": {"stray": 1, "copies": {"stray": 2}}}, []),
        ({"packets": [{"stray": 1}, {"passed_on": 2}]}, ["packets.passed_on"]),
        ({"packets": {"copies": {"late": 2}}}, ["packets.late"]),
        ({"more": 1}, ["more"]),
        ({"stray": 1}, ["stray"]),
    ],
    ids=["told", "nested", "in a list", "deep", "elsewhere", "not a row of its own"],
)
def test_undocumented_keys_are_named(
    summary: dict[str, object], missing: list[str]
) -> None:
    assert undocumented(summary, TABLE) == missing


def test_the_document_has_the_table() -> None:
    assert (
        undocumented({"seed": 1, "packets": {"stray": 1}}, DOCUMENT.read_text()) == []
    )
