"""The page's files, read without a browser: colours that can be read, nothing from outside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.experiments.contrast import contrast
from tests.experiments.watch.scripted_server import PAGE

_PAIR = re.compile(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)")
#: Role -> its light and its dark colour.
COLOURS = {
    role: (light, dark)
    for role, light, dark in _PAIR.findall((PAGE / "theme.css").read_text("utf-8"))
}
GROUNDS = ("paper", "panel", "raised")
#: Roles of text.
TEXT = (
    *("ink", "faint", "link", "danger", "moved", "half-open", "out", "failed"),
    *("stray", "reset", "tier-1", "tier-2"),
)
FILES = sorted(PAGE.iterdir())


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("dark", [0, 1], ids=["light", "dark"])
def test_contrast_meets_wcag_aa(dark: int, ground: str) -> None:
    ratios = {role: _contrast(role, ground, dark) for role in TEXT}
    assert {role: ratio for role, ratio in ratios.items() if ratio < 4.5} == {}
    assert _contrast("edge", ground, dark) >= 3


@pytest.mark.parametrize("dark", [0, 1], ids=["light", "dark"])
def test_words_on_colours_can_be_read(dark: int) -> None:
    assert _contrast("on-action", "action", dark) >= 4.5
    assert _contrast("ink", "warning-paper", dark) >= 4.5
    assert _contrast("faint", "warning-paper", dark) >= 4.5


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_nothing_comes_from_another_place(file: Path) -> None:
    text = file.read_text("utf-8")
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}


def _contrast(one: str, other: str, dark: int) -> float:
    return contrast(COLOURS[one][dark], COLOURS[other][dark])
