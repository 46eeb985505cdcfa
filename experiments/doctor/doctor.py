"""``resetbed doctor``: which requirements this machine meets, and what a missing one costs.

:func:`inspect_machine` returns findings. :func:`diagnose` is pure: findings in, results
out.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.doctor import kernel_probes
from experiments.machine import machine
from experiments.machine.machine import Finding, State
from topologies.datapaths import DatapathMissing, find_datapath

#: Exit status of a machine on which nothing can run.
CANNOT_RUN = 3


class Importance(str, Enum):
    """How important a requirement is."""

    EVERYTHING = "everything"
    SUITE = "suite"
    CHOICE = "choice"


@dataclass(frozen=True)
class Check:
    """One requirement that is checked.

    ``cost`` completes "without it, ...". ``instead``: the name of a check that replaces
    this one if it is present.
    """

    name: str
    group: str
    importance: Importance
    cost: str
    instead: str | None = None


@dataclass(frozen=True)
class CheckResult:
    """The result of a check: finding and consequence."""

    check: Check
    finding: Finding
    fatal: bool

    @property
    def blocks_suite(self) -> bool:
        """Whether tests on a live cluster cannot pass on this machine."""
        is_missing = self.finding.state is State.MISSING
        return self.fatal or (is_missing and self.check.importance is Importance.SUITE)

    def to_json(self) -> dict[str, Any]:
        """The result as ``resetbed doctor --json`` prints it."""
        return {
            "name": self.check.name,
            "group": self.check.group,
            "state": self.finding.state.value,
            "detail": self.finding.detail,
            "cost": self.check.cost,
            "fatal": self.fatal,
        }


_ALL, _SUITE, _CHOICE = Importance.EVERYTHING, Importance.SUITE, Importance.CHOICE
_KERNEL, _SWITCH, _TOOLS = "kernel", "switches", "tools"
_PYTHON, _SIZE = "Python", "size"

CHECKS: tuple[Check, ...] = (
    Check("namespaces", _KERNEL, _ALL, "no cluster can be built"),
    Check("virtual links", _KERNEL, _ALL, "no host can be wired"),
    Check(
        "socket probes", _KERNEL, _SUITE, "no runs: socket events cannot be recorded"
    ),
    Check("guard program", _KERNEL, _SUITE, "only the slow scapy guard"),
    Check("socket destroy", _KERNEL, _SUITE, "a failed node cannot lose its state"),
    Check("BTF", _KERNEL, _SUITE, "no socket probes: they read kernel structures"),
    Check("nftables", _KERNEL, _SUITE, "no scapy guard"),
    Check("sch_netem", _KERNEL, _CHOICE, "no links with delay_ms or loss_percent"),
    Check("sch_htb", _KERNEL, _CHOICE, "no links of Mininet with a bandwidth"),
    Check("sch_tbf", _KERNEL, _CHOICE, "no links with rate_mbit"),
    Check(
        *("userspace datapath", _SWITCH, _ALL, "no switch, unless in the kernel"),
        instead="kernel datapath",
    ),
    Check("kernel datapath", _SWITCH, _CHOICE, "switches run in user space: slower"),
    Check("AF_XDP", _SWITCH, _CHOICE, "no AF_XDP ports"),
    Check("ovs-vswitchd", _TOOLS, _ALL, "no switch"),
    Check("ovsdb-server", _TOOLS, _ALL, "no switch"),
    Check("mininet", _TOOLS, _ALL, "no cluster can be built"),
    Check("unshare", _TOOLS, _ALL, "no sandbox"),
    Check("nsenter", _TOOLS, _ALL, "no command on a host"),
    Check("ip", _TOOLS, _ALL, "no host can be wired"),
    Check("tc", _TOOLS, _SUITE, "no eBPF guard, no shaped links"),
    Check("ss", _TOOLS, _SUITE, "a failed node cannot lose its state"),
    Check("clang", _TOOLS, _SUITE, "only the slow scapy guard"),
    Check("libbpf", _TOOLS, _SUITE, "only the slow scapy guard"),
    Check("nbdkit", _TOOLS, _SUITE, "no nbd workload, which is the default"),
    Check("libnbd", _TOOLS, _SUITE, "no nbd workload, which is the default"),
    Check("fio", _TOOLS, _SUITE, "no fio workload"),
    Check("ethtool", _TOOLS, _SUITE, "links' offloads cannot be seen"),
    Check("tcpdump", _TOOLS, _SUITE, "no manual captures on hosts"),
    Check("nft", _TOOLS, _SUITE, "no scapy guard"),
    Check("bpftool", _TOOLS, _CHOICE, "eBPF programs cannot be inspected"),
    *(
        Check(name, _PYTHON, _ALL, "the command does not start")
        for name in machine.required_packages()
    ),
    Check("Ryu", _PYTHON, _CHOICE, "the controller runs under os-ken only"),
    Check("open files", _SIZE, _CHOICE, "fewer connections than a scenario may ask"),
    Check("cores", _SIZE, _CHOICE, "slower, and runs may be marked as saturated"),
    Check("memory", _SIZE, _CHOICE, "large clusters may not fit"),
)

#: Functions of the checks, except for those of :mod:`~experiments.doctor.kernel_probes`.
_INSPECTORS: dict[str, Callable[[], Finding]] = {
    "mininet": machine.mininet,
    "libnbd": machine.libnbd,
    "libbpf": machine.libbpf,
    "BTF": machine.type_information,
    "Ryu": machine.ryu,
    "open files": machine.open_files,
    "cores": machine.cores,
    "memory": machine.memory,
}


def diagnose(
    found: Mapping[str, Finding], checks: Sequence[Check] = CHECKS
) -> tuple[CheckResult, ...]:
    """One result per check, in order, from findings by the checks' names.

    Raises :class:`KeyError` for a check without a finding.
    """
    return tuple(
        CheckResult(check, found[check.name], _is_fatal(check, found))
        for check in checks
    )


def _is_fatal(check: Check, found: Mapping[str, Finding]) -> bool:
    is_missing = found[check.name].state is State.MISSING
    spare = check.instead and found[check.instead].state is State.PRESENT
    return is_missing and check.importance is Importance.EVERYTHING and not spare


def inspect_machine(checks: Sequence[Check] = CHECKS) -> dict[str, Finding]:
    """Run all checks, in about a second. Cleans up."""
    probed = kernel_probes.probe_all()
    return {check.name: probed.get(check.name) or _inspect(check) for check in checks}


def _inspect(check: Check) -> Finding:
    if check.name in _INSPECTORS:
        return _INSPECTORS[check.name]()
    if check.group == _PYTHON:
        return machine.python_package(check.name)
    return machine.tool(check.name)


@functools.cache
def _inspected() -> Mapping[str, Finding]:
    """The findings of :func:`inspect_machine`, cached for this process."""
    return inspect_machine()


def is_missing(name: str) -> bool:
    """Whether the requirement of that check is missing here. Needs root."""
    return _inspected()[name].state is State.MISSING


@functools.cache
def suite_blockers() -> tuple[str, ...]:
    """Why live tests cannot pass here, one line per reason; empty if they can."""
    if os.geteuid() != 0:
        return ("needs root",)
    return tuple(
        f"{result.check.name}: {result.finding.detail}"
        for result in diagnose(_inspected())
        if result.blocks_suite
    )


def exit_status(results: Sequence[CheckResult]) -> int:
    """0, or :data:`CANNOT_RUN` if something required by everything is missing."""
    return CANNOT_RUN if any(result.fatal for result in results) else 0


def run_doctor(as_json: bool = False) -> int:
    """Inspect the machine and print the results. Returns the exit status."""
    results = diagnose(inspect_machine())
    if as_json:
        shown = {
            "schema": 1,
            "can_run": exit_status(results) == 0,
            "datapath": datapath(),
            "checks": [result.to_json() for result in results],
        }
        print(json.dumps(shown, indent=2))
    else:
        console = Console()
        console.print(_table(results))
        chosen = datapath()
        console.print(f"\ndatapath auto: {chosen['name'] or 'none'}, {chosen['why']}")
        console.print(_summary(results))
    return exit_status(results)


def datapath() -> dict[str, str | None]:
    """The datapath that ``auto`` means here, and ``why``; ``name`` None: there is none."""
    if os.geteuid() != 0:
        return {"name": None, "why": "unknown without root"}
    try:
        return {**find_datapath().to_json()}
    except DatapathMissing as error:
        return {"name": None, "why": str(error)}


_MARKS = {
    State.PRESENT: "[green]yes[/]",
    State.MISSING: "[yellow]no[/]",
    State.UNKNOWN: "[dim]?[/]",
}


def _table(results: Sequence[CheckResult]) -> Table:
    table = Table("", "has", "", "found", "without it", box=None, pad_edge=False)
    group = ""
    for result in results:
        check, finding = result.check, result.finding
        if group and check.group != group:
            table.add_row()
        table.add_row(
            f"[bold]{check.group}[/]" if check.group != group else "",
            check.name,
            "[red]no[/]" if result.fatal else _MARKS[finding.state],
            finding.detail,
            "" if finding.state is State.PRESENT else check.cost,
        )
        group = check.group
    return table


def _summary(results: Sequence[CheckResult]) -> str:
    fatal = [result.check.name for result in results if result.fatal]
    if fatal:
        return f"\n[red]Nothing can run here.[/] Missing: {', '.join(fatal)}."
    if any(result.finding.state is State.UNKNOWN for result in results):
        return "\nItems marked ? need root: sudo ./resetbed doctor"
    if any(result.blocks_suite for result in results):
        return "\nClusters can run here. Some features cannot: see above."
    return "\nThis machine meets all requirements of the testbed."
