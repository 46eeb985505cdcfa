"""nftables rules that suppress the kernel's own resets on nodes of the reference guard.

The guard only observes frames. So the kernel must not answer strays, and must not see
fan-out copies, relayed resets, and TCP that the guard cannot read. The rules stay while the guard process is dead. The node is silent then,
and sends no wrong reset.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from nodes.guard.guard import GuardError
from nodes.guard.scapy_frames import EXTENSION_HEADERS
from topologies.domain.plan import FANOUT_MAC, RELAY_MAC, VIP4, VIP6

_TABLE = "resetbed_guard"
_EXTENSIONS = ", ".join(str(number) for number in sorted(EXTENSION_HEADERS))
#: Creates the table first: nft has no "delete if it exists" before 1.0.8.
_CLEAR = f"table inet {_TABLE}\ndelete table inet {_TABLE}\n"


def install_rules(interface: str, enter: Sequence[str] = ()) -> None:
    """Install the rules, in place of earlier ones.

    ``enter``: the command prefix that enters the node's namespace; empty if the caller
    is inside. Raises :class:`~nodes.guard.guard.GuardError` with nft's output.
    """
    _nft(_CLEAR + _rules(interface), enter)


def remove_rules(enter: Sequence[str] = ()) -> None:
    """Remove the rules, if there are any."""
    _nft(_CLEAR, enter)


def _rules(interface: str) -> str:
    # AF_PACKET sockets see a frame before the ingress hook drops it.
    return f"""
    table inet {_TABLE} {{
        chain copies {{
            type filter hook ingress device "{interface}" priority 0;
            ether saddr {{ {FANOUT_MAC}, {RELAY_MAC} }} drop
            ip daddr {VIP4} ip protocol tcp ip hdrlength != 5 drop
            ip daddr {VIP4} ip protocol tcp ip frag-off & 0x3fff != 0 drop
            ip6 daddr {VIP6} ip6 nexthdr {{ {_EXTENSIONS} }} drop
        }}
        chain resets {{
            type filter hook output priority raw;
            ip saddr {VIP4} tcp flags & (rst | ack) == rst drop
            ip6 saddr {VIP6} tcp flags & (rst | ack) == rst drop
        }}
    }}
    """


def _nft(script: str, enter: Sequence[str]) -> None:
    command = [*enter, "nft", "-f", "-"]
    done = subprocess.run(
        command, input=script, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise GuardError(f"nft: {done.stderr.strip()}")
