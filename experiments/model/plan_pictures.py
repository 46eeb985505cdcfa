"""The pictures that decide: half-open over time, copies at the worst, cost against risk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from experiments.model.plan_decision import Choice
from experiments.model.plan_words import figure_text
from experiments.report.canvas import Draw, Plot, grid, plot
from experiments.report.theme import LineStyle, light, line_style

Figures = Mapping[str, float | None]
#: Below this an axis is linear, so that zero has a place.
_FROM = 1.0
#: Room beyond the largest figure, as a factor: for the labels.
_ROOM = 6.0
_THOUSANDS = FuncFormatter(lambda value, _at: f"{value:,.0f}")
_COPIES = (
    ("copies_per_s_on_one_link", "on the busiest link, /s"),
    ("copies_per_s", "in the whole cluster, /s"),
)
_RISKS = (
    ("broken_per_event", "clients reset or hanging at the worst event"),
    ("half_open_held_s", "half-open all together, connections x s"),
)


def write_pictures(
    ranking: Sequence[Choice],
    courses: Mapping[str, Mapping[str, Any]],
    most_on_one_link: float | None,
    files: Path,
) -> list[Plot]:
    """All pictures; ``courses``: by policy, as in ``model.json``; ``most_on_one_link``: the
    limit of copies a second."""
    over_time = (
        "Connections half-open at each time, the best policy first. Policies with the "
        "same course share a panel. The scale is logarithmic from 1 on."
    )
    copies = (
        "Copies of resets in the busiest second: what links and nodes must bear. The "
        "dashed line is the limit. A question mark: not computed."
    )
    against = (
        "To the left is cheaper, below is safer. In brackets: what a policy costs besides. "
        "Filled: it keeps all limits. Without policies whose copies are not computed."
    )
    return [
        plot(
            *("plan-half-open", "Half-open connections over time", over_time),
            *(_over_time(ranking, courses), files),
        ),
        plot(
            *("plan-copies", "Copies at the worst instant", copies),
            *(_copies(ranking, most_on_one_link), files),
        ),
        plot(
            *("plan-risk", "Cost against what remains at risk", against),
            *(_against(ranking), files),
        ),
    ]


def styles(ranking: Sequence[Choice]) -> dict[str, LineStyle]:
    """The style of each policy, in all pictures."""
    return {one.policy: line_style(number) for number, one in enumerate(ranking)}


def together(items: Sequence[tuple[str, Any]]) -> list[tuple[list[str], Any]]:
    """Names with equal values, in one entry each, in order.

    >>> together([("a", 1), ("b", 2), ("c", 1)])
    [(['a', 'c'], 1), (['b'], 2)]
    """
    found: list[tuple[list[str], Any]] = []
    for name, value in items:
        same = next((names for names, other in found if other == value), None)
        if same is None:
            found.append(([name], value))
        else:
            same.append(name)
    return found


def _over_time(
    ranking: Sequence[Choice], courses: Mapping[str, Mapping[str, Any]]
) -> Draw:
    style_of = styles(ranking)

    def draw(figure: Figure, narrow: bool) -> None:
        shown = together(
            [(one.policy, courses[one.policy]["half_open"]) for one in ranking]
        )
        highest = max((max(course) for _, course in shown), default=0)
        columns = 1 if narrow else 2
        panels = grid(figure, len(shown), columns, 1.15, sharex=True, sharey=True)
        for panel, (names, course) in zip(panels, shown, strict=True):
            colour, times = style_of[names[0]].colour, courses[names[0]]["t_s"]
            panel.fill_between(times, course, step="pre", color=colour, alpha=0.35)
            panel.step(times, course, where="pre", color=colour, linewidth=1.0)
            panel.set_title(f"{', '.join(names)}: {max(course):,} at most")
            _from_zero(panel, "y", highest)
            panel.yaxis.set_major_locator(FixedLocator([0, 10, 1_000, 100_000, 10**7]))
            panel.minorticks_off()
        for panel in panels[-columns:]:
            panel.tick_params(labelbottom=True)
        figure.supxlabel("seconds", fontsize=8.5, color=light("ink"))

    return draw


def _copies(ranking: Sequence[Choice], limit: float | None) -> Draw:
    style_of = styles(ranking)

    def draw(figure: Figure, narrow: bool) -> None:
        height = 0.7 + 0.24 * len(ranking)
        columns = 1 if narrow else len(_COPIES)
        panels = grid(figure, len(_COPIES), columns, height, sharey=True)
        for panel, (key, title) in zip(panels, _COPIES, strict=True):
            panel.set_title(title)
            panel.set_yticks(range(len(ranking)), [one.policy for one in ranking])
            panel.tick_params(axis="y", length=0, labelcolor=light("ink"))
            panel.grid(axis="y", visible=False)
            for at, one in enumerate(ranking):
                length = one.figures[key] or 0.0
                colour = style_of[one.policy].colour
                panel.barh(at, length, height=0.6, color=colour)
                _label(panel, (length, at), figure_text(one.figures[key]))
            if key == "copies_per_s_on_one_link" and limit is not None:
                panel.axvline(limit, color=light("bad"), linestyle="--", linewidth=1.2)
            shown = [one.figures[key] or 0.0 for one in ranking]
            _from_zero(panel, "x", max([*shown, limit or 0.0]))
        panels[0].set_ylim(len(ranking) - 0.45, -0.55)

    return draw


def _against(ranking: Sequence[Choice]) -> Draw:
    style_of = styles(ranking)
    known = [one for one in ranking if one.figures["copies_per_s"] is not None]

    def draw(figure: Figure, narrow: bool) -> None:
        panels = grid(figure, len(_RISKS), 1 if narrow else 2, 3.4)
        for panel, (key, title) in zip(panels, _RISKS, strict=True):
            panel.set_title(title)
            panel.set_xlabel("copies in the worst second, /s")
            for one in known:
                style = style_of[one.policy]
                panel.plot(
                    *([one.figures["copies_per_s"] or 0.0], [one.figures[key] or 0.0]),
                    linestyle="none",
                    marker=style.marker,
                    markersize=8,
                    color=style.colour,
                    markerfacecolor="none" if one.missed else style.colour,
                    alpha=0.85,
                    clip_on=False,
                    label=_with_price(one),
                )
            copies, risks = (
                max((one.figures[each] or 0.0 for one in known), default=0.0)
                for each in ("copies_per_s", key)
            )
            _from_zero(panel, "x", copies)
            if key == "half_open_held_s":
                _from_zero(panel, "y", risks)
            else:
                panel.set_ylim(0, max(1.0, risks) * 1.1)
                panel.yaxis.set_major_formatter(_THOUSANDS)
        handles, labels = panels[0].get_legend_handles_labels()
        columns = 1 if narrow else 3
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)

    return draw


def _label(panel: Axes, at: tuple[float, float], text: str) -> None:
    panel.annotate(
        text,
        at,
        xytext=(4, 0),
        textcoords="offset points",
        fontsize=7.5,
        va="center",
        color=light("ink"),
    )


def _with_price(choice: Choice) -> str:
    """The name, and what else than copies it costs."""
    pins, detours = choice.figures["pin_memory_mib"], choice.figures["detours"]
    prices = [f"{figure_text(pins)} MiB of pins"] if pins else []
    prices += [f"{figure_text(detours)} detours"] if detours else []
    return f"{choice.policy} ({', '.join(prices)})" if prices else choice.policy


def _from_zero(panel: Axes, axis: str, highest: float) -> None:
    """A logarithmic axis that has a place for zero."""
    set_scale = panel.set_xscale if axis == "x" else panel.set_yscale
    set_limit = panel.set_xlim if axis == "x" else panel.set_ylim
    set_scale("symlog", linthresh=_FROM, linscale=0.35)
    set_limit(0, max(_FROM, highest) * _ROOM)
    which = panel.xaxis if axis == "x" else panel.yaxis
    which.set_major_formatter(_THOUSANDS)
