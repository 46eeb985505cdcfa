"""``./resetbed plan``: the decision, and the command."""

from __future__ import annotations

import json
import re
from pathlib import Path

from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.commands.cli import main
from experiments.model.plan_decision import COST, Limit, chosen, decide
from experiments.model.plan_spec import load_plan_spec
from experiments.model.plan_words import answer, question

Figures = dict[str, dict[str, float | None]]

_FIGURE = st.one_of(st.none(), st.integers(0, 9).map(float))
_FIGURES = st.dictionaries(
    st.sampled_from("abcde"), st.fixed_dictionaries(dict.fromkeys(COST, _FIGURE))
)
_LIMITS = st.lists(
    st.builds(
        Limit,
        st.sampled_from(COST),
        st.just("title"),
        st.integers(0, 9).map(float),
        st.just("spec"),
    ),
    max_size=4,
)


@given(_FIGURES, _LIMITS)
def test_what_misses_a_limit_is_never_before_what_keeps_all(
    figures: Figures, limits: list[Limit]
) -> None:
    ranking = decide(figures, limits)
    assert [not one.missed for one in ranking] == sorted(
        (not one.missed for one in ranking), reverse=True
    )
    keeping = {
        name
        for name, own in figures.items()
        if all(
            (figure := own[one.key]) is not None and figure <= one.most
            for one in limits
        )
    }
    best = chosen(ranking)
    assert (best.policy in keeping) if best else not keeping
    assert ranking == decide(figures, limits)


@given(_FIGURES, _LIMITS, st.integers(1, 9))
def test_a_tighter_limit_adds_no_policy(
    figures: Figures, limits: list[Limit], less: int
) -> None:
    tighter = [one._replace(most=one.most - less) for one in limits]
    before, after = (
        {one.policy for one in decide(figures, some) if not one.missed}
        for some in (limits, tighter)
    )
    assert after <= before


def plan(*words: str) -> Result:
    return CliRunner().invoke(main, ["plan", "drain-node", *words])


def test_a_small_plan_says_what_it_chose_and_where_limits_come_from() -> None:
    result = plan("--json", "--set", "limits.broken_per_event=40")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    origins = {one["key"]: one["origin"] for one in found["limits"]}
    assert origins["broken_per_event"] == "spec"
    assert origins["hung"] == "default"
    missed = {one["policy"]: one["missed"] for one in found["ranking"]}
    # Nobody has counted what a controller sends.
    assert "copies_per_s_on_one_link" in missed["out-of-band"]
    assert missed[found["chosen"]] == []
    assert "hung" in missed["drop"]
    assert "half_open_p99_s" in missed["client-only"]


def test_limits_that_cannot_be_judged_are_refused() -> None:
    result = plan("--set", "limits.half_open_p99_s=99")
    assert result.exit_code == 2
    assert "model.for_s" in result.output


def test_no_policy_is_chosen_if_none_keeps_the_limits() -> None:
    result = CliRunner().invoke(
        main, ["plan", "node-failure", "--set", "limits.broken_per_event=0"]
    )
    assert result.exit_code == 1, result.output
    assert "No policy keeps all limits" in result.output


def test_who_hangs_is_never_cheaper_than_who_is_told() -> None:
    """``drop`` sends nothing, and a hung client is not reset again: no advantage."""
    keys = ("hung", "half_open_p99_s", "copies_per_s_on_one_link", "pin_memory_mib")
    none = [word for key in keys for word in ("--set", f"limits.{key}=null")]
    result = plan("--json", *none)
    ranking = json.loads(result.stdout)["ranking"]
    figures = {one["policy"]: one["figures"] for one in ranking}
    assert ranking[-1]["policy"] == "drop"
    told, silent = figures["client-only"], figures["drop"]
    assert silent["broken_per_event"] >= told["broken_per_event"] > 0
    assert silent["hung"] > 0 == told["hung"]


def test_a_client_that_hangs_is_harmed_by_each_event_that_it_hangs_through() -> None:
    few = ("--set", "model.connections=1000", "--set", "model.for_s=120")
    result = CliRunner().invoke(main, ["plan", "rack", "--json", *few])
    ranking = json.loads(result.stdout)["ranking"]
    broken = {one["policy"]: one["figures"]["broken_per_event"] for one in ranking}
    assert broken["drop"] == max(broken.values()) > 2 * broken["flood"]


@settings(max_examples=30)
@given(_FIGURES.filter(bool), _LIMITS)
def test_the_answer_is_two_sentences(figures: Figures, limits: list[Limit]) -> None:
    others = {"half_open_memory_mib": 1.0, "locks_of_nobody": 0.0, "inevitable": 0.0}
    full = {name: {**others, **own} for name, own in figures.items()}
    text = answer(decide(full, limits), limits)
    assert len(re.findall(r"\.(?: |$)", text)) == 2, text


def test_the_question_says_what_was_given_and_what_was_assumed() -> None:
    spec = load_plan_spec("rack", ("model.interval_s=0.5",))
    facts = {fact.what: fact for fact in question(spec, 124)}
    assert facts["A client sends"].given
    assert "0.5 s" in facts["A client sends"].value
    assert "124 changes" in facts["Churn"].value
    assert facts["Nodes"].value == "20 nodes in 2 chassis"
    assert not facts["A half-open connection holds"].given


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    result = plan("--out", str(tmp_path), "--set", "limits.detours=0")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "plan.html").read_text()
    assert not re.search(r"<script|(?:src|href)=\"(?!data:|#)|url\((?!#)", page)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for policy in json.loads((tmp_path / "plan.json").read_text())["ranking"]:
        assert f'<th scope="row">{policy["policy"]}</th>' in page
    assert "keeps all" in page
    assert "connections on a detour, and at most 0." in page
    assert "var(--series-0)" in page
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"plan-{name}.{kind}"
        for name in ("half-open", "copies", "risk")
        for kind in ("svg", "pdf")
    }
    assert load_plan_spec(str(tmp_path / "spec.yaml")).limits.detours == 0
