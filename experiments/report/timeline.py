"""One run over time: events, strays, resets, freed connections, half-open count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.report.canvas import Draw
from experiments.report.theme import light
from experiments.results.run_folder import RunFolder
from topologies.domain.events.link_change import described, link_in

#: So many letters of a label fit side by side on the page, wide and narrow.
WIDE_TEXT, NARROW_TEXT = 115, 40
_LINE_POINTS = 10


class Timeline(NamedTuple):
    """Times of a run, in ms since the request of the first event (or the first opening)."""

    #: Text, requested, applied, settled. Events of one instant are one entry.
    events: tuple[tuple[str, float, float, float], ...]
    strays: tuple[float, ...]
    resets: tuple[float, ...]
    freed: tuple[float, ...]
    half_open: tuple[tuple[float, int], ...]  # time, number from then on
    end: float

    @property
    def peak(self) -> int:
        """Maximum number of half-open connections."""
        return max((count for _, count in self.half_open), default=0)

    @property
    def remaining(self) -> int:
        """Number of half-open connections at the end."""
        return self.half_open[-1][1] if self.half_open else 0


def timeline_of(folder: RunFolder) -> Timeline:
    """The timeline of a run."""
    events = folder.summary["events"]
    opened = (row.fields["opened_s"] for row in folder.rows)
    zero = events[0]["requested_s"] if events else min(opened, default=0.0)

    def ms(time_s: float) -> float:
        return (time_s - zero) * 1e3

    connections = [row.fields for row in folder.rows]
    spans = [row.half_open for row in folder.rows if row.half_open]
    steps = [(ms(span.start_s), 1) for span in spans]
    steps += [(ms(span.end_s), -1) for span in spans if not span.censored]
    instants = [ms(span.end_s) for span in spans]
    instants += [ms(e["settled_s"] or e["applied_s"]) for e in events]
    resets = tuple(ms(one["reset_s"]) for one in connections if one["reset_s"])
    return Timeline(
        events=tuple(
            (
                " + ".join(
                    described(e["kind"], e["target"], link_in(e)) for e in instant
                ),
                ms(instant[0]["requested_s"]),
                ms(instant[0]["applied_s"]),
                ms(instant[0]["settled_s"] or instant[0]["applied_s"]),
            )
            for instant in folder.instants()
        ),
        strays=tuple(ms(o["first_stray_s"]) for o in connections if o["first_stray_s"]),
        resets=resets,
        freed=tuple(ms(span.end_s) for span in spans if not span.censored),
        half_open=_counted(steps),
        end=max([1.0, *instants, *resets]) * 1.05,
    )


def _counted(steps: Sequence[tuple[float, int]]) -> tuple[tuple[float, int], ...]:
    count, counted = 0, []
    for time, change in sorted(steps):
        count += change
        counted.append((time, count))
    return tuple(counted)


def drawing(one: Timeline) -> Draw:
    """Draws a row of marks for each kind of time, above the half-open count."""

    def draw(figure: Figure, narrow: bool) -> None:
        figure.set_figheight(3.6 if narrow else 3.3)
        lanes, count = figure.subplots(2, 1, sharex=True, height_ratios=(1.15, 1))
        _lanes(lanes, one, narrow)
        _count(count, one)
        seconds = one.end >= 2000
        count.set_xlabel(
            f"{'s' if seconds else 'ms'} since the "
            f"{'request of the first event' if one.events else 'first opening'}"
        )
        if seconds:
            count.xaxis.set_major_formatter(lambda ms, _: f"{ms / 1000:g}")
        count.set_xlim(-0.02 * one.end, one.end)

    return draw


def _lanes(panel: Axes, one: Timeline, narrow: bool) -> None:
    rows = (
        ("first strays", one.strays, "stray"),
        ("clients reset", one.resets, "reset"),
        ("owners freed", one.freed, "freed"),
    )
    panel.set_ylim(3.6, -0.6)
    panel.set_yticks(
        range(4),
        ["tables", *(f"{name} ({len(times)})" for name, times, _ in rows)],
    )
    panel.tick_params(axis="y", length=0, labelcolor=light("ink"))
    panel.grid(axis="y", visible=False)
    for at, (_, times, role) in enumerate(rows, 1):
        panel.vlines(times, at - 0.32, at + 0.32, color=light(role), linewidth=1.3)
    levels = label_levels(one, NARROW_TEXT if narrow else WIDE_TEXT)
    for level, (what, requested, applied, settled) in zip(
        levels, one.events, strict=True
    ):
        panel.axvline(
            requested, color=light("faint"), linewidth=0.9, linestyle=(0, (3, 2))
        )
        panel.hlines(0, requested, applied, color=light("series-3"), linewidth=1.6)
        panel.hlines(
            0, applied, max(settled, applied), color=light("series-3"), linewidth=6
        )
        right = _at_the_right(one, requested)
        panel.annotate(
            what,
            (requested, -0.6),
            xytext=(-2 if right else 2, 3 + level * _LINE_POINTS),
            textcoords="offset points",
            fontsize=8,
            annotation_clip=False,
            ha="right" if right else "left",
            color=light("ink"),
        )


def label_levels(one: Timeline, letters: int) -> list[int]:
    """A line for each event's label, 0 the lowest, so that none covers another.

    ``letters``: how many fit side by side over the whole time.
    """
    ends: list[list[tuple[float, float]]] = []
    levels = []
    for what, requested, _, _ in one.events:
        width = one.end * len(what) / letters
        begin = requested - width if _at_the_right(one, requested) else requested
        level = 0
        while level < len(ends) and any(
            begin < end and start < begin + width for start, end in ends[level]
        ):
            level += 1
        if level == len(ends):
            ends.append([])
        ends[level].append((begin, begin + width))
        levels.append(level)
    return levels


def _at_the_right(one: Timeline, time: float) -> bool:
    """Whether a label at that time goes to its left, for want of room."""
    return time > 0.7 * one.end


def _count(panel: Axes, one: Timeline) -> None:
    times = [0.0, *(time for time, _ in one.half_open), one.end]
    counts = [0, *(count for _, count in one.half_open)]
    counts.append(counts[-1])
    panel.fill_between(
        times, counts, step="post", color=light("series-1"), alpha=0.18, linewidth=0
    )
    panel.step(times, counts, where="post", color=light("series-1"))
    for _, requested, _, _ in one.events:
        panel.axvline(
            requested, color=light("faint"), linewidth=0.9, linestyle=(0, (3, 2))
        )
    panel.set_ylim(0, max(1, one.peak) * 1.15)
    panel.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    panel.set_ylabel("half open")
    if one.remaining:
        panel.annotate(
            f"{one.remaining} left at the end",
            (one.end, one.remaining),
            xytext=(-4, -11),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=light("ink"),
        )
