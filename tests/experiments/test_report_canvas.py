"""Plots of the report: labels of axes, panels, colours of the page, ids in the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from experiments.report.canvas import NARROW, WIDE, Plot, grid, plot, tick
from experiments.report.overview import drawing
from experiments.report.survival import ended_share, quantile
from experiments.report.theme import COLOURS, light, line_style, themed, variables

Times = list[tuple[float, bool]]
times = st.lists(st.tuples(st.integers(1, 50).map(float), st.booleans()), max_size=40)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (0.001, "1 µs"),
        (0.05, "50 µs"),
        (0.5, "500 µs"),
        (1, "1 ms"),
        (200, "200 ms"),
        (999, "999 ms"),
        (1000, "1 s"),
        (20_000, "20 s"),
    ],
)
def test_ticks_have_readable_units(value: float, label: str) -> None:
    assert tick(value, 0.0) == label


@pytest.mark.parametrize(
    ("count", "columns", "rows"), [(1, 1, 1), (3, 3, 1), (4, 3, 2), (7, 2, 4)]
)
def test_a_grid_has_a_panel_for_each_and_hides_the_others(
    count: int, columns: int, rows: int
) -> None:
    figure = Figure(figsize=(WIDE, 3))
    panels = grid(figure, count, columns, 2.0)
    assert len(panels) == count
    assert all(panel.get_visible() for panel in panels)
    assert sum(each.get_visible() for each in figure.axes) == count
    assert len(figure.axes) == rows * columns
    assert figure.get_figheight() == 2.0 * rows


def drawn(folder: Path, name: str = "lifetime") -> tuple[Plot, list[bool]]:
    """A small plot with clipping and markers, both of which need ids; and the calls."""
    calls = []

    def draw(figure: Figure, narrow: bool) -> None:
        calls.append(narrow)
        (panel,) = grid(figure, 1, 1, 2.0)
        for number in range(3):
            style = line_style(number)
            panel.plot(
                [1, 2], [number, 1], color=style.colour, marker=style.marker, ls="-"
            )

    return plot(name, "Title", "what it shows", draw, folder / "plots"), calls


def test_a_plot_is_drawn_wide_and_narrow(tmp_path: Path) -> None:
    made, calls = drawn(tmp_path)
    assert calls == [False, True]
    widths = [
        float(re.findall(r'viewBox="0 0 ([\d.]+) ', svg)[0])
        for svg in (made.wide, made.narrow)
    ]
    assert widths == pytest.approx([WIDE * 72, NARROW * 72])
    assert (made.name, made.title, made.what) == ("lifetime", "Title", "what it shows")


def test_ids_of_several_plots_in_one_page_are_unique_and_lead_somewhere(
    tmp_path: Path,
) -> None:
    plots = [drawn(tmp_path, name)[0] for name in ("lifetime", "latency")]
    page = "".join(svg for made in plots for svg in (made.wide, made.narrow))
    ids = re.findall(r' id="([^"]+)"', page)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', page))
    assert len(set(ids)) == len(ids)
    assert used == set(ids) != set(), "what is not used has no id"


def test_a_plot_in_the_page_follows_its_theme_and_has_no_size(tmp_path: Path) -> None:
    made, _ = drawn(tmp_path)
    for svg in (made.wide, made.narrow):
        assert svg.startswith('<svg aria-hidden="true" focusable="false"')
        assert " width=" not in svg[: svg.index(">")]
        assert " height=" not in svg[: svg.index(">")]
        assert "var(--series-0)" in svg
        assert not [pair.light for pair in COLOURS.values() if pair.light in svg]
        assert "<metadata" not in svg


def test_files_for_papers_are_complete_light_and_reproducible(tmp_path: Path) -> None:
    made, _ = drawn(tmp_path)
    files = {path.name: path.read_bytes() for path in (tmp_path / "plots").iterdir()}
    assert set(files) == {"lifetime.svg", "lifetime.pdf"}
    assert files["lifetime.pdf"].startswith(b"%PDF-")
    assert light("series-0").encode() in files["lifetime.svg"]
    assert b"var(--" not in files["lifetime.svg"]
    again, _ = drawn(tmp_path / "again")
    assert again == made
    for path in (tmp_path / "again" / "plots").iterdir():
        assert files[path.name] == path.read_bytes()


def test_each_light_colour_has_one_role_and_no_colour_is_part_of_another() -> None:
    """Otherwise a colour in a drawing could be replaced by the wrong variable."""
    colours = [pair.light for pair in COLOURS.values()]
    assert len(set(colours)) == len(colours)
    assert all(
        re.fullmatch("#[0-9a-f]{6}", each) for p in COLOURS.values() for each in p
    )


@pytest.mark.parametrize("role", COLOURS)
def test_a_colour_becomes_the_variable_of_its_role(role: str) -> None:
    assert themed(f'fill="{light(role)}"') == f'fill="var(--{role})"'
    for dark in (False, True):
        assert f"--{role}: {COLOURS[role][dark]};" in variables(dark)


def test_text_without_colours_stays() -> None:
    assert themed("<text>#1 of 3</text>") == "<text>#1 of 3</text>"


@given(times)
def test_a_curve_rises_from_0_to_at_most_1(measured: Times) -> None:
    curve = ended_share(measured)
    shares = [share for _, share in curve.steps]
    assert shares == sorted(shares)
    assert all(0 < share <= 1 + 1e-9 for share in shares)
    assert len(curve.steps) + len(curve.marks) == len(measured)
    assert [time for time, _ in curve.steps] == sorted(
        time for time, censored in measured if not censored
    )


@given(times.filter(bool))
def test_if_the_longest_has_ended_all_have(measured: Times) -> None:
    longest = max(time for time, _ in measured)
    ended = any(time == longest and not censored for time, censored in measured)
    kept = any(time == longest and censored for time, censored in measured)
    reached = quantile(ended_share(measured), 1.0)
    if ended and not kept:
        assert reached == longest
    elif kept:
        assert reached is None


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(1, 100))
def test_without_bounds_a_quantile_is_the_least_time_by_which_that_share_ended(
    ended: list[int], percent: int
) -> None:
    found = quantile(ended_share([(float(t), False) for t in ended]), percent / 100)
    assert found is not None
    assert sum(time <= found for time in ended) * 100 >= percent * len(ended)
    assert sum(time < found for time in ended) * 100 < percent * len(ended)


def one_run_each(latencies: Sequence[float]) -> Any:
    """As much of a report as the overview asks for: a design for each of these medians."""
    runs = {
        f"design {number} of several": SimpleNamespace(
            summary={
                "connections": {"hung": 0},
                "half_open": {"at_end": 0, "lifetime_ms": {"p50": 1.0}},
                "reset_latency_ms": {"p50": latency},
                "packets": {"tier1_copies": 0, "tier2_copies": 0},
            }
        )
        for number, latency in enumerate(latencies)
    }
    return SimpleNamespace(
        designs=list(runs), paired=lambda design, _settings: [runs[design]]
    )


@pytest.mark.filterwarnings("error")
def test_the_overview_has_room_for_long_names_and_times_below_nothing() -> None:
    """``proactive`` may reset a client before its first stray arrives."""
    report = one_run_each([0.7, 3.0, -0.678])
    figure = Figure(figsize=(WIDE, 3), layout="constrained")
    drawing(report, ["drain-node"])(figure, False)
    figure.draw_without_rendering()
    latency = next(a for a in figure.axes if a.get_title().startswith("Reset latency"))
    low, high = latency.get_xlim()
    assert 0 < low <= 0.001
    assert high < 100
