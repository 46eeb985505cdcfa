"""Does the actions of a schedule on a cluster."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from controller.service.controller_client import ControllerError
from experiments.chaos.chaos_actions import Action, Do
from experiments.chaos.chaos_clients import ChaosClients
from experiments.chaos.chaos_facts import Begun, Changed, Changing, Ended, Fact, Fault
from experiments.chaos.forged_frames import forged_resets, strays
from experiments.chaos.mixed_workload import PORTS
from experiments.chaos.program_table import ProgramTable
from experiments.chaos.undo_later import UndoLater
from experiments.cluster.errors import ClusterError
from experiments.cluster.live_cluster import Cluster
from experiments.instruments.socket_table import sockets_of
from nodes.kernel.network_namespace import enter_netns
from topologies.domain.events import EVENTS, EventError
from topologies.domain.events.instant import resolve_events
from topologies.domain.plan import Client, PlanError
from topologies.processes import Process

#: The table of rules that lose resets; one on a node at a time.
_TABLE = "resetbed_chaos"
_CLEAR = f"table netdev {_TABLE}\ndelete table netdev {_TABLE}\n"
_LOSE = """
table netdev {table} {{
    chain arriving {{
        type filter hook ingress device "{interface}" priority 10;
        tcp flags & rst == rst numgen random mod 100 < {percent} drop
    }}
    chain leaving {{
        type filter hook egress device "{interface}" priority 10;
        tcp flags & rst == rst numgen random mod 100 < {percent} drop
    }}
}}
"""


class Skipped(Exception):
    """An action that is not possible now. The text says why."""


class Performer:
    """Does one action after the other; what lasts is undone later, at the latest by
    :meth:`close`."""

    def __init__(
        self, cluster: Cluster, clients: ChaosClients, feed: Callable[[Fact], None]
    ) -> None:
        self._cluster = cluster
        self._clients = clients
        self._feed = feed
        self._programs = ProgramTable(cluster)
        self._undo = UndoLater(lambda text: feed(Fault(time.time(), text)))
        self._storms: list[threading.Thread] = []
        self._closing = threading.Event()
        self._losing: set[str] = set()
        self._frozen: set[str] = set()

    def do(self, action: Action) -> bool:
        """Does it; returns whether it was possible."""
        self._feed(Begun(time.time(), action))
        try:
            undo = self._doers()[action.do](action)
        except Skipped as reason:
            self._feed(Ended(time.time(), action, str(reason)))
            return False
        if undo is None:
            self._feed(Ended(time.time(), action))
        else:
            self._undo.after(action.for_s, lambda: self._end(action, undo))
        return True

    def close(self) -> None:
        """Undoes everything, and ends storms."""
        self._closing.set()
        self._undo.close()
        for storm in self._storms:
            storm.join()

    def _end(self, action: Action, undo: Callable[[], None]) -> None:
        try:
            undo()
        finally:
            self._feed(Ended(time.time(), action))

    def _doers(self) -> dict[Do, Callable[[Action], Callable[[], None] | None]]:
        return {
            Do.EVENTS: self._events,
            Do.KILL: self._kill,
            Do.FREEZE: self._freeze,
            Do.LOSE: self._lose,
            Do.ABORT: lambda action: self._disturb(action, same_ports=False),
            Do.REUSE: lambda action: self._disturb(action, same_ports=True),
            Do.VANISH: self._vanish,
            Do.FORGE: self._forge,
            Do.STORM: self._storm,
        }

    def _events(self, action: Action) -> None:
        """Those that are possible, together."""
        possible: list[tuple[str, str]] = []
        for event in action.events:
            if self._is_possible([*possible, event]):
                possible.append(event)
        if not possible:
            raise Skipped("not possible in this state")
        self._feed(Changing(time.time()))
        try:
            self._cluster.events(possible)
        except (ClusterError, ControllerError) as error:
            text = ", ".join(f"{kind} {target}" for kind, target in possible)
            self._feed(Fault(time.time(), f"{text}: {error}"))
        finally:
            self._feed(Changed(time.time(), self._cluster.state.arrangement))

    def _is_possible(self, events: Iterable[tuple[str, str]]) -> bool:
        requests = [(EVENTS[kind], target) for kind, target in events]
        try:
            resolve_events(self._cluster.state.arrangement, requests)
        except (EventError, PlanError):
            return False
        return True

    def _kill(self, action: Action) -> None:
        self._process(action.target).send(signal.SIGKILL)

    def _freeze(self, action: Action) -> Callable[[], None]:
        process = self._process(action.target)
        if action.target in self._frozen:
            raise Skipped("is stopped already")
        self._frozen.add(action.target)
        stopped = [process, *_children(process)]
        for one in stopped:
            one.send(signal.SIGSTOP)

        def go_on() -> None:
            self._frozen.discard(action.target)
            for one in stopped:
                one.send(signal.SIGCONT)

        return go_on

    def _process(self, name: str) -> Process:
        try:
            return Process.of(self._programs.pids()[name])
        except (KeyError, ProcessLookupError) as error:
            raise Skipped(f"{name} does not run") from error

    def _lose(self, action: Action) -> Callable[[], None]:
        if action.target in self._losing:
            raise Skipped("loses resets already")
        try:
            node = self._cluster.state.plan.find_node(action.target)
            pid = self._cluster.pid(node.name)
        except (PlanError, KeyError) as error:
            raise Skipped("there is no such node yet") from error
        percent = round(action.share * 100)
        self._losing.add(node.name)
        names = {"table": _TABLE, "interface": node.interface, "percent": percent}
        _nft(pid, _CLEAR + _LOSE.format(**names))

        def lose_no_more() -> None:
            _nft(pid, _CLEAR)
            self._losing.discard(node.name)

        return lose_no_more

    def _disturb(self, action: Action, *, same_ports: bool) -> None:
        if not self._clients.disturb(action.target, same_ports):
            raise Skipped("the client is not there")

    def _vanish(self, action: Action) -> Callable[[], None]:
        come_back = self._clients.vanish(action.target)
        if come_back is None:
            raise Skipped("the client is not there")
        return come_back

    def _forge(self, action: Action) -> None:
        client = self._client(action)
        pid = self._cluster.pid(client.name)
        known = {
            one.connection
            for host in self._clients.hosts
            for one in sockets_of(self._cluster.pid(host.name))
        }
        resets = forged_resets(client, known, action.count, action.seed)
        self._send(client, pid, resets, 0.0)

    def _storm(self, action: Action) -> None:
        client = self._client(action)
        pid = self._cluster.pid(client.name)
        frames = strays(client, PORTS[0], action.count, action.seed)
        pause_s = 1 / action.rate
        storm = threading.Thread(
            target=self._send, args=(client, pid, frames, pause_s), daemon=True
        )
        storm.start()
        self._storms.append(storm)

    def _client(self, action: Action) -> Client:
        return next(one for one in self._clients.hosts if one.name == action.target)

    def _send(
        self, client: Client, pid: int, frames: Iterable[bytes], pause_s: float
    ) -> None:
        """Sends them on the client's own interface, while it has one that is up."""
        with enter_netns(pid):
            sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        with sender:
            try:
                sender.bind((client.interface, 0))
                for frame in frames:
                    sender.send(frame)
                    if pause_s and self._closing.wait(pause_s):
                        return
            except OSError:
                return  # the client has vanished


def _children(process: Process) -> list[Process]:
    """The children of a process, as its first thread has them."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        return [Process.of(int(pid)) for pid in path.read_text().split()]
    except (OSError, ProcessLookupError):
        return []


def _nft(pid: int, script: str) -> None:
    """Runs a script of nft(8) in the network namespace of a process. Raises
    ``CalledProcessError``."""
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", "nft", "-f", "-"]
    subprocess.run(command, input=script, check=True, capture_output=True, text=True)
