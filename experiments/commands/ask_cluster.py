"""Requests of commands to a running cluster."""

from __future__ import annotations

from typing import Any

import click

from experiments.commands.cli_options import EXIT_BAD_INPUT, BadInput


def request(name: str, op: str, **args: Any) -> Any:
    """Sends a request to the cluster of that name; returns its reply.

    An error of the cluster becomes a command-line error with the same exit status.
    """
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
