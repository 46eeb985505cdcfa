"""The command line. Each command checks its input and calls the code for the work."""

from __future__ import annotations

import json
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import click

from experiments.commands.cli_options import (
    BadInput,
    datapath_option,
    handles_errors,
    healing_options,
    keys_option,
    many_machines,
    spec_overrides,
)


def _print_version(context: click.Context, _: click.Parameter, given: bool) -> None:
    if given and not context.resilient_parsing:
        from experiments.machine.provenance import version

        click.echo(version())
        context.exit()


#: A line for each command that stands elsewhere: its name -> the module that has it as
#: ``command``, or ``MODULE:NAME``. The module is imported when it is asked for.
ELSEWHERE = {
    "bench": "experiments.commands.run_bench",
    "capture": "experiments.commands.watch_frames",
    "chaos": "experiments.commands.chaos",
    "cluster-keys": "experiments.commands.cluster_keys",
    "completion": "experiments.commands.completion",
    "console": "experiments.commands.own_cluster:console",
    "down": "experiments.commands.own_cluster:down",
    "event": "experiments.commands.own_cluster:event",
    "exec": "experiments.commands.own_cluster:execute",
    "export": "experiments.commands.export_plan",
    "link": "experiments.commands.shape_link",
    "man": "experiments.commands.man_page",
    "memory": "experiments.commands.memory",
    "model": "experiments.commands.model",
    "plan": "experiments.commands.plan_policy",
    "scheduler": "experiments.commands.scheduler",
    "schema": "experiments.commands.schema",
    "status": "experiments.commands.own_cluster:status",
    "up": "experiments.commands.own_cluster:up",
    "watch": "experiments.commands.watch_cluster",
    "worker": "experiments.commands.machine_worker",
}


#: What the command says without arguments.
FIRST_STEPS = """\
resetbed: what becomes of a storage cluster's connections when its nodes change, on real TCP.

  ./resetbed demo     start here: one scale-out under three policies, in half a minute
  ./resetbed up       a cluster of your own in the background; then, for example:
                        ./resetbed exec h1 -- ping -c 3 10.0.0.1
                        ./resetbed event drain-node c1n2
                        ./resetbed status
                        ./resetbed down
  ./resetbed run drain-node      one experiment; results in ./results
  ./resetbed doctor   what this machine has and lacks
  ./resetbed --help   every command

The first use installs what is needed (a few minutes) and asks for sudo where it must.
"""


class _Commands(click.Group):
    """The commands of this module, and those :data:`ELSEWHERE`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return sorted({*super().list_commands(ctx), *ELSEWHERE})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name; None where there is none."""
        if name in ELSEWHERE:
            module, _, attribute = ELSEWHERE[name].partition(":")
            found = getattr(import_module(module), attribute or "command")
            return cast(click.Command, found)
        return super().get_command(ctx, name)


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
@click.pass_context
def main(context: click.Context) -> None:
    """Stateful connection reset in a storage cluster with a stateless load balancer.

    \b
    First steps:
      ./resetbed demo                         the claim, on real TCP, three policies
      ./resetbed run scale-out-node           one experiment; results in ./results
      ./resetbed model rack --compare         the same, computed, at any size
      ./resetbed up                           a cluster in the background
      ./resetbed exec h1 -- ss -tn            your program on one of its hosts
      ./resetbed event drain-node c1n2        cause a membership event
      ./resetbed status                       members, connections, counters
      ./resetbed down                         remove the cluster
      ./resetbed test                         the whole test suite
      ./resetbed test --fast                  the tests that need no root
      ./resetbed test --kernel debian-12      kernel-dependent tests on Debian 12's kernel
      ./resetbed docs                         a site of the documents, in .build/site
      ./resetbed lint                         style and type checks of the code
      ./resetbed setup                        only install what is needed

    Exit status: 0 done and as expected; 1 an expectation failed; 2 bad input; 3 a
    requirement of the machine is missing; 4 ran, but its measurement cannot be trusted.
    """
    if context.invoked_subcommand is None:
        click.echo(FIRST_STEPS)


