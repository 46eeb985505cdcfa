"""Published rows: every one is computed, documented, and can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.commands.model import command
from experiments.published import published_rows
from experiments.published.computed import COMPUTED
from experiments.published.published_check import check_rows, table_of
from experiments.published.published_rows import Figure, Row, read_rows

ROWS = {row.name: row for row in read_rows()}
#: Those that take less than a second.
QUICK = ("cilium-removal", "cilium-weights", "rfc-2992")
PAGE = (Path(__file__).parents[3] / "docs" / "published.md").read_text("utf-8")


def nothing(_done: int, _all: int) -> None:
    """No progress to show."""


@pytest.mark.parametrize("name", QUICK)
def test_quick_rows_are_within_their_tolerance(name: str) -> None:
    (checked,) = check_rows([ROWS[name]])
    assert checked.failed == []
    assert checked.to_json()["figures"][0]["holds"] is True


def test_every_row_is_computed_once_and_documented() -> None:
    assert [row.name for row in read_rows()] == list(COMPUTED)
    for row in ROWS.values():
        assert f"`{row.name}`" in PAGE
        for figure in row.figures:
            if figure.published:
                assert f"{figure.published:g}" in PAGE, f"{row.name}: {figure.name}"


def test_what_nothing_computes_is_an_error() -> None:
    figure = Figure(name="x", published=1, within=1)
    unknown = Row(name="unknown", source="s", setup="s", figures=(figure,))
    with pytest.raises(LookupError, match="unknown: nothing computes it"):
        list(check_rows([unknown]))
    misnamed = ROWS["cilium-removal"].model_copy(update={"figures": (figure,)})
    with pytest.raises(LookupError, match="cilium-removal: no figure 'x'"):
        list(check_rows([misnamed]))


@pytest.mark.parametrize(
    ("bounds", "holds", "out"),
    [
        ({"published": 10, "within": 2}, 12, 12.1),
        ({"published": 10, "within": 0}, 10, 10.1),
        ({"published": 8, "within_share": 0.2}, 10, 10.1),
        ({"published": 12, "within_share": 0.2}, 10, 9.9),
        ({"at_most": 1}, 1, 1.1),
        ({"at_least": 1}, 1, 0.9),
    ],
)
def test_bounds(bounds: dict[str, float], holds: float, out: float) -> None:
    figure = Figure.model_validate({"name": "x", **bounds})
    assert figure.holds(holds)
    assert not figure.holds(out)
    assert figure.tolerance


@pytest.mark.parametrize("bounds", [{}, {"published": 1}, {"within": 1}])
def test_a_figure_that_cannot_fail_is_refused(bounds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="x: "):
        Figure.model_validate({"name": "x", **bounds})


def spoiled(monkeypatch: pytest.MonkeyPatch, *rows: Row) -> None:
    monkeypatch.setattr(published_rows, "read_rows", lambda: rows)


def test_the_command_succeeds_where_all_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled(monkeypatch, *(ROWS[name] for name in QUICK))
    done = CliRunner().invoke(command, ["published", "--json"])
    assert done.exit_code == 0
    assert [row["name"] for row in json.loads(done.stdout)] == list(QUICK)


def test_the_command_fails_for_one_figure_out_of_its_tolerance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = ROWS["cilium-weights"]
    first, *others = row.figures
    wrong = first.model_copy(update={"published": 13.9})
    spoiled(monkeypatch, row.model_copy(update={"figures": (wrong, *others)}))
    done = CliRunner().invoke(command, ["published"])
    assert done.exit_code == 1
    assert "OUT" in done.output
    assert "cilium-weights: 2 is out of its tolerance" in done.output


def test_other_options_are_refused() -> None:
    done = CliRunner().invoke(command, ["published", "--compare"])
    assert done.exit_code == 2
    assert "takes --json" in done.output


def test_the_table_has_a_line_for_each_figure() -> None:
    checked = list(check_rows([ROWS[name] for name in QUICK]))
    figures = sum(len(ROWS[name].figures) for name in QUICK)
    assert table_of(checked).row_count == figures
