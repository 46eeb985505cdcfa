"""The healer of a cluster: ``python -m experiments.healing.healer``.

One process for all nodes, as an agent on each node would do it. It reads two files that
the cluster writes: the state (who owns which bucket) and the sites (where each node is).
It needs neither the controller nor the switches. After a change it reads every node's
sockets, and does what :mod:`experiments.healing.schedule` says: keepalives by the nodes'
guards, and at the deadline SOCK_DESTROY. It keeps no other state, so it may be killed and
started again at any time.
"""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TextIO

from controller.pipeline.cluster_state import ClusterState
from experiments.files.replaced_file import ReplacedFile
from experiments.healing.acts import act
from experiments.healing.route_history import RouteHistory
from experiments.healing.schedule import NEXT_PROBE, Held, Schedule
from experiments.healing.sites import read_sites
from nodes.guard.request_frame import request_frame
from nodes.kernel.network_namespace import enter_netns
from nodes.kernel.sock_diag import SockDiagError
from nodes.kernel.socket_destroy import SocketDestroyer
from nodes.kernel.socket_dump import SocketDump
from topologies.domain.site import Site

log = logging.getLogger("resetbed.healer")

#: How often the two files are looked at, in seconds.
POLL_S = 0.05


class NodeSockets:
    """The healer's sockets in one node's network namespace."""

    def __init__(self, site: Site) -> None:
        """Raises :class:`OSError` if the node has lost power."""
        self.site = site
        with enter_netns(site.pid):
            self.dump = SocketDump()
            self.destroyer = SocketDestroyer()
            self._packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._packets.bind((site.interface, 0))

    def held(self, now_s: float) -> Iterator[Held]:
        """Every connection that the node holds."""
        for one in self.dump.connections():
            heard_s = None if one.silent_s is None else now_s - one.silent_s
            yield Held(self.site.name, one.connection, heard_s, one.cookie)

    def probe(self, one: Held) -> None:
        """Asks the node's guard for a keepalive."""
        with suppress(OSError):  # the interface is down: nothing gets through anyway
            self._packets.send(request_frame(one.connection, self.site.mac))

    def close(self) -> None:
        """Closes all of them."""
        self.dump.close()
        self.destroyer.close()
        self._packets.close()


class Healer:
    """Looks and acts. ``bound_s``: every half-open connection is freed within that time."""

    def __init__(
        self, state: Path, sites: Path, output: TextIO, bound_s: float
    ) -> None:
        self._state = ReplacedFile(state)
        self._sites = ReplacedFile(sites)
        self._output = output
        self._bound_s = bound_s
        self._history = RouteHistory()
        self._schedule = Schedule(bound_s)
        self._nodes: dict[str, NodeSockets] = {}
        self._watch_until_s = 0.0
        self._next_look_s = 0.0

    def step(self) -> None:
        """Takes in what has changed; looks and acts, if it is time."""
        now_s = time.monotonic()
        if self._state.has_changed():
            self._history.add(ClusterState.read(self._state.path), now_s)
            self._watch_until_s = now_s + self._bound_s
            self._next_look_s = 0.0
        if self._sites.has_changed():
            self._replace_nodes(read_sites(self._sites.path))
        if now_s < self._next_look_s or not self._history.number:
            return
        if self._look():
            self._watch_until_s = time.monotonic() + self._bound_s
        took_s = time.monotonic() - now_s
        watches = time.monotonic() < self._watch_until_s
        # As long a pause as the look has taken: half of a core, at most.
        pause_s = max(NEXT_PROBE * self._bound_s - took_s, took_s)
        self._next_look_s = time.monotonic() + pause_s if watches else float("inf")

    def _look(self) -> bool:
        """One look at every node. Returns whether anything is in doubt."""
        routes = self._history.current
        actions = self._schedule.look(
            self._held(),
            time.monotonic(),
            routes.owner_of,
            self._history.changed_s,
            routes.reachable.__contains__,
        )
        for one in actions.probe:
            self._nodes[one.node].probe(one)
        destroyed = [one for one in actions.destroy if self._destroy(one)]
        if actions.probe or destroyed:
            self._report(len(actions.probe), destroyed)
        return bool(actions.in_doubt)

    def _held(self) -> Iterator[Held]:
        for node in list(self._nodes.values()):
            try:
                yield from list(node.held(time.monotonic()))
            except (OSError, SockDiagError) as error:
                log.warning("%s: %s", node.site.name, error)

    def _destroy(self, one: Held) -> bool:
        return bool(
            self._nodes[one.node].destroyer.abort([one.connection], [one.cookie])
        )

    def _report(self, probes: int, destroyed: Iterable[Held]) -> None:
        self._output.write(act(probes, ((d.node, d.connection) for d in destroyed)))
        self._output.flush()

    def _replace_nodes(self, sites: Iterable[Site]) -> None:
        wanted = {site.name: site for site in sites}
        for name, node in list(self._nodes.items()):
            if wanted.get(name) != node.site:
                self._nodes.pop(name).close()
        for name, site in wanted.items():
            if name not in self._nodes:
                with suppress(OSError):  # it has just lost power
                    self._nodes[name] = NodeSockets(site)
        self._next_look_s = 0.0


def main() -> int:
    """Heals until SIGTERM or SIGINT."""
    options = _options()
    logging.basicConfig(format="%(asctime)s %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, _stop)
    with options.output.open("a", encoding="utf-8") as output:
        healer = Healer(options.state, options.sites, output, options.bound_s)
        try:
            while True:
                healer.step()
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            return 0


def _stop(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="experiments.healing.healer")
    parser.add_argument("--state", required=True, type=Path, help="the cluster's state")
    parser.add_argument("--sites", required=True, type=Path, help="the nodes' sites")
    parser.add_argument("--output", required=True, type=Path, help="JSON lines of acts")
    parser.add_argument("--bound-s", required=True, type=float, help="the bound T")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
