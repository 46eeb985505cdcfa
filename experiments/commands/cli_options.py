"""Options that commands share, and their errors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from experiments.files.disk_full import DiskFullError
from experiments.fleet.fleet_errors import AddressError, FleetError
from experiments.machine.requirements import RequirementMissing
from topologies.datapaths import DatapathMissing
from topologies.domain.link_options import LinkOptions, LinkOptionsError
from topologies.domain.plan import Plan, PlanError, is_member_name
from topologies.sandbox import AlreadyRunning, NotRunning, SandboxError

DEFAULT_NAME = "resetbed"

EXIT_BAD_INPUT = 2
EXIT_UNMET_REQUIREMENT = 3


class BadInput(click.ClickException):
    """Bad input: text on standard error, exit status 2."""

    exit_code = EXIT_BAD_INPUT


class UnmetRequirement(click.ClickException):
    """A missing requirement of the machine, with the remedy; exit status 3."""

    exit_code = EXIT_UNMET_REQUIREMENT


def handles_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that turns errors into :class:`BadInput` or :class:`UnmetRequirement`."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except AlreadyRunning as error:
            remedy = "choose another --name, or stop it first"
            raise BadInput(f"{error}; {remedy}") from error
        except (
            AddressError,
            PlanError,
            LinkOptionsError,
            NotRunning,
            SandboxError,
        ) as error:
            raise BadInput(str(error)) from error
        except DiskFullError as error:
            raise click.ClickException(str(error)) from error
        except FleetError as error:
            raise UnmetRequirement(str(error)) from error
        except (RequirementMissing, DatapathMissing) as error:
            raise UnmetRequirement(f"{error}; see ./resetbed doctor") from error

    return wrapped


def name_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option ``--name``, for commands about one cluster."""
    return click.option(
        "--name", default=DEFAULT_NAME, show_default=True, help="Name of the cluster."
    )(command)


def ending_options(what: str) -> Callable[..., Any]:
    """The options ``--count`` and ``--for``, of commands that look until they are ended.

    ``what`` is counted. The command gets ``count`` and ``for_s``, None where not given.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        seconds = click.FloatRange(min=0, min_open=True)
        for option in (
            click.option(
                "--for",
                "for_s",
                type=seconds,
                metavar="SECONDS",
                help="End after this time.",
            ),
            click.option(
                "--count",
                type=click.IntRange(min=1),
                help=f"End after this many {what}.",
            ),
        ):
            command = option(command)
        return command

    return add


def _choice(registry: str) -> Callable[..., Any]:
    """A validator for names of a registry, which is imported only when it is used."""

    def check(_context: Any, _parameter: Any, value: str | None) -> str | None:
        from experiments.commands.choices import choices

        if value is not None and value not in choices(registry):
            known = ", ".join(choices(registry))
            raise click.BadParameter(f"{value!r} is not one of: {known}")
        return value

    return check


def _weights(
    _context: Any, _parameter: Any, given: tuple[str, ...]
) -> dict[str, float]:
    """Parses several NAME=W into a mapping."""
    weights = {}
    for item in given:
        name, _, weight = item.partition("=")
        try:
            weights[name] = float(weight)
        except ValueError:
            weights[name] = -1.0
        if not is_member_name(name) or weights[name] <= 0:
            raise click.BadParameter(f"{item!r}: expected NAME=W, e.g. c1n2=0.5")
    return weights


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a cluster, for ``up`` and ``console``."""
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
                help="How stray segments are handled: drop, client-only, flood, ...",
            ),
            click.option(
                "--balancer",
                default="modulo",
                show_default=True,
                callback=_choice("balancer"),
                help="How buckets are assigned: modulo, rendezvous, maglev, ...",
            ),
            click.option(
                "--guard",
                default="auto",
                show_default=True,
                callback=_choice("guard"),
                help="The nodes' guard: ebpf, scapy, or auto for the best available.",
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
                help="Open vSwitch datapath: kernel, userspace, or auto (kernel if possible).",
            ),
        )
    ):
        command = option(command)
    return command


def healing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options for healing, for every command that starts a cluster."""
    within = click.option(
        "--heal-within",
        "heal_within_s",
        type=click.FloatRange(min=0.5),
        metavar="SECONDS",
        help="Bound within which every half-open connection is freed.  [default: 2]",
    )
    heal = click.option(
        "--heal",
        type=click.Choice(["on", "off"]),
        help="Free half-open connections also where a copy is lost or the client is "
        "silent.  [default: on if the policy sends copies]",
    )
    return heal(within(command))


def keys_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option ``--keys``, for commands about many machines."""
    return click.option(
        "--keys",
        "keys_folder",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of the keys (./resetbed cluster-keys).  [default: /etc/resetbed/keys]",
    )(command)


