"""A table of TCP sockets for each host, instead of one for the whole machine.

Linux keeps the connections of all network namespaces in one hash table, by default. Who
lists the sockets of one namespace walks all of it: 0.3 ms for a table of 262,144 entries,
and a thousand nodes are listed several times a second. Since Linux 6.1 a namespace can have
a table of its own (ip-sysctl, ``tcp_child_ehash_entries``; ``tcp_set_hashinfo``): 0.013 ms
with 1,024 entries. Older kernels keep the one table, and all else is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

#: Entries of each table: a power of two. A host of a benchmark has 20,000 connections.
ENTRIES = 4096

_IPV4 = Path("/proc/sys/net/ipv4")
_CHILDREN = _IPV4 / "tcp_child_ehash_entries"
#: ``tcp_set_hashinfo`` derives these limits from the size of the table. A host keeps those
#: of the machine: 2,048 connections in TIME-WAIT are few for a client.
_DERIVED = ("tcp_max_tw_buckets", "tcp_max_syn_backlog")


def give_hosts_their_own() -> None:
    """Network namespaces that are created from the caller's get a table of their own.

    Call it in the sandbox's namespace, never in the machine's.
    """
    if _CHILDREN.exists():
        _CHILDREN.write_text(f"{ENTRIES}\n")


def derived_limits() -> Mapping[str, int]:
    """The limits of the caller's namespace, for its hosts: path below /proc/sys -> value."""
    return {
        f"net/ipv4/{name}": int((_IPV4 / name).read_text())
        for name in _DERIVED
        if (_IPV4 / name).exists()
    }
