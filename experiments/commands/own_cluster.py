"""The commands for a cluster of one's own: up, console, exec, event, status, down."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from experiments.commands.ask_cluster import request
from experiments.commands.cli_options import (
    cluster_arguments,
    cluster_options,
    handles_errors,
    member_options,
    name_option,
)


@click.command()
@name_option
@cluster_options
@member_options
@handles_errors
def up(name: str, **size: Any) -> None:
    """Start a cluster in the background. Returns when it serves.

    \b
      ./resetbed up
      ./resetbed up --chassis 3 --nodes 4 --clients 2 --reset flood --workload echo
    """
    from experiments.running.launch import launch_up

    sys.exit(launch_up(name, *cluster_arguments(size)))


@click.command()
@name_option
@cluster_options
@member_options
@handles_errors
def console(name: str, **size: Any) -> None:
    """Run a cluster in the foreground, with Mininet's command line.

    Beside Mininet's commands there are pingall, members, connections, halfopen and the
    membership events.

    \b
      ./resetbed console --nodes 2
    """
    from experiments.running.launch import launch_console

    sys.exit(launch_console(name, *cluster_arguments(size)))


@click.command("exec", context_settings={"ignore_unknown_options": True})
@name_option
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@handles_errors
def execute(name: str, host: str, command: tuple[str, ...]) -> None:
    """Run a command on a host of the cluster. Exits with the command's status.

    \b
      ./resetbed exec h1 -- nbdinfo nbd://10.0.0.1
      ./resetbed exec c1n2 -- ss -tn
    """
    from topologies.sandbox import host_command

    argv = host_command(name, host, list(command))
    os.execvp(argv[0], argv)


@click.command()
@name_option
@click.argument("events", nargs=-1, required=True, metavar="KIND TARGET ...")
@handles_errors
def event(name: str, events: tuple[str, ...]) -> None:
    """Cause a membership event. Returns when the switches have applied it.

    Several events on one command line are applied together, as one change.

    \b
      ./resetbed event drain-node c1n2
      ./resetbed event restore-node c1n2 fail-node c2n1

    \b
      drain-node c1n2      fail-node c1n2      restore-node c1n2    add-node c2
      fail-chassis c2      restore-chassis c2  add-chassis c3
      uplink-down c2       uplink-up c2        reseed fabric (or c2, or all)
    """
    for record in request(name, "events", words=events)["events"]:
        settled = record["settled_s"] or record["applied_s"]
        applied_ms = (record["applied_s"] - record["requested_s"]) * 1e3
        settled_ms = (settled - record["requested_s"]) * 1e3
        click.echo(
            f"{record['kind']} {record['target']}: applied after {applied_ms:.1f} ms, "
            f"settled in the datapath after {settled_ms:.1f} ms"
        )


@click.command()
@name_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@handles_errors
def status(name: str, as_json: bool) -> None:
    """Show members, switches, connections on each node, and counters.

    \b
      ./resetbed status
      ./resetbed status --json
    """
    answer = request(name, "status")["status"]
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        from experiments.display.render import print_status

        print_status(answer)


@click.command()
@name_option
@handles_errors
def down(name: str) -> None:
    """Remove the cluster.

    \b
      ./resetbed down
    """
    from experiments.running.launch import stop_cluster

    stop_cluster(name)
    click.echo(f"{name} is down")