@main.command()
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.")
@click.option("--seed", default=1, show_default=True, help="Fixes every source port.")
@datapath_option
@handles_errors
def demo(out: Path | None, seed: int, datapath: str | None) -> None:
    """Run a scale-out by one node under three policies: drop, client-only, flood.

    The same seed moves the same connections each time. Ends with one table, the claim
    chart of the flood run, and the ladder diagram of one connection's reset.

    \b
      ./resetbed demo
      ./resetbed demo --seed 7 --out results/demo
    """
    from experiments.commands.demo import run_demo

    sys.exit(run_demo(out, seed, spec_overrides(datapath=datapath)))


@main.command()
@click.argument("spec")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.")
@datapath_option
@healing_options
@handles_errors
def run(
    spec: str, overrides: tuple[str, ...], out: Path | None, **options: Any
) -> None:
    """Run one experiment: SPEC is a YAML file or the name of a shipped scenario.

    \b
      ./resetbed run drain-node
      ./resetbed run drain-node --set policy=client-only --set seed=7
      ./resetbed run my.yaml --set cluster.nodes=5 --set ip=6 --out results/six

    `./resetbed scenarios` lists the shipped ones.
    """
    from experiments.display.render import print_run
    from experiments.running.launch import run_in_sandbox
    from experiments.spec.spec_file import SpecError, find_spec, load_run

    try:
        given = (*overrides, *spec_overrides(**options))
        loaded = load_run(find_spec(spec), given)
    except SpecError as error:
        raise BadInput(str(error)) from error
    status, folder = run_in_sandbox(loaded, out)
    print_run(folder)
    sys.exit(status)


@main.command()
def scenarios() -> None:
    """List the shipped scenarios.

    \b
      ./resetbed scenarios
    """
    from experiments.spec.spec_file import find_spec, load_spec, scenario_names

    for name in scenario_names():
        click.echo(f"{name:18} {load_spec(find_spec(name)).description}")


@main.command()
@click.argument("spec")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE")
def validate(spec: str, overrides: tuple[str, ...]) -> None:
    """Check a spec without running it. Prints it with its defaults.

    For a suite, prints its runs in their order.

    \b
      ./resetbed validate drain-node --set cluster.nodes=5
      ./resetbed validate designs
    """
    import yaml

    from experiments.spec.spec_file import SpecError, find_spec, load_run
    from experiments.sweep.suite_file import find_suite, is_suite
    from experiments.sweep.sweep import print_plan

    try:
        if is_suite(spec):
            if overrides:
                raise SpecError(f"{spec} is a suite: --set is for a run's spec")
            return print_plan(find_suite(spec), None)
        loaded = load_run(find_spec(spec), overrides)
    except SpecError as error:
        raise BadInput(str(error)) from error
    click.echo(
        yaml.safe_dump(loaded.model_dump(mode="json"), sort_keys=False), nl=False
    )
    if loaded.servers.settings.given():
        from nodes.servers.server_settings import explain

        click.echo(textwrap.indent(explain(loaded.servers.settings), "# "))


