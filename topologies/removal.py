"""Removes hosts and switches, even half-built ones, from a running Mininet network."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from typing import Any

from topologies.scripts import run_script
from topologies.switches import ATTACH_TIMEOUT_S, IsolatedSwitch

#: Deleting one end of a link deletes both.
_UNPLUG = """
ovs-vsctl --timeout={timeout} --if-exists del-port {switch} {interface}
if ip link show dev {interface} >/dev/null 2>&1; then ip link del dev {interface}; fi
"""


def unplug(switch: Any, interface: str) -> None:
    """Remove a link from a switch that stays, if it has it.

    Raises :class:`~topologies.scripts.ScriptError`.
    """
    script = _UNPLUG.format(
        timeout=ATTACH_TIMEOUT_S, switch=switch.name, interface=interface
    )
    run_script(switch, script)
    if interface in switch.nameToIntf:
        switch.delIntf(switch.nameToIntf[interface])


def remove(net: Any, names: Sequence[str]) -> None:
    """End those of the hosts and switches that exist, and all that runs in them.

    Raises :class:`TimeoutError` if a program does not end.
    """
    removed = [net[name] for name in names if name in net]
    net.links = [
        link
        for link in net.links
        if link.intf1.node not in removed and link.intf2.node not in removed
    ]
    for element in removed:
        _kill_programs(element)
        element.terminate()
        group = net.switches if element in net.switches else net.hosts
        group.remove(element)
        del net.nameToNode[element.name]
        if isinstance(element, IsolatedSwitch):
            # Its database has the switch: a new one of the same name must not load it.
            shutil.rmtree(element.directory, ignore_errors=True)


def _kill_programs(element: Any) -> None:
    """Also unrecorded ones, such as a daemon of a switch that failed to start."""
    while programs := list(element.programs()):
        for program in programs:
            program.send(signal.SIGKILL)
        if not all(program.wait(5.0) for program in programs):
            raise TimeoutError(f"{element.name}: a killed program does not end")
