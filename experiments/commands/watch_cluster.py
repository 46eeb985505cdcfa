"""``./resetbed watch``: a running cluster or run, seen live."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from experiments.commands.cli_options import (
    DEFAULT_NAME,
    BadInput,
    UnmetRequirement,
    ending_options,
    handles_errors,
    name_option,
)

if TYPE_CHECKING:
    from experiments.watch.feed import Feed, WatchEnding


@click.command("watch")
@name_option
@click.option("--text", "as_text", is_flag=True, help="In this terminal, no browser.")
@click.option("--json", "as_json", is_flag=True, help="A JSON line for each change.")
@click.option(
    "--port",
    default=0,
    type=click.IntRange(0, 65535),
    help="TCP port of the page.  [default: the last one of this name]",
)
@ending_options("views")
@handles_errors
def command(
    name: str,
    as_text: bool,
    as_json: bool,
    port: int,
    count: int | None,
    for_s: float | None,
) -> None:
    """Watch a running cluster or run, live, in a browser.

    Prints the address of a page that only this machine can open. It shows connections,
    moved and half-open ones on each node, strays, resets and copies as they happen, the
    log, the latest reset, and a button for each event. Ends at Ctrl-C. The cluster may
    go and come back meanwhile.

    \b
      ./resetbed watch --for 5
      ./resetbed watch --text --for 5
      ./resetbed watch --json --for 5 >views.jsonl

    A run is watched by the name of its sandbox, e.g. run-4711; while no cluster runs, this
    command names it. docs/looking.md says what each key means.
    """
    from topologies.runs import check_name

    if as_text and as_json:
        raise BadInput("--text and --json: choose one")
    check_name(name)
    how = _print_lines if as_json else _draw if as_text else partial(_serve, port)
    _watch(name, how, count, for_s)


def _watch(
    name: str, how: Callable[..., None], count: int | None, for_s: float | None
) -> None:
    """Shows the feed of that name as ``how`` does."""
    from experiments.instruments.live_capture import wake_by_signals
    from experiments.watch.feed import Feed, WatchEnding
    from nodes.kernel.libbpf import BpfError

    option = "" if name == DEFAULT_NAME else f" --name {name}"
    woken = wake_by_signals((signal.SIGINT, signal.SIGTERM))
    reader = sys.stdout.fileno() if how is _print_lines else None
    try:
        feed = Feed(name, f"./resetbed up{option}")
    except (BpfError, OSError) as error:
        raise UnmetRequirement(f"{error}; see ./resetbed doctor") from error
    try:
        how(feed, WatchEnding(woken, reader, count, for_s))
    finally:
        feed.close()


def _draw(feed: Feed, ending: WatchEnding) -> None:
    from experiments.watch.watch_text import watch_in_terminal

    watch_in_terminal(feed, ending)


def _serve(port: int, feed: Feed, ending: WatchEnding) -> None:
    from experiments.watch.watch_server import serve_page

    def say(address: str) -> None:
        click.echo("open this in a browser of this machine; end with Ctrl-C", err=True)
        click.echo(address)

    try:
        serve_page(feed, ending, port, say)
    except OSError as error:
        raise BadInput(f"--port {port}: {error}; choose another one") from error


def _print_lines(feed: Feed, ending: WatchEnding) -> None:
    try:
        feed.run(lambda view: print(json.dumps(view), flush=True), ending)
    except BrokenPipeError:
        # The reader has all it wanted. What is left must not be flushed at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
