"""``./resetbed plan``: which policy keeps an administrator's limits, computed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.commands.cli_options import BadInput, handles_errors
from experiments.commands.model import clear_progress, report_progress

if TYPE_CHECKING:
    from experiments.model.plan_decision import Choice
    from experiments.model.plan_spec import PlanSpec


@click.command("plan")
@click.argument("spec")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the plan as one page."
)
@handles_errors
def command(
    spec: str, overrides: tuple[str, ...], as_json: bool, out: Path | None
) -> None:
    """Which policy keeps the limits of SPEC's section `limits:`, at what cost and risk.

    Every policy is computed on the same connections, as by `model SPEC --compare`.
    Needs no root. Exit status 1: no policy keeps all limits.

    \b
      ./resetbed plan drain-node
      ./resetbed plan rack --out results/plan
      ./resetbed plan rack --set limits.half_open_p99_s=0.1
      ./resetbed plan rack --set limits.broken_per_event=500 --json
    """
    from experiments.display.render import console
    from experiments.model.engine import ComputationEnded
    from experiments.model.model_run import all_policies, compute_spec
    from experiments.model.plan_decision import chosen
    from experiments.model.plan_page import misses, ranking_table, to_json, words
    from experiments.model.plan_spec import load_plan_spec
    from experiments.spec.spec_file import SpecError

    try:
        loaded = load_plan_spec(spec, overrides)
        summaries = compute_spec(loaded, all_policies(), report_progress)
    except (SpecError, ValueError) as error:
        raise BadInput(str(error)) from error
    except ComputationEnded as error:
        raise click.ClickException(str(error)) from error
    finally:
        clear_progress()
    ranking = _ranking(loaded, summaries)
    limits = loaded.limits.wanted()
    if as_json:
        click.echo(json.dumps(to_json(ranking, limits)))
    else:
        click.echo("\n".join(words(ranking, limits, loaded.limits.memory_of_one())))
        console().print(ranking_table(ranking))
        click.echo("\n".join(misses(ranking)))
    if out is not None:
        # Slow to import, and not needed where nothing is drawn.
        from experiments.model.plan_html import write_plan

        page = write_plan(out, loaded, summaries, ranking)
        click.echo(f"the plan as a page: {page}", err=as_json)
    if chosen(ranking) is None:
        raise click.exceptions.Exit(1)


def _ranking(
    spec: PlanSpec, summaries: Sequence[Mapping[str, Any]]
) -> Sequence[Choice]:
    """Every policy, the best first."""
    from controller.policies import POLICIES
    from experiments.model.plan_decision import decide, figures_of

    kib = spec.limits.half_open_kib
    figures = {
        one["policy"]: figures_of(one, POLICIES[one["policy"]], kib)
        for one in summaries
    }
    return decide(figures, spec.limits.wanted())
