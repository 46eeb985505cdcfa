"""The cost of pinning: learned connections and memory of each switch."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from controller.flows.flow_tables import Table
from experiments.cluster.live_cluster import Cluster
from topologies.switches import OVS_DIRECTORY

_DEADLINE_S = 10


def pin_cost(cluster: Cluster) -> dict[str, Any] | None:
    """For each switch: ``entries`` learned, ``rss_kib`` of its ovs-vswitchd, and
    ``memory``, its memory report. None if the policy pins nothing.

    Raises ``CalledProcessError`` if a switch does not answer.
    """
    if not cluster.state.policy.pins:
        return None
    switches = cluster.live_switches()
    return {
        "entries": {name: _entries(name) for name in switches},
        "rss_kib": {name: _resident_kib(name) for name in switches},
        "memory": {name: _memory(name) for name in switches},
    }


def _entries(switch: str) -> int:
    target = f"unix:{OVS_DIRECTORY}/{switch}/{switch}.mgmt"
    table = f"table={int(Table.LEARNED)}"
    output = _output("ovs-ofctl", "-OOpenFlow14", "dump-aggregate", target, table)
    return int(_number(r"flow_count=(\d+)", output))


def _memory(switch: str) -> dict[str, int]:
    """``memory/show`` of ovs-vswitchd: ``handlers:1 ofconns:2 rules:24 ...``."""
    control = f"{OVS_DIRECTORY}/{switch}/vswitchd.ctl"
    output = _output("ovs-appctl", "-t", control, "memory/show")
    return {key: int(value) for key, value in re.findall(r"([\w-]+):(\d+)", output)}


def _resident_kib(switch: str) -> int:
    pid = Path(f"{OVS_DIRECTORY}/{switch}/ovs-vswitchd.pid").read_text().strip()
    return int(_number(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()))


def _number(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if not match:
        raise ValueError(f"no {pattern} in {text!r}")
    return match[1]


def _output(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=_DEADLINE_S
    )
    return done.stdout
