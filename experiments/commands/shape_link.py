"""``./resetbed link``: a running host's link gets worse, or recovers."""

from __future__ import annotations

import click

from experiments.commands.ask_cluster import request
from experiments.commands.cli_options import handles_errors, name_option


@click.command("link")
@name_option
@click.argument("hosts", nargs=-1, required=True, metavar="HOST ...")
@click.option("--rate-mbit", type=float, help="Maximum rate at which the host sends.")
@click.option("--delay-ms", type=float, help="Delay of what the host sends.")
@click.option("--loss-percent", type=float, help="Loss of what the host sends.")
@handles_errors
def command(
    name: str,
    hosts: tuple[str, ...],
    rate_mbit: float | None,
    delay_ms: float | None,
    loss_percent: float | None,
) -> None:
    """Shape what running hosts send, from now on. What is not given is off.

    A host is a client or a node. Its link is shaped once each way, by who sends: a delay of
    both ends of a connection counts twice in a round trip. Exit status 3: this kernel lacks
    what it takes (delay and loss need sch_netem, a rate sch_tbf).

    \b
      ./resetbed link h1 --rate-mbit 100
      ./resetbed link c1n1 c1n2 --delay-ms 5 --loss-percent 1
      ./resetbed link h1 c1n1 c1n2
    """
    from experiments.doctor.link_requirements import require
    from topologies.domain.link_options import LinkOptions
    from topologies.runs import find_run

    find_run(name)
    link = LinkOptions(rate_mbit, delay_ms, loss_percent)
    require(link)
    request(name, "link", hosts=hosts, options=link.to_json())
    shaped = [f"{key} {value:g}" for key, value in link.to_json().items() if value]
    for host in hosts:
        click.echo(f"link {host}: {', '.join(shaped) or 'not shaped'}")
