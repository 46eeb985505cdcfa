"""One Open vSwitch for each switch, in its own network namespace.

Each switch has one pair of daemons (``ovsdb-server``, ``ovs-vswitchd``). So a daemon polls
the ports of one switch only, and a chassis switch can fail alone, as in a rack. In the
switch's own mount namespace its files are where Open vSwitch expects them: ``ovs-vsctl
show`` and ``ovs-ofctl dump-flows NAME`` need no options there. From the sandbox the same
files are in ``/run/openvswitch/NAME``.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mininet.node import Switch

from topologies.datapaths import find_datapath
from topologies.kept_node import KeptNode
from topologies.port_buffers import count_dropped, enlarge_port_buffers
from topologies.processes import Process
from topologies.scripts import WORKERS, ScriptError, run_script, run_scripts

OVS_DIRECTORY = "/run/openvswitch"

OVSDB = "ovsdb-server"
VSWITCHD = "ovs-vswitchd"

#: A daemon that does not end within this time after SIGTERM is killed. In seconds.
STOP_TIMEOUT_S = 2.0

#: How often the start of a switch is tried: a daemon may be killed while it starts.
START_ATTEMPTS = 3
#: An ovs-vswitchd that takes longer to start waits for an ovsdb-server that has died. In
#: seconds.
START_TIMEOUT_S = 30

#: How long a running switch may take to add a port, in seconds.
ATTACH_TIMEOUT_S = 10

#: --detach returns when the daemon serves. The control sockets get fixed names: by default
#: they contain a pid.
_DAEMON = (
    "{0} {2} --pidfile={1}/{0}.pid --log-file={1}/{0}.log --unixctl={1}/{3}.ctl "
    "--detach --no-chdir -vconsole:off -vsyslog:off"
)
_DATABASE = f"unix:{OVS_DIRECTORY}/db.sock"

#: Disables IPv6 in the switch's namespace, so that its kernel sends no packets.
_DISABLE_IPV6 = """
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
"""

#: A restarted controller is found within about 1 s (see ``network.CONTROLLER_WAIT_S`` for
#: the first connection); a hanging one is detected within 5 s. ovs-vswitchd applies
#: max_backoff only when it changes on an established connection, hence two values: see
#: :meth:`IsolatedSwitch.limit_reconnect_backoff`.
_CONTROLLER = "max_backoff=2000 inactivity_probe=5000"
#: Without waiting for ovs-vswitchd, which may have died.
_RECONNECT_BACKOFF = "ovs-vsctl --no-wait set controller {} max_backoff=1000"

_LOST_UPCALLS = re.compile(r"lookups:.*\blost:(\d+)")


class SwitchDaemonError(RuntimeError):
    """A switch failed; the message has its name and the reason."""


#: Matches warnings and errors in a daemon's log.
_WARNING_LINE = re.compile(r"\|(WARN|ERR|EMER)\|")


class IsolatedSwitch(KeptNode, Switch):
    """An Open vSwitch bridge with its own daemons and OpenFlow 1.4.

    ``fail_mode=secure``: without flow entries it forwards nothing, and it keeps its
    entries without a controller.
    """

    def __init__(
        self,
        name: str,
        dpid: str,
        controller: str | None = None,
        datapath: str | None = None,
        table_limits: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        """Start the switch's shell; the daemons wait for :meth:`start`.

        ``controller``: the target of its connection, e.g. ``unix:/run/.../ofp.sock`` (a
        UNIX socket needs no network); None: no controller. ``datapath``: ``system`` or
        ``netdev``; None: the one that :func:`find_datapath` finds. ``table_limits``: flow
        table -> the most entries in it; then the one that expires first is evicted.
        """
        super().__init__(
            name,
            dpid=dpid,
            inNamespace=True,
            privateDirs=[(OVS_DIRECTORY, f"{OVS_DIRECTORY}/%(name)s")],
        )
        self.controlIntf = None
        self.controller = controller
        self._table_limits = dict(table_limits)
        self.datapath = datapath or find_datapath().type
        #: Its files, as seen from the sandbox.
        self.directory = Path(OVS_DIRECTORY, name)
        self._daemons: dict[str, Process] = {}
        #: Whether its database holds its bridge, its ports and its controller.
        self._configured = False
        self._dropped = 0
        self._lost_upcalls = 0

    @property
    def unixctl(self) -> Path:
        """Control socket of its ovs-vswitchd, for ``ovs-appctl -t``."""
        return self.directory / "vswitchd.ctl"

    def start(self, controllers: Sequence[Any]) -> None:
        """Nothing: Mininet starts all switches together by :meth:`batchStartup`."""

    @classmethod
    def batchStartup(
        cls, switches: Sequence[IsolatedSwitch]
    ) -> Sequence[IsolatedSwitch]:
        """Start several switches in parallel.

        A daemon that dies meanwhile is started again. Raises :class:`ScriptError`, or
        :class:`SwitchDaemonError` if a daemon runs but has not created its bridge.
        """
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(cls._start_daemons, switches))
        return switches

    def restart(self) -> None:
        """Restart those of its daemons that have died; ports and controller stay.

        Flow entries of a userspace datapath are lost with ovs-vswitchd; the controller
        installs them again. Raises :class:`SwitchDaemonError` if it does not start.
        """
        try:
            self._start_daemons()
        except ScriptError as error:
            raise SwitchDaemonError(str(error)) from error

    def _start_daemons(self) -> None:
        """Start those that do not run, again if one dies meanwhile."""
        for left in reversed(range(START_ATTEMPTS)):
            try:
                run_script(self, self.start_script())
            except ScriptError:
                if not left:
                    raise
                self.record_daemons()
            else:
                break
        self._configured = True
        self.record_daemons()
        self.require_bridge()

    def alive(self) -> bool:
        """Whether both of its daemons run."""
        return bool(self._daemons) and not self.dead_daemons()

    def dead_daemons(self) -> list[str]:
        """Names of its daemons that have run and died."""
        return [name for name, each in self._daemons.items() if not each.alive()]

    def daemon(self, name: str) -> Process:
        """The process of its :data:`OVSDB` or :data:`VSWITCHD`."""
        return self._daemons[name]

    def kill(self) -> None:
        """Kill both daemons, as a power failure would."""
        for daemon in self._daemons.values():
            daemon.send(signal.SIGKILL)
            daemon.wait(STOP_TIMEOUT_S)

    def attach(self, intf: Any) -> None:
        """Add an interface that Mininet has linked to the switch as a port.

        Raises :class:`ScriptError`, also if ovs-vswitchd does not add it in time.
        """
        add = f"ovs-vsctl --timeout={ATTACH_TIMEOUT_S} {self._add_port(intf)}"
        run_script(self, f"{_up(intf)}\n{add}")
        self._enlarge_buffers()

    def stop(self, deleteIntfs: bool = True) -> None:
        """End the daemons; the interfaces end with the namespace."""
        self.batchShutdown([self])

    @classmethod
    def batchShutdown(
        cls, switches: Sequence[IsolatedSwitch]
    ) -> Sequence[IsolatedSwitch]:
        """End several switches' daemons in parallel; Mininet ends the shells."""
        for switch in switches:
            for daemon in switch._daemons.values():
                daemon.send(signal.SIGTERM)
        for switch in switches:
            if not all(each.wait(STOP_TIMEOUT_S) for each in switch._daemons.values()):
                switch.kill()
        return switches

    def connected(self) -> bool:
        """Whether its controller connection is up; the answer is some seconds old.

        (ovs-vswitchd writes it to the database every ``stats-update-interval``.)
        """
        column = "ovs-vsctl --no-headings --columns=is_connected list controller"
        return run_script(self, column).strip() == "true"

    @classmethod
    def limit_reconnect_backoff(cls, switches: Sequence[IsolatedSwitch]) -> None:
        """Limit the reconnect backoff of connected switches to 1 s.

        Otherwise they retry after up to 8 s. Raises :class:`ScriptError`.
        """
        run_scripts(
            {switch: _RECONNECT_BACKOFF.format(switch.name) for switch in switches}
        )

    def record_daemons(self) -> None:
        """Record the daemons' processes, so that the death of one is detected.

        One that has never run is left out. One that has just died is recorded as dead.
        """
        for name in (OVSDB, VSWITCHD):
            with suppress(FileNotFoundError):
                pid = int((self.directory / f"{name}.pid").read_text())
                self._daemons[name] = _process_or_dead(pid)
        with suppress(ProcessLookupError):
            self._enlarge_buffers()

    def require_bridge(self) -> None:
        """Raise :class:`SwitchDaemonError`, with the daemon's warnings, if it has no bridge.

        The bridge's management socket exists as soon as the bridge does: ovs-vswitchd
        goes into the background after its first configuration (``bridge_run``).
        """
        if not (self.directory / f"{self.name}.mgmt").is_socket():
            warnings = "\n".join(self.recent_warnings()) or "no warnings"
            raise SwitchDaemonError(
                f"switch {self.name}: no bridge was created with datapath_type="
                f"{self.datapath}; log of ovs-vswitchd:\n{warnings}"
            )

    def recent_warnings(self, lines: int = 5) -> list[str]:
        """The latest warnings and errors in the log of its ovs-vswitchd."""
        log = self.directory / f"{VSWITCHD}.log"
        text = log.read_text(errors="replace") if log.exists() else ""
        warnings = [line for line in text.splitlines() if _WARNING_LINE.search(line)]
        return warnings[-lines:]

    def dropped_frames(self) -> int:
        """Frames lost so far because ovs-vswitchd did not read them in time.

        Userspace datapath: frames that its ports' buffers had no space for, without those
        of a daemon that died. Kernel datapath: upcalls that ovs-vswitchd's sockets had no
        space for (``lost`` in dpctl/show, ovs-vswitchd(8)); each is a lost frame.
        """
        if self._runs(VSWITCHD):
            self._dropped += self._count_dropped()
        return self._dropped

    def _count_dropped(self) -> int:
        if self.datapath == "netdev":
            return count_dropped(self._daemons[VSWITCHD].pid)
        output = run_script(
            self,
            f"ovs-appctl --timeout={ATTACH_TIMEOUT_S} -t {OVS_DIRECTORY}/vswitchd.ctl "
            "dpctl/show",
        )
        match = _LOST_UPCALLS.search(output)
        lost = int(match[1]) if match else 0
        new, self._lost_upcalls = max(0, lost - self._lost_upcalls), lost
        return new

    def _enlarge_buffers(self) -> None:
        """Enlarge the port buffers; the userspace datapath only."""
        if self.datapath == "netdev" and self._runs(VSWITCHD):
            enlarge_port_buffers(self._daemons[VSWITCHD].pid)

    def start_script(self) -> str:
        """The shell script that starts those daemons that do not run.

        The whole switch is in the database before ovs-vswitchd first reads it. So it
        starts complete, and with userspace-tso-enable, which is read only at the start
        (ovs-vswitchd.conf.db(5)).
        """
        steps = []
        if not self._configured:  # later, an interface may be down on purpose
            steps += [_DISABLE_IPV6, *(_up(intf) for intf in self.intfList())]
        if not self._runs(OVSDB):
            steps.append(_START_OVSDB)
        if not self._configured:  # later, the database has it
            steps.append(f"ovs-vsctl --no-wait {' -- '.join(self._transaction())}")
        if not self._runs(VSWITCHD):
            steps.append(_START_VSWITCHD[self.datapath])
        return "\n".join(steps)

    def _runs(self, name: str) -> bool:
        return name in self._daemons and self._daemons[name].alive()

    def _transaction(self) -> Iterator[str]:
        """The commands of the ovs-vsctl transaction that creates the switch."""
        if self.datapath == "netdev":
            # So hosts' checksum and segmentation offloads can stay on.
            yield "set Open_vSwitch . other_config:userspace-tso-enable=true"
        yield f"--may-exist add-br {self.name}"
        yield (
            f"set bridge {self.name} datapath_type={self.datapath} fail_mode=secure "
            f"protocols=OpenFlow14 other_config:datapath-id={self.dpid} "
            "other_config:disable-in-band=true"
        )
        for table, limit in self._table_limits.items():
            yield (
                f"--id=@t{table} create Flow_Table flow_limit={limit} "
                "overflow_policy=evict"
            )
            yield f"set bridge {self.name} flow_tables:{table}=@t{table}"
        for intf in self.intfList():
            yield self._add_port(intf)
        if self.controller:
            yield f"set-controller {self.name} {self._controller_target()}"
            yield f"set controller {self.name} {_CONTROLLER}"

    def _controller_target(self) -> str | None:
        """The controller's target in a form that ovs-vswitchd accepts.

        It refuses UNIX sockets outside its own directory (bridge_configure_remotes in
        OVS's bridge.c), so a symbolic link there points to the real one.
        """
        path = (self.controller or "").removeprefix("unix:")
        if path == self.controller:
            return self.controller
        link = self.directory / "controller.sock"
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        return f"unix:/var/run/openvswitch/{link.name}"

    def _add_port(self, intf: Any) -> str:
        """The ovs-vsctl commands that add a port with the plan's number."""
        number = f"set interface {intf.name} ofport_request={self.ports[intf]}"
        return f"--may-exist add-port {self.name} {intf.name} -- {number}"


def _process_or_dead(pid: int) -> Process:
    try:
        return Process.of(pid)
    except ProcessLookupError:
        return Process(pid, start_time=-1)


_START_OVSDB = f"""
test -e {OVS_DIRECTORY}/conf.db || ovsdb-tool create {OVS_DIRECTORY}/conf.db
{_DAEMON.format(OVSDB, OVS_DIRECTORY, f"{OVS_DIRECTORY}/conf.db", "ovsdb")} \
    --remote=p{_DATABASE}
"""


_VSWITCHD = f"timeout {START_TIMEOUT_S} " + _DAEMON.format(
    VSWITCHD, OVS_DIRECTORY, _DATABASE, "vswitchd"
)

#: By datapath. Without a kernel datapath, looking for it would fill the log.
_START_VSWITCHD = {"system": _VSWITCHD, "netdev": f"{_VSWITCHD} --disable-system"}


def _up(intf: Any) -> str:
    return f"ip link set dev {intf.name} up"
