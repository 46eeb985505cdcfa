"""Creates the links of a Mininet network, many at a time.

Mininet creates a link with five commands. Here links are only recorded (Mininet calls
:class:`Links` instead of a link class), and one ``ip`` command creates all of them, each
end directly in its namespace.
"""

from __future__ import annotations

import subprocess
from typing import Any

from mininet.link import Intf, Link


class LinkSetupError(RuntimeError):
    """Links could not be created; the message has the output of ip(8)."""


class PendingIntf(Intf):
    """An interface that does not exist yet; Mininet does not configure it."""

    def config(self, **_params: Any) -> dict[str, Any]:
        """Nothing: the scripts of hosts and switches set interfaces up."""
        return {}


class Links:
    """Records Mininet links, called like a link class; :meth:`make` creates them."""

    def __init__(self) -> None:
        """Nothing is pending yet."""
        self._pending: list[str] = []

    def __call__(self, *args: Any, **params: Any) -> Link:
        """Record a link that :meth:`make` will create."""
        return _PendingLink(self._pending, *args, **params)

    def forget(self) -> None:
        """Discard all pending links."""
        self._pending.clear()

    def make(self) -> None:
        """Create all pending links. Raises :class:`LinkSetupError`."""
        batch = "\n".join(self._pending)
        self._pending.clear()
        done = subprocess.run(
            ["ip", "-batch", "-"],
            input=batch,
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise LinkSetupError(done.stderr.strip())


class _PendingLink(Link):
    """A veth pair that is not created yet."""

    def __init__(self, pending: list[str], *args: Any, **params: Any) -> None:
        self._pending = pending
        super().__init__(*args, **{**params, "intf": PendingIntf})

    def makeIntfPair(
        self,
        intfname1: str,
        intfname2: str,
        addr1: str,
        addr2: str,
        node1: Any,
        node2: Any,
        deleteIntfs: bool = False,
    ) -> None:
        """Record the pair, each end in the network namespace of its node."""
        self._pending.append(
            f"link add name {intfname1} address {addr1} netns {node1.pid} "
            f"type veth peer name {intfname2} address {addr2} netns {node2.pid}"
        )

    def stop(self) -> None:
        """Nothing: an interface ends with its namespace."""
