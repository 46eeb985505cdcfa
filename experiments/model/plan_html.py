"""A plan as one self-contained page: question, answer, policies, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from experiments.files.disk_full import disk_full_named
from experiments.files.handover import make_folders
from experiments.files.whole_file import write_whole
from experiments.model import plan_words
from experiments.model.plan_decision import Choice, Limit, chosen
from experiments.model.plan_page import to_json
from experiments.model.plan_pictures import write_pictures
from experiments.model.plan_spec import PlanSpec
from experiments.report.page import CSS
from experiments.report.templates import templates
from experiments.report.theme import variables

_HERE = Path(__file__).parent
PAGE = "plan.html"
#: Figure, heading, and whether it is a cost; otherwise it is what remains at risk.
_COLUMNS = (
    ("copies_per_s_on_one_link", "Copies/s, one link", True),
    ("copies_per_s", "Copies/s, all", True),
    ("pin_memory_mib", "Pins, MiB", True),
    ("detours", "Detours", True),
    ("hung", "Clients that hang", False),
    ("broken_per_event", "Reset or hanging, worst event", False),
    ("half_open_p99_s", "Half-open, p99, s", False),
    ("half_open_memory_mib", "They hold, MiB", False),
    ("locks_of_nobody", "Locks of nobody", False),
)


def write_plan(
    folder: Path,
    spec: PlanSpec,
    summaries: Sequence[Mapping[str, Any]],
    ranking: Sequence[Choice],
) -> Path:
    """``plan.html``, its pictures as SVG and PDF in ``figures/``, ``plan.json``,
    ``model.json`` and ``spec.yaml``. Returns the page's path.

    Raises :class:`~experiments.files.disk_full.DiskFullError`.
    """
    limits = spec.limits.wanted()
    resolved = yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False)
    with disk_full_named(folder):
        make_folders(folder)
        write_whole(folder / "spec.yaml", resolved)
        for name, value in (
            ("model.json", list(summaries)),
            ("plan.json", to_json(ranking, limits)),
        ):
            write_whole(folder / name, json.dumps(value, indent=1) + "\n")
        text = _page(folder / "figures", spec, summaries, ranking)
        write_whole(folder / PAGE, text)
    return folder / PAGE


def _page(
    figures: Path,
    spec: PlanSpec,
    summaries: Sequence[Mapping[str, Any]],
    ranking: Sequence[Choice],
) -> str:
    """The page as text; writes its pictures."""
    limits = spec.limits.wanted()
    on_one_link = spec.limits.copies_per_s_on_one_link
    courses = {one["policy"]: one["course"] for one in summaries}
    facts = plan_words.question(spec, len(summaries[0]["events"]))
    template = templates(_HERE).get_template("plan.html.j2")
    return template.render(
        title=spec.scenario,
        description=spec.description,
        css=CSS.read_text(),
        light=variables(dark=False),
        dark=variables(dark=True),
        facts=facts,
        question=plan_words.question_in_words(facts, limits),
        limits=limits,
        answer=plan_words.answer(ranking, limits),
        best=chosen(ranking),
        columns=_COLUMNS,
        rows=[(one, _cells(one, limits)) for one in ranking],
        why_not=[(o.policy, plan_words.why_not(o)) for o in ranking if o.missed],
        lower_bounds=plan_words.lower_bounds(ranking),
        order=plan_words.order_in_words(),
        plots=write_pictures(ranking, courses, on_one_link, figures),
        summary=summaries[0],
    )


def _cells(choice: Choice, limits: Sequence[Limit]) -> list[tuple[str, str]]:
    """Text of each column, and whether it keeps its limit: ``kept``, ``missed``, or
    neither where there is none."""
    missed = {one.key for one in choice.missed}
    limited = {one.key for one in limits}
    cells = []
    for key, _, _ in _COLUMNS:
        state = "missed" if key in missed else "kept" if key in limited else ""
        text = plan_words.figure_text(choice.figures[key])
        if key == "half_open_p99_s" and choice.figures["half_open_at_end"]:
            text = f"≥ {text}"
        cells.append((text, state))
    return cells
