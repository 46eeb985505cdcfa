"""A real Open vSwitch with every switch of a plan, in its own namespaces.

Its ports are OVS's dummies: frames are handed in by ``netdev-dummy/receive``, and what
leaves is read from a capture. Patch ports join the chassis to the fabric, so that the
whole pipeline of both tiers is walked by one frame.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from topologies.domain.plan import (
    FABRIC,
    LOOP_IN_INTERFACE,
    LOOP_IN_PORT,
    LOOP_OUT_INTERFACE,
    LOOP_OUT_PORT,
    UPLINK_PORT,
    Plan,
)

_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
#: Every process started here ends with the test's process.
_BOUND = ("setpriv", "--pdeathsig", "KILL")


def wait_until(
    condition: Callable[[], object], what: str, timeout_s: float = 10.0
) -> None:
    """Return when ``condition()`` is true; fail with ``what`` at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not in {timeout_s} s"
        time.sleep(0.01)


def accepts(path: Path) -> bool:
    """Whether a process listens on the UNIX socket at ``path``."""
    with socket.socket(socket.AF_UNIX) as stream:
        return stream.connect_ex(str(path)) == 0


class VSwitch:
    """One ovsdb-server and one ovs-vswitchd, in their own network namespace."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._scratch = tempfile.TemporaryDirectory(prefix="ovs-")
        self.directory = Path(self._scratch.name)
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the daemons; returns when they serve."""
        self._run("ovsdb-tool", "create", f"{self.directory}/conf.db", _SCHEMA)
        namespace = self._start("unshare", "--net", "sleep", "infinity")
        self.namespace = f"/proc/{namespace.pid}/ns/net"
        wait_until(lambda: self._is_apart(namespace.pid), "a namespace of its own")
        self._daemon(
            "ovsdb-server", f"{self.directory}/conf.db", f"--remote=p{self.database}"
        )
        wait_until(lambda: accepts(self.directory / "db.sock"), "ovsdb-server")
        self.vsctl("--no-wait", "init")
        self._daemon(
            "ovs-vswitchd", self.database, "--enable-dummy", "--disable-system"
        )
        wait_until(lambda: accepts(Path(self.control_socket)), "ovs-vswitchd")

    def stop(self) -> None:
        """Kill the daemons and remove their files."""
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()
        self._scratch.cleanup()

    @property
    def database(self) -> str:
        """The database's address for ovs-vsctl."""
        return f"unix:{self.directory}/db.sock"

    @property
    def control_socket(self) -> str:
        """ovs-vswitchd's control socket, the same for every bridge."""
        return f"{self.directory}/ovs-vswitchd.ctl"

    def vsctl(self, *arguments: str) -> str:
        """Output of ovs-vsctl."""
        return self._run("ovs-vsctl", f"--db={self.database}", *arguments)

    def appctl(self, *arguments: str) -> str:
        """Output of an ovs-appctl command."""
        return self._run("ovs-appctl", "-t", self.control_socket, *arguments)

    def ofctl(self, command: str, bridge: str, *arguments: str) -> str:
        """Output of an ovs-ofctl command on a bridge."""
        address = f"unix:{self.directory}/{bridge}.mgmt"
        return self._run("ovs-ofctl", "-O", "OpenFlow14", command, address, *arguments)

    def differences(self, bridge: str, flows: Path) -> str:
        """Differences of a bridge's entries, with cookies, from a file of ovs-ofctl."""
        address = f"unix:{self.directory}/{bridge}.mgmt"
        done = subprocess.run(
            ["ovs-ofctl", "-O", "OpenFlow14", "diff-flows", address, flows],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        # 0: none; 2: some (ovs-ofctl(8)).
        assert done.returncode in (0, 2), done.stderr
        return done.stdout

    def inside(self, *command: str) -> str:
        """Output of a command in the switch's network namespace."""
        return self._run("nsenter", f"--net={self.namespace}", *command)

    def add_bridge(
        self, name: str, dpid: int, ports: Sequence[tuple[str, int, str]], kind: str
    ) -> None:
        """A bridge of datapath type ``kind``; ports are (name, number, options)."""
        words = [
            *("add-br", name, "--", "set", "bridge", name, f"datapath_type={kind}"),
            *("fail_mode=secure", "protocols=OpenFlow14"),
            f"other-config:datapath-id={dpid:016x}",
        ]
        for port, number, options in ports:
            words += ["--", "add-port", name, port, "--", "set", "interface", port]
            words += [f"ofport_request={number}", *options.split()]
        self.vsctl(*words)

    def connect(self, bridges: Sequence[str], controller: Path) -> None:
        """Connect the bridges to a controller's socket."""
        for bridge in bridges:
            self.vsctl("set-controller", bridge, f"unix:{controller}")

    def retry_quickly(self, bridges: Sequence[str]) -> None:
        """Make connected bridges retry within 1 s when the controller restarts.

        OVS applies max_backoff to established connections only, and only when it is
        set then (``ofconn_reconfigure``); else it is 8 s.
        """
        for bridge in bridges:
            self.vsctl("set", "controller", bridge, "max_backoff=1000")

    def _daemon(self, program: str, *arguments: str) -> None:
        control = f"--unixctl={self.directory}/{program}.ctl"
        log = f"--log-file={self.directory}/{program}.log"
        enter = ("nsenter", f"--net={self.namespace}")
        self._start(*enter, program, *arguments, control, log, "-vconsole:off")

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        daemon = subprocess.Popen([*_BOUND, *command], env=self._environment())
        self._daemons.append(daemon)
        return daemon

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def _environment(self) -> dict[str, str]:
        places = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR")
        return {**os.environ, **dict.fromkeys(places, str(self.directory))}

    @staticmethod
    def _is_apart(pid: int) -> bool:
        return os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")


def build(switch: VSwitch, plan: Plan) -> None:
    """Every switch of ``plan`` as a bridge with dummy ports, joined by patch ports."""
    fabric = [
        (f"{FABRIC}-{c.name}", c.fabric_port, f"type=patch options:peer={c.name}-up")
        for c in plan.chassis
    ]
    clients = [
        (client.fabric_interface, client.fabric_port, _dummy(switch, client.name))
        for client in plan.clients
    ]
    ports = [*fabric, *loop(), *clients]
    switch.add_bridge(FABRIC, plan.switches[FABRIC], ports, "dummy")
    for c in plan.chassis:
        peer = f"type=patch options:peer={FABRIC}-{c.name}"
        nodes = [(n.switch_interface, n.port, _dummy(switch, n.name)) for n in c.nodes]
        uplink = (c.uplink_interface, UPLINK_PORT, peer)
        switch.add_bridge(c.name, c.dpid, [uplink, *nodes], "dummy")


def loop() -> Iterator[tuple[str, int, str]]:
    """The cable from the fabric to itself, as two ports."""
    out, back = LOOP_OUT_INTERFACE, LOOP_IN_INTERFACE
    yield out, LOOP_OUT_PORT, f"type=patch options:peer={back}"
    yield back, LOOP_IN_PORT, f"type=patch options:peer={out}"


def _dummy(switch: VSwitch, host: str) -> str:
    """Options of a dummy port whose sent frames are captured under the host's name."""
    return f"type=dummy options:tx_pcap={switch.directory}/{host}.pcap"
