"""What keeps a node's own TCP quiet where the reference guard decides: nftables rules.

The guard only watches, so the kernel must not answer strays, nor see fan-out copies.
The rules stay while the guard process is dead: a node is then silent, never wrong.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from nodes.guard.guard import GuardError
from topologies.domain.plan import FANOUT_MAC, VIP4, VIP6

_TABLE = "resetbed_guard"
#: Makes the table if it is not there, since nft has no "delete if exists" before 1.0.8.
_CLEAR = f"table inet {_TABLE}\ndelete table inet {_TABLE}\n"


def silence(interface: str, enter: Sequence[str] = ()) -> None:
    """Put the rules in place, instead of earlier ones.

    ``enter``: the command that runs another inside the node's namespace; nothing where
    the caller is inside. Raises :class:`~nodes.guard.guard.GuardError` with nft's words.
    """
    _nft(_CLEAR + _rules(interface), enter)


def lift_silence(enter: Sequence[str] = ()) -> None:
    """Remove the rules, if they are there."""
    _nft(_CLEAR, enter)


def _rules(interface: str) -> str:
    # Taps (AF_PACKET) see a frame before the ingress hook drops it.
    return f"""
    table inet {_TABLE} {{
        chain copies {{
            type filter hook ingress device "{interface}" priority 0;
            ether saddr {FANOUT_MAC} drop
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
