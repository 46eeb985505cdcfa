"""``./resetbed export``: the wires of a cluster for other tools."""

from __future__ import annotations

import click

from experiments.commands.cli_options import handles_errors

FORMAT_NAMES = ("dot", "mermaid", "containerlab")


@click.command("export")
@click.option(
    "--format", "format_", type=click.Choice(FORMAT_NAMES), required=True,
    help="dot: Graphviz. mermaid: Markdown. containerlab: a *.clab.yml.",
)  # fmt: skip
@click.option("--chassis", default=2, show_default=True, help="Number of chassis.")
@click.option("--nodes", default=3, show_default=True, help="Nodes of each chassis.")
@click.option("--clients", default=2, show_default=True, help="Number of clients.")
@handles_errors
def command(format_: str, chassis: int, nodes: int, clients: int) -> None:
    """Print a cluster's topology for another tool. Builds nothing.

    \b
      ./resetbed export --format dot --nodes 4 >cluster.dot
      ./resetbed export --format mermaid
      ./resetbed export --format containerlab --chassis 3 >resetbed.clab.yml
    """
    from experiments.export.formats import FORMATS
    from topologies.domain.plan import Plan

    click.echo(FORMATS[format_](Plan.build(chassis, nodes, clients)), nl=False)
