"""``./resetbed plan``: the decision, and the command."""

from __future__ import annotations

import json

from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from experiments.commands.cli import main
from experiments.model.plan_decision import COST, Limit, chosen, decide

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
