"""What commands have in common: their options, and how they refuse what cannot be."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from experiments.machine.lack import MachineLacks
from topologies.datapaths import DatapathMissing
from topologies.domain.plan import Plan, PlanError, is_member_name
from topologies.sandbox import AlreadyRunning, NotRunning, SandboxError
from topologies.shaping import LinkOptions, LinkOptionsError

DEFAULT_NAME = "resetbed"

EXIT_BAD_INPUT = 2
EXIT_UNMET_REQUIREMENT = 3


class BadInput(click.ClickException):
    """Input that cannot be used: its text on standard error, exit status 2."""

    exit_code = EXIT_BAD_INPUT


class UnmetRequirement(click.ClickException):
    """What this machine cannot do: why and the remedy, exit status 3."""

    exit_code = EXIT_UNMET_REQUIREMENT


def handles_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turns the errors that input can cause into :class:`BadInput`.

    And those of a machine that lacks something into :class:`UnmetRequirement`.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except AlreadyRunning as error:
            remedy = "choose another --name, or take it down first"
            raise BadInput(f"{error}; {remedy}") from error
        except (PlanError, LinkOptionsError, NotRunning, SandboxError) as error:
            raise BadInput(str(error)) from error
        except (MachineLacks, DatapathMissing) as error:
            raise UnmetRequirement(f"{error}; see ./resetbed doctor") from error

    return wrapped


def name_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option ``--name``, for commands about one cluster."""
    return click.option(
        "--name", default=DEFAULT_NAME, show_default=True, help="Name of the cluster."
    )(command)


def _choice(registry: str) -> Callable[..., Any]:
    """A validator against a registry that is only imported when the option is used."""

    def check(_context: Any, _parameter: Any, value: str) -> str:
        from experiments.commands.choices import choices

        if value not in choices(registry):
            known = ", ".join(choices(registry))
            raise click.BadParameter(f"{value!r} is not one of: {known}")
        return value

    return check


def _weights(
    _context: Any, _parameter: Any, given: tuple[str, ...]
) -> dict[str, float]:
    """NAME=W, several times, as a mapping."""
    found = {}
    for item in given:
        name, _, weight = item.partition("=")
        try:
            found[name] = float(weight)
        except ValueError:
            found[name] = -1.0
        if not is_member_name(name) or found[name] <= 0:
            raise click.BadParameter(f"{item!r}: expected NAME=W, e.g. c1n2=0.5")
    return found


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that shape a cluster, for ``up`` and ``console``."""
    for option in reversed(
        (
            click.option("--chassis", default=2, show_default=True, help="Chassis."),
            click.option(
                "--nodes", default=3, show_default=True, help="Nodes in each chassis."
            ),
            click.option("--clients", default=2, show_default=True, help="Clients."),
            click.option(
                "--reset",
                "--policy",
                "policy",
                default="flood",
                show_default=True,
                callback=_choice("policy"),
                help="What becomes of a stray segment: drop, client-only, flood, ...",
            ),
            click.option(
                "--balancer",
                default="modulo",
                show_default=True,
                callback=_choice("balancer"),
                help="How buckets get members: modulo, rendezvous, maglev, ...",
            ),
            click.option(
                "--guard",
                default="auto",
                show_default=True,
                callback=_choice("guard"),
                help="The nodes' guard: ebpf, scapy, or the best there can be.",
            ),
            click.option(
                "--workload",
                default="nbd",
                show_default=True,
                callback=_choice("workload"),
                help="The storage server on the nodes: nbd, iscsi, http, echo, ...",
            ),
            click.option(
                "--datapath",
                default="auto",
                show_default=True,
                callback=_choice("datapath"),
                help="Open vSwitch's: kernel, userspace, or the kernel's if it has one.",
            ),
        )
    ):
        command = option(command)
    return command


def member_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What members count and what links do, for ``up`` and ``console``."""
    for option in reversed(
        (
            click.option(
                "--weight",
                "weights",
                multiple=True,
                callback=_weights,
                metavar="NAME=W",
                help="What a node or chassis counts, e.g. c1n2=0.5; for rendezvous.",
            ),
            click.option(
                "--rate-mbit", type=float, help="Rate at which each host can send."
            ),
            click.option(
                "--delay-ms", type=float, help="Delay of what each host sends."
            ),
            click.option(
                "--loss-percent", type=float, help="Loss of what each host sends."
            ),
        )
    ):
        command = option(command)
    return command


def cluster_arguments(options: dict[str, Any]) -> tuple[Plan, dict[str, Any]]:
    """The plan of a cluster and its other options, checked, from the command's."""
    from controller.balancers import WeightError, get_balancer

    plan = Plan.build(*(options.pop(size) for size in ("chassis", "nodes", "clients")))
    keys = ("rate_mbit", "delay_ms", "loss_percent")
    links = LinkOptions(**{key: options.pop(key) for key in keys})
    try:
        get_balancer(options["balancer"], options["weights"])
    except WeightError as error:
        raise BadInput(f"--weight: {error}") from error
    return plan, {**options, "links": links.to_json()}