def datapath_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option ``--datapath`` of commands that run specs: it overrides the spec."""
    return click.option(
        "--datapath",
        callback=_choice("datapath"),
        help="Open vSwitch datapath: kernel, userspace, or auto (kernel if possible).",
    )(command)


def member_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options for weights, links and healing, for ``up`` and ``console``."""
    command = healing_options(command)
    for option in reversed(
        (
            click.option(
                "--weight",
                "weights",
                multiple=True,
                callback=_weights,
                metavar="NAME=W",
                help="Weight of a node or chassis, e.g. c1n2=0.5; for rendezvous, maglev.",
            ),
            click.option(
                "--buckets",
                type=int,
                help="Buckets of each switch's table.  [default: the balancer's own]",
            ),
            click.option(
                "--pins",
                type=click.IntRange(min=1),
                help="Connections that a switch can pin (stateful, jet).  [default: any]",
            ),
            click.option(
                "--server",
                "servers",
                multiple=True,
                metavar="KEY=VALUE",
                help="A setting of the nodes' servers, as under servers: in a spec, e.g. "
                "keepalive_s=60, slots=20.",
            ),
            click.option(
                "--rate-mbit", type=float, help="Maximum rate at which each host sends."
            ),
            click.option(
                "--delay-ms", type=float, help="Delay of each host's packets."
            ),
            click.option(
                "--loss-percent", type=float, help="Loss of each host's packets."
            ),
        )
    ):
        command = option(command)
    return command


def cluster_arguments(options: dict[str, Any]) -> tuple[Plan, dict[str, Any]]:
    """Checks the options of a command; returns the plan and the other options."""
    from controller.balancers import SizeError, WeightError, get_balancer
    from controller.policies import require_pins

    heal, within_s = options.pop("heal"), options.pop("heal_within_s")
    if heal is not None:
        options["heal"] = heal == "on"
    if within_s is not None:
        options["heal_within_s"] = within_s
    plan = Plan.build(*(options.pop(size) for size in ("chassis", "nodes", "clients")))
    keys = ("rate_mbit", "delay_ms", "loss_percent")
    links = LinkOptions(**{key: options.pop(key) for key in keys})
    try:
        get_balancer(options["balancer"], options["weights"], options["buckets"])
    except WeightError as error:
        raise BadInput(f"--weight: {error}") from error
    except SizeError as error:
        raise BadInput(f"--buckets: {error}") from error
    if options["pins"] is not None:
        try:
            require_pins(options["policy"])
        except LookupError as error:
            raise BadInput(f"--pins: {error}") from error
    options["servers"] = _server_settings(options["workload"], options["servers"])
    return plan, {**options, "links": links.to_json()}


def _server_settings(workload: str, given: Sequence[str]) -> dict[str, int | float]:
    """Several KEY=VALUE, checked as those under ``servers:`` of a spec."""
    if not given:
        return {}
    from experiments.spec.spec_file import SpecError, spec_of

    try:
        spec = spec_of(
            {"workload": {"kind": workload}}, [f"servers.{item}" for item in given]
        )
    except SpecError as error:
        text = str(error).removeprefix("spec: ").removeprefix("--set").lstrip(": ")
        raise BadInput(f"--server: {text}") from error
    return dict(spec.servers.settings.given())


def spec_overrides(
    datapath: str | None = None,
    heal: str | None = None,
    heal_within_s: float | None = None,
) -> tuple[str, ...]:
    """These options as ``KEY=VALUE`` of a spec; those that were not given are left out."""
    given = {
        "cluster.datapath": datapath,
        "heal": heal,
        "heal_within_s": heal_within_s,
    }
    return tuple(f"{key}={value}" for key, value in given.items() if value is not None)


def many_machines(scheduler: str, keys_folder: Path | None, patience_s: float) -> Any:
    """The machines of a scheduler, for a sweep. Installs Dask if it is missing."""
    from experiments.fleet.addresses import find_address
    from experiments.fleet.dask_extra import require_dask
    from experiments.fleet.tls_keys import find_keys
    from experiments.sweep.many_machines import ManyMachines

    address = find_address(scheduler)
    require_dask()
    return ManyMachines(address, find_keys(address, keys_folder), patience_s)
