"""Takes hosts and switches out of a running Mininet network, half-built ones too."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from typing import Any

from topologies.processes import processes_in_network
from topologies.scripts import run_script
from topologies.switches import ATTACH_TIMEOUT_S, IsolatedSwitch

#: Both ends of a cable go with either.
_UNPLUG = """
ovs-vsctl --timeout={timeout} --if-exists del-port {switch} {interface}
if ip link show dev {interface} >/dev/null 2>&1; then ip link del dev {interface}; fi
"""


def unplug(switch: Any, interface: str) -> None:
    """Takes a cable out of a switch that stays, if it is in it.

    Raises :class:`~topologies.scripts.ScriptError`.
    """
    script = _UNPLUG.format(
        timeout=ATTACH_TIMEOUT_S, switch=switch.name, interface=interface
    )
    run_script(switch, script)
    if interface in switch.nameToIntf:
        switch.delIntf(switch.nameToIntf[interface])


def remove(net: Any, names: Sequence[str]) -> None:
    """Ends those hosts and switches that there are, and all that runs in them.

    Raises :class:`TimeoutError` if a program does not end.
    """
    going = [net[name] for name in names if name in net]
    net.links = [
        link
        for link in net.links
        if link.intf1.node not in going and link.intf2.node not in going
    ]
    for element in going:
        _kill_programs(element)
        element.terminate()
        group = net.switches if element in net.switches else net.hosts
        group.remove(element)
        del net.nameToNode[element.name]
        if isinstance(element, IsolatedSwitch):
            # Its database knows the switch: one of the same name must not find it.
            shutil.rmtree(element.directory, ignore_errors=True)


def _kill_programs(element: Any) -> None:
    """Even those that nobody knows: a daemon of a switch that failed to come up."""
    while programs := [
        p for p in processes_in_network(element.pid) if p.pid != element.pid
    ]:
        for program in programs:
            program.send(signal.SIGKILL)
        if not all(program.wait(5.0) for program in programs):
            raise TimeoutError(f"{element.name}: a program does not end when killed")
