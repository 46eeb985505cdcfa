"""``./resetbed capture``: what passes a host or a link of a running cluster."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import click

from experiments.commands.cli_options import (
    BadInput,
    ending_options,
    handles_errors,
    name_option,
)


@click.command("capture")
@name_option
@click.argument("target", metavar="HOST[:INTERFACE]|LINK[,...]")
@click.argument("words", nargs=-1, metavar="[FILTER]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file instead of standard output.",
)
@ending_options("frames")
@handles_errors
def command(
    name: str,
    target: str,
    words: tuple[str, ...],
    output: Path | None,
    count: int | None,
    for_s: float | None,
) -> None:
    """Capture the frames of a host or a link, as pcapng.

    HOST is a client, a node, or a switch (each of its ports). LINK is the names of its two
    ends. FILTER is that of tcpdump (pcap-filter(7)). Ends at Ctrl-C, when the reader has
    gone, and with the cluster.

    \b
      ./resetbed capture c1n2 | wireshark -k -i -
      ./resetbed capture c1-fabric,h1 tcp port 10809 -o both.pcapng --for 5
      ./resetbed capture fabric --for 5 'tcp[tcpflags] & tcp-rst != 0' >resets.pcapng

    docs/looking.md has the Wireshark dissector for what the frames mean here.
    """
    from experiments.instruments.capture_targets import TargetError
    from experiments.instruments.live_capture import FilterSyntaxError

    if output is None and sys.stdout.isatty():
        raise BadInput(
            "standard output is a terminal: write to a file (-o FILE), or to a program, "
            f"e.g. ./resetbed capture {target} | wireshark -k -i -"
        )
    try:
        _capture(name, target, " ".join(words), output, count, for_s)
    except BrokenPipeError:
        # The reader has all it wanted. What is left must not be flushed at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except FilterSyntaxError as error:
        raise BadInput(f"FILTER: {error}") from error
    except (TargetError, OSError) as error:
        raise BadInput(str(error)) from error


def _capture(
    name: str,
    target: str,
    filter_: str,
    output: Path | None,
    count: int | None,
    for_s: float | None,
) -> None:
    """Captures, and says how many frames were written. Writes nothing before all is known."""
    from experiments.files.handover import chown_to_caller
    from experiments.instruments import live_capture
    from experiments.instruments.capture_targets import sites
    from topologies.runs import find_run
    from topologies.sandbox import read_hosts

    run, hosts = find_run(name), read_hosts(name)
    found = live_capture.interfaces_at(sites(target, hosts), hosts, run.proc)
    program = live_capture.compiled(filter_)
    woken = live_capture.wake_by_signals((signal.SIGINT, signal.SIGTERM))
    names = ", ".join(one.label for one in found)
    click.echo(f"capturing {names}; end with Ctrl-C", err=True)
    with ExitStack() as files:
        stream: IO[bytes] = sys.stdout.buffer
        if output is not None:
            stream = files.enter_context(open(output, "wb"))
        ending = live_capture.Ending(
            cluster=os.pidfd_open(run.init.pid),
            reader=stream.fileno(),
            woken=woken,
            count=count,
            for_s=for_s,
        )
        rings = live_capture.opened(found, run.proc, program)
        written = live_capture.capture(found, rings, filter_, stream, ending)
    if output is not None:
        chown_to_caller(output.absolute())
    click.echo(f"{written} frames captured", err=True)
