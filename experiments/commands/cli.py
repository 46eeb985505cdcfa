"""The command line: thin; each command checks its input and hands over."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from experiments.commands.cli_options import (
    EXIT_BAD_INPUT,
    BadInput,
    cluster_arguments,
    cluster_options,
    handles_errors,
    member_options,
    name_option,
)


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from experiments.machine.provenance import version

        click.echo(version())
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Say which version this is, and exit.",
)
def main() -> None:
    """Stateful connection reset in a storage cluster with a stateless load balancer.

    \b
    First steps:
      ./resetbed demo                         the claim, on real TCP, three policies
      ./resetbed run scale-out-node           one experiment; results in ./results
      ./resetbed up                           a cluster in the background
      ./resetbed exec h1 -- ss -tn            a program of yours on one of its hosts
      ./resetbed event drain-node c1n2        make something happen to it
      ./resetbed status                       what became of it
      ./resetbed down                         take it away
      ./resetbed test                         the whole test suite
      ./resetbed test --kernel debian-12      what differs there, on Debian 12's kernel
      ./resetbed setup                        install what is needed, and nothing else

    Exit status: 0 done and as expected; 1 an expectation failed; 2 bad input; 3 the
    machine lacks something; 4 ran, but its measurement cannot be trusted.
    """


@main.command()
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.")
@click.option("--seed", default=1, show_default=True, help="Fixes every source port.")
@handles_errors
def demo(out: Path | None, seed: int) -> None:
    """Scale-out by a node three times: strays dropped, answered, and fanned out.

    The same seed moves the same connections each time. Ends with one table, the claim
    chart of the flood run, and the ladder diagram of one connection's reset.
    """
    from experiments.commands.demo import run_demo

    sys.exit(run_demo(out, seed))


@main.command()
@click.argument("spec")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.")
@handles_errors
def run(spec: str, overrides: tuple[str, ...], out: Path | None) -> None:
    """Run one experiment: SPEC is a YAML file or the name of a shipped scenario.

    \b
      ./resetbed run drain-node
      ./resetbed run drain-node --set policy=client-only --set seed=7
      ./resetbed run my.yaml --set cluster.nodes=5 --set ip=6 --out results/six

    `./resetbed scenarios` lists those that ship.
    """
    from experiments.display.render import print_run
    from experiments.running.launch import run_in_sandbox
    from experiments.spec.spec_file import SpecError, find_spec, load_run

    try:
        loaded = load_run(find_spec(spec), overrides)
    except SpecError as error:
        raise BadInput(str(error)) from error
    status, folder = run_in_sandbox(loaded, out)
    print_run(folder)
    sys.exit(status)


@main.command()
def scenarios() -> None:
    """List the scenarios that ship."""
    from experiments.spec.spec_file import find_spec, load_spec, scenario_names

    for name in scenario_names():
        click.echo(f"{name:18} {load_spec(find_spec(name)).description}")


@main.command()
@click.argument("spec")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE")
def validate(spec: str, overrides: tuple[str, ...]) -> None:
    """Check a spec without running it; prints it whole, defaults included.

    Of a suite, prints the runs that follow from it, in their order.
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