@main.command()
@click.argument("suite")
@click.option("--out", type=click.Path(path_type=Path), help="The sweep's folder.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("--dry-run", is_flag=True, help="List the runs without running them.")
@click.option(
    "--retry-failed",
    is_flag=True,
    help="Repeat runs that failed or cannot be trusted.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Run on the workers of this scheduler: tcp://HOST:8786, or a scheduler file.",
)
@click.option(
    "--wait-for-machine",
    "patience_s",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="With --scheduler: how long a machine that has left keeps its groups of runs.",
)
@keys_option
@handles_errors
def sweep(
    suite: str,
    out: Path | None,
    jobs: int,
    dry_run: bool,
    retry_failed: bool,
    scheduler: str | None,
    **machines: Any,
) -> None:
    """Run all runs of a suite: SUITE is a YAML file or the name of a shipped suite.

    \b
      ./resetbed sweep designs                 results in ./results/designs
      ./resetbed sweep designs --dry-run
      ./resetbed sweep designs --scheduler tcp://192.0.2.1:8786

    The same command continues an interrupted sweep. Parallel runs (--jobs) share the
    cores, which changes their measured times. With --scheduler, all designs on the same
    connections run on one machine (docs/many-machines.md).
    """
    from experiments.spec.spec_file import SpecError
    from experiments.sweep.state import SweepLocked
    from experiments.sweep.suite_file import find_suite
    from experiments.sweep.sweep import print_plan, run_sweep

    try:
        if dry_run:
            return print_plan(find_suite(suite), out)
        path, elsewhere = find_suite(suite), None
        if scheduler is not None:
            if jobs != 1:
                raise BadInput("--jobs: each worker has its own (./resetbed worker)")
            elsewhere = many_machines(scheduler, **machines)
        status, folder = run_sweep(path, out, jobs, retry_failed, elsewhere)
    except (SpecError, SweepLocked) as error:
        raise BadInput(str(error)) from error
    click.echo(f"tables in {folder}; for the report: ./resetbed report {folder}")
    sys.exit(status)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@handles_errors
def report(folder: Path) -> None:
    """Write an HTML report of a sweep's or a run's FOLDER, with plots as SVG and PDF.

    The page needs no network. The data in the folder stay unchanged, so the report can
    be written again at any time.

    \b
      ./resetbed report results/designs
    """
    from experiments.files.disk_full import disk_full_named
    from experiments.report.report import NothingToReport, write_report

    try:
        with disk_full_named(folder):
            page = write_report(folder)
    except NothingToReport as error:
        raise BadInput(str(error)) from error
    click.echo(f"report: {page}")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@handles_errors
def analyse(folder: Path) -> None:
    """Compute all figures of a run again, from the record in its FOLDER.

    Needs no root, no Mininet and no cluster. A record can be analysed on any machine, also
    by a later version. `run` ends with the same step. The record stays unchanged.

    \b
      ./resetbed analyse results/drain-node-flood-1-20260101-120000-4711
    """
    from experiments.display.render import print_run
    from experiments.results.judge import NoRecord, judge_folder
    from experiments.verdict.trust import EXIT_STATUS

    try:
        summary = judge_folder(folder)
    except NoRecord as error:
        raise BadInput(str(error)) from error
    print_run(folder)
    sys.exit(EXIT_STATUS[summary["outcome"]])


@main.command()
@click.argument("spec")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, every owner.")
@handles_errors
def predict(spec: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Predict which node owns each connection of SPEC, before and after each event.

    Builds no cluster. A run with the same seed opens the same connections.

    \b
      ./resetbed predict drain-node
      ./resetbed predict drain-node --set balancer=maglev --set workload.connections=20000
    """
    from experiments.prediction import predict as prediction
    from experiments.prediction.slot_use import print_slots, slot_uses
    from experiments.spec.spec_file import SpecError, find_spec, load_spec
    from topologies.domain.events import EventError

    try:
        loaded = load_spec(find_spec(spec), overrides)
        predicted, uses = prediction.predict(loaded), slot_uses(loaded)
    except (SpecError, EventError) as error:
        raise BadInput(str(error)) from error
    if as_json:
        slots = None if uses is None else [use.to_json() for use in uses]
        click.echo(json.dumps({**predicted.to_json(), "slots": slots}))
    else:
        prediction.print_prediction(predicted)
        print_slots(loaded)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def doctor(as_json: bool) -> None:
    """Show which requirements this machine meets, and the effect of missing ones.

    \b
      ./resetbed doctor
      ./resetbed doctor --json
    """
    from experiments.doctor.doctor import run_doctor

    sys.exit(run_doctor(as_json))
