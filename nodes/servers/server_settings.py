"""How administrators tune a storage node for clients that die without a word; pure.

Two timers of the kernel find out that a client has gone. Which one runs depends on whether
the client has acknowledged all that it was sent:

- Nothing is unacknowledged: keepalive, if the server has turned SO_KEEPALIVE on.
- Something is unacknowledged: retransmission. Keepalive does not run then
  (``tcp_keepalive_timer`` in net/ipv4/tcp_timer.c).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

#: Settings of a network namespace, below /proc/sys (ip-sysctl), by field.
SYSCTLS = {
    "keepalive_s": "net/ipv4/tcp_keepalive_time",
    "keepalive_interval_s": "net/ipv4/tcp_keepalive_intvl",
    "keepalive_probes": "net/ipv4/tcp_keepalive_probes",
    "retries": "net/ipv4/tcp_retries2",
}
#: Fields of an iSCSI target.
NOP = frozenset({"nop_interval_s", "nop_count"})
#: Fields that only work where the server turns SO_KEEPALIVE on.
KEEPALIVE = frozenset({"keepalive_s", "keepalive_interval_s", "keepalive_probes"})

#: Linux's defaults (include/net/tcp.h), and bounds of the retransmission timer in seconds.
_KEEPALIVE_S, _INTERVAL_S, _PROBES, _RETRIES = 7200, 75, 9, 15
_RTO_MIN_S, _RTO_MAX_S = 0.2, 120.0


@dataclass(frozen=True)
class ServerSettings:
    """Settings of every node and its server; None: as the kernel and the server come.

    ``keepalive_s``: silence before the first keepalive. ``keepalive_interval_s``: between
    two. ``keepalive_probes``: unanswered ones that end a connection. ``retries``:
    retransmissions that do. ``user_timeout_s``: TCP_USER_TIMEOUT of the server's sockets
    (tcp(7)), by the server's own setting. ``slots``: connections that a server accepts at
    one time. ``nop_interval_s`` and ``nop_count``: an iSCSI target asks its initiator so
    often, and closes the connection after so many NOP-In without an answer (tgtd(8)).
    """

    keepalive_s: int | None = None
    keepalive_interval_s: int | None = None
    keepalive_probes: int | None = None
    retries: int | None = None
    user_timeout_s: float | None = None
    slots: int | None = None
    nop_interval_s: int | None = None
    nop_count: int | None = None

    def given(self) -> Mapping[str, int | float]:
        """The fields that are set."""
        return {k: v for k, v in asdict(self).items() if v is not None}

    def sysctls(self) -> Mapping[str, int]:
        """Of a node's network namespace: path below /proc/sys -> value."""
        given = self.given()
        return {
            path: int(given[name]) for name, path in SYSCTLS.items() if name in given
        }

    def silent_s(self) -> float:
        """Seconds from a dead client's last segment until its connection is ended, if it
        has acknowledged everything and the server has SO_KEEPALIVE on.

        No answer to a keepalive reaches the node. With TCP_USER_TIMEOUT the number of
        keepalives does not count (``tcp_keepalive_timer``).
        """
        after = self.keepalive_s or _KEEPALIVE_S
        each = self.keepalive_interval_s or _INTERVAL_S
        if self.user_timeout_s is None:
            return float(after + each * (self.keepalive_probes or _PROBES))
        waits = max(1, math.ceil((self.user_timeout_s - after) / each))
        return float(after + each * waits)

    def unacknowledged_s(self) -> float:
        """Seconds from the first retransmission until a connection with unacknowledged data
        is ended: ``tcp_model_timeout`` with the shortest timeout. A longer round trip makes
        it longer.
        """
        if self.user_timeout_s is not None:
            return self.user_timeout_s
        retries = _RETRIES if self.retries is None else self.retries
        waits = (_RTO_MIN_S * 2.0**n for n in range(retries + 1))
        return sum(min(each, _RTO_MAX_S) for each in waits)


def explain(settings: ServerSettings) -> str:
    """For people: after what time these settings end the connection of a dead client.

    >>> print(explain(ServerSettings(keepalive_s=60, keepalive_interval_s=10)))
    a dead client's connection ends
      150 s after its last segment, if it had acknowledged everything (keepalive)
      924.6 s after the first retransmission, if it had not
    """
    lines = ["a dead client's connection ends"]
    if not KEEPALIVE.isdisjoint(settings.given()):
        lines.append(
            f"  {settings.silent_s():g} s after its last segment, if it had acknowledged "
            "everything (keepalive)"
        )
    if settings.nop_interval_s is not None:
        lines.append(
            f"  when {settings.nop_count or 0} NOP-In, one each {settings.nop_interval_s} s, "
            "were not answered (iSCSI)"
        )
    lines.append(
        f"  {settings.unacknowledged_s():g} s after the first retransmission, if it had not"
    )
    return "\n".join(lines)


AS_SHIPPED = ServerSettings()
#: The names of all settings.
SETTINGS = frozenset(field.name for field in fields(ServerSettings))