@main.command()
@click.argument("suite")
@click.option("--out", type=click.Path(path_type=Path), help="The sweep's folder.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("--dry-run", is_flag=True, help="Lists the runs and makes none.")
@click.option(
    "--retry-failed",
    is_flag=True,
    help="Makes once more what failed or cannot be trusted.",
)
@handles_errors
def sweep(
    suite: str, out: Path | None, jobs: int, dry_run: bool, retry_failed: bool
) -> None:
    """Make every run of a suite: a YAML file or the name of one that ships.

    \b
      ./resetbed sweep designs                 results in ./results/designs
      ./resetbed sweep designs --dry-run

    The same command again goes on where it stopped, whatever stopped it. Runs at the
    same time (--jobs) share the cores, and their times show it.
    """
    from experiments.spec.spec_file import SpecError
    from experiments.sweep.state import SweepLocked
    from experiments.sweep.suite_file import find_suite
    from experiments.sweep.sweep import print_plan, run_sweep

    try:
        if dry_run:
            return print_plan(find_suite(suite), out)
        status, folder = run_sweep(find_suite(suite), out, jobs, retry_failed)
    except (SpecError, SweepLocked) as error:
        raise BadInput(str(error)) from error
    click.echo(f"tables in {folder}; for the page: ./resetbed report {folder}")
    sys.exit(status)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@handles_errors
def report(folder: Path) -> None:
    """One HTML page of a sweep's or a run's FOLDER, and its plots as SVG and PDF.

    The page needs no network. It is made from the folder's data, which stay as they
    are, and can be made again at any time.
    """
    from experiments.report.report import NothingToReport, write_report

    try:
        page = write_report(folder)
    except NothingToReport as error:
        raise BadInput(str(error)) from error
    click.echo(f"report: {page}")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@handles_errors
def analyse(folder: Path) -> None:
    """Make every figure of a run anew from the record in its FOLDER.

    Needs no root, no Mininet and no cluster: a record can be judged on any machine, and
    again by a later version. `run` ends by doing the same. The record stays as it is.

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
    """Which node will own each connection of SPEC, before and after each event.

    Builds no cluster: the same seed opens the same connections in a run.

    \b
      ./resetbed predict drain-node
      ./resetbed predict drain-node --set balancer=maglev --set workload.connections=20000
    """
    from experiments.prediction import predict as prediction
    from experiments.spec.spec_file import SpecError, find_spec, load_spec
    from topologies.domain.events import EventError

    try:
        found = prediction.predict(load_spec(find_spec(spec), overrides))
    except (SpecError, EventError) as error:
        raise BadInput(str(error)) from error
    if as_json:
        click.echo(json.dumps(found.to_json()))
    else:
        prediction.print_prediction(found)


@main.command()
@name_option
@cluster_options
@member_options
@handles_errors
def up(name: str, **size: Any) -> None:
    """Keep a cluster running in the background; returns when it serves."""
    from experiments.running.launch import launch_up

    sys.exit(launch_up(name, *cluster_arguments(size)))


@main.command()
@name_option
@cluster_options
@member_options
@handles_errors
def console(name: str, **size: Any) -> None:
    """A cluster in the foreground, with Mininet's command line on it."""
    from experiments.running.launch import launch_console

    sys.exit(launch_console(name, *cluster_arguments(size)))


@main.command("exec", context_settings={"ignore_unknown_options": True})
@name_option
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@handles_errors
def execute(name: str, host: str, command: tuple[str, ...]) -> None:
    """Run a command on a host of the cluster; its exit status is the command's.

    \b
      ./resetbed exec h1 -- nbdinfo nbd://10.0.0.1
      ./resetbed exec c1n2 -- ss -tn
    """
    from topologies.sandbox import host_command

    argv = host_command(name, host, list(command))
    os.execvp(argv[0], argv)


@main.command()
@name_option
@click.argument("events", nargs=-1, required=True, metavar="KIND TARGET ...")
@handles_errors
def event(name: str, events: tuple[str, ...]) -> None:
    """Make a membership event happen; returns when the switches have it.

    Several, one after the other on the line, happen at once, as one change.

    \b
      drain-node c1n2      fail-node c1n2      restore-node c1n2    add-node c2
      fail-chassis c2      restore-chassis c2  add-chassis c3
      uplink-down c2       uplink-up c2        reseed fabric (or c2, or all)
    """
    for record in _request(name, "events", words=events)["events"]:
        settled = record["settled_s"] or record["applied_s"]
        applied_ms = (record["applied_s"] - record["requested_s"]) * 1e3
        settled_ms = (settled - record["requested_s"]) * 1e3
        click.echo(
            f"{record['kind']} {record['target']}: applied after {applied_ms:.1f} ms, "
            f"settled in the datapath after {settled_ms:.1f} ms"
        )


@main.command()
@name_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@handles_errors
def status(name: str, as_json: bool) -> None:
    """Members, switches, connections on each node, counters."""
    answer = _request(name, "status")["status"]
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        from experiments.display.render import print_status

        print_status(answer)


@main.command()
@name_option
@handles_errors
def down(name: str) -> None:
    """Take the cluster away, all of it."""
    from experiments.running.launch import stop_cluster

    stop_cluster(name)
    click.echo(f"{name} is down")


@main.command()
@click.option("--quick", is_flag=True, help="Smaller sizes, one repetition.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.")
@click.option(
    "--only",
    metavar="FIGURE,...",
    help="Only these figures, e.g. bring-up,connections.",
)
@click.option(
    "--datapath",
    type=click.Choice(["all", "kernel", "userspace"]),
    default="all",
    show_default=True,
    help="Of ours and of the references; all: each that the machine has.",
)
@handles_errors
def bench(quick: bool, out: Path | None, only: str | None, datapath: str) -> None:
    """This testbed beside its references, in one run, on this machine.

    Prints ratios first; writes bench.json and the curves. Exit status 1: a figure does
    not reach what it must.
    """
    from experiments.bench.command import BenchError, launch_bench

    try:
        sys.exit(launch_bench(quick, out, only, datapath))
    except BenchError as error:
        raise BadInput(str(error)) from error


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def doctor(as_json: bool) -> None:
    """What this machine has and lacks, and what each lack costs."""
    from experiments.doctor.doctor import run_doctor

    sys.exit(run_doctor(as_json))


def _request(name: str, op: str, **args: Any) -> Any:
    """The reply of the cluster of that name. Exits with its status where it refuses."""
    from experiments.cluster import control
    from topologies.runs import find_run

    socket = find_run(name).directory / "control.sock"
    try:
        return control.request(socket, op, **args)
    except control.ControlError as error:
        kind = BadInput if error.status == EXIT_BAD_INPUT else click.ClickException
        raise kind(str(error)) from error
    except OSError as error:
        raise BadInput(f"{name} does not answer: {error}") from error
