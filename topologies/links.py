"""Links of a Mininet network, made many at a time.

Mininet makes a link with five commands. Here it only takes note of it
(:class:`Links` stands where Mininet expects a class of links) and one ``ip`` makes all
that are pending, each end born in the namespace where it belongs.
"""

from __future__ import annotations

import subprocess
from typing import Any

from mininet.link import Intf, Link


class LinkSetupError(RuntimeError):
    """Links could not be made; the message has what ip(8) said."""


class PendingIntf(Intf):
    """An interface that Mininet knows of before it exists, so leaves as it is."""

    def config(self, **_params: Any) -> dict[str, Any]:
        """Nothing: the scripts of hosts and switches bring interfaces up."""
        return {}


class Links:
    """Makes Mininet links: call it as Mininet calls a link class, then :meth:`make`."""

    def __init__(self) -> None:
        """Nothing is pending yet."""
        self._pending: list[str] = []

    def __call__(self, *args: Any, **params: Any) -> Link:
        """A link that :meth:`make` will make."""
        return _PendingLink(self._pending, *args, **params)

    def forget(self) -> None:
        """Make none of those that are pending."""
        self._pending.clear()

    def make(self) -> None:
        """Make all pending links. Raises :class:`LinkSetupError`."""
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
    """A veth pair to be."""

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
        """Take note of the pair, each end in the network namespace of its node."""
        self._pending.append(
            f"link add name {intfname1} address {addr1} netns {node1.pid} "
            f"type veth peer name {intfname2} address {addr2} netns {node2.pid}"
        )

    def stop(self) -> None:
        """Nothing: an interface goes with its namespace."""
