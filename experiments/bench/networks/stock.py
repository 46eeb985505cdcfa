"""The stock reference: stock Mininet, with all hosts on one learning bridge.

It uses Mininet's own classes: ``OVSBridge`` with the measured datapath, on an Open
vSwitch started as distributions do, and hosts with one address each. Only Mininet's
change of machine-wide limits is left out (``Mininet.inited``).
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mininet.net import Mininet
from mininet.node import OVSBridge
from mininet.topo import Topo

from experiments.bench.basis.bench_network import ECHO_PORT
from nodes.servers.server_ready import wait_listening
from topologies.datapaths import KERNEL, USERSPACE
from topologies.domain.plan import Plan
from topologies.port_buffers import count_dropped

_RUN = "/run/openvswitch"
_DATABASE = f"unix:{_RUN}/db.sock"
#: As Debian's ovs-ctl starts them, with files in the sandbox's own /run/openvswitch.
_START_OVS = f"""
ovsdb-tool create {_RUN}/conf.db
ovsdb-server {_RUN}/conf.db --remote=p{_DATABASE} --pidfile --detach --no-chdir \\
    --log-file={_RUN}/ovsdb-server.log -vconsole:off -vsyslog:off
ovs-vsctl --no-wait init
"""
_START_VSWITCHD = f"""
ovs-vswitchd {_DATABASE} --pidfile --detach --no-chdir \\
    --log-file={_RUN}/ovs-vswitchd.log -vconsole:off -vsyslog:off
"""
_TSO = "ovs-vsctl --no-wait set Open_vSwitch . other_config:userspace-tso-enable=true\n"
READY_S = 60.0

#: Description of the reference for throughput and round trips, by datapath.
BRIDGE = {
    KERNEL: "one learning bridge, as many hosts, kernel datapath",
    USERSPACE: "one learning bridge with userspace-tso, as many hosts",
}
#: Mininet's names of the datapaths.
_MININETS = {KERNEL: "kernel", USERSPACE: "user"}


class _OneBridge(Topo):  # type: ignore[misc]
    """Clients and servers on one bridge."""

    def build(
        self, clients: int = 1, servers: int = 1, datapath: str = USERSPACE
    ) -> None:
        self.addSwitch("s1", cls=OVSBridge, datapath=_MININETS[datapath])
        for name in host_names(clients, servers):
            self.addLink(self.addHost(name), "s1")


def host_names(clients: int, servers: int) -> list[str]:
    """Clients are h1, h2, ...; servers are n1, n2, ..."""
    return [
        *(f"h{i}" for i in range(1, clients + 1)),
        *(f"n{i}" for i in range(1, servers + 1)),
    ]


class StockNetwork:
    """One bridge with as many hosts as the array."""

    def __init__(self, plan: Plan, folder: Path, datapath: str, tso: bool) -> None:
        """Bring it up. ``tso``: offloads of the hosts stay on, as in our network.

        With the kernel datapath they always do.
        """
        plain = datapath == USERSPACE and not tso
        Mininet.inited = True
        _shell(_START_OVS + (_TSO if tso else "") + _START_VSWITCHD)
        clients, servers = len(plan.clients), sum(1 for _ in plan.nodes)
        names = host_names(clients, servers)
        self.clients: Sequence[str] = names[:clients]
        self.servers: Sequence[str] = names[clients:]
        begun = time.monotonic()
        topo = _OneBridge(clients=clients, servers=servers, datapath=datapath)
        self._net: Any = Mininet(topo=topo, controller=None)
        self._net.start()
        self.steps = {"Mininet: hosts, links, one bridge": time.monotonic() - begun}
        self._programs: list[subprocess.Popen[bytes]] = []
        self._dropped = 0
        if plain:
            self._switch_off_checksum_offload()
        self._serve(folder)

    def pid(self, host: str) -> int:
        """The shell process of that host."""
        pid: int = self._net[host].pid
        return pid

    def targets(self) -> Sequence[str]:
        """The addresses of all servers."""
        return [self._net[name].IP() for name in self.servers]

    def server_of(self, client: str, port: int, target: str, source_port: int) -> str:
        """The server with that address."""
        return self.servers[self.targets().index(target)]

    def dropped(self) -> int:
        """Frames lost at ports of the bridge so far."""
        pid = int(Path(_RUN, "ovs-vswitchd.pid").read_text())
        self._dropped += count_dropped(pid)
        return self._dropped

    def close(self) -> None:
        """Stop servers and network. The rest ends with the sandbox."""
        for program in self._programs:
            program.kill()
        self._net.stop()

    def _switch_off_checksum_offload(self) -> None:
        """Without this, a userspace bridge without TSO drops the hosts' packets."""
        for name in (*self.clients, *self.servers):
            pid, interface = self.pid(name), f"{name}-eth0"
            _shell(f"nsenter --net=/proc/{pid}/ns/net ethtool -K {interface} tx off")

    def _serve(self, folder: Path) -> None:
        """Start the same echo server on every host as in our network."""
        program = (
            Path(__file__).resolve().parents[3] / "nodes" / "servers" / "echo_server.py"
        )
        with (folder / "servers.log").open("ab") as log:
            for name in self.servers:
                enter = ["mnexec", "-a", str(self.pid(name))]
                argv = [*enter, sys.executable, str(program), f"--port={ECHO_PORT}"]
                self._programs.append(subprocess.Popen(argv, stdout=log, stderr=log))
        for name in self.servers:
            wait_listening(self.pid(name), ECHO_PORT, READY_S)


def open_stock(plan: Plan, folder: Path, datapath: str) -> StockNetwork:
    """Stock settings: plain ports in user space."""
    return StockNetwork(plan, folder, datapath, tso=False)


def open_stock_tso(plan: Plan, folder: Path, datapath: str) -> StockNetwork:
    """The same with userspace-tso-enable, for bulk throughput and round trips."""
    return StockNetwork(plan, folder, datapath, tso=True)


def _shell(script: str) -> None:
    """Run it to its end. Raises ``RuntimeError`` with its errors."""
    done = subprocess.run(
        ["sh", "-euc", script], capture_output=True, text=True, check=False
    )
    if done.returncode:
        with suppress(FileNotFoundError):
            log = Path(_RUN, "ovs-vswitchd.log").read_text()[-400:]
            raise RuntimeError(f"{done.stderr.strip()}\n{log}")
        raise RuntimeError(done.stderr.strip())
