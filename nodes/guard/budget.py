"""The budget of fan-outs: how many copies strays and clients' resets may cause.

One stray costs a copy for each chassis and for each node, or fewer where the policy knows
whom to ask, and anyone who reaches the virtual address can send strays. A client's reset
that is relayed goes to every chassis and node, whatever the policy. So both are limited,
for each client address and for the whole cluster. The client's own reset is never limited:
where the budget refuses a fan-out, the reset is RST|ACK, which switches do not copy, and
the owner is healed instead (:mod:`experiments.healing`).

A limit is a token bucket, written as the generic cell rate algorithm (ITU-T I.371): one
number, the time at which the bucket will be full again, and no timer. The program in the
kernel does the same (``guard_budget.bpf.h``). There, two processors may both see the last
token; then one fan-out too many is made.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

#: Maximum number of client addresses with a bucket of their own. The least recently used
#: is dropped, and begins with a full bucket when it returns.
CLIENTS = 4096

_NS = 1_000_000_000


@dataclass(frozen=True)
class Limit:
    """``rate`` tokens a second on average, ``burst`` at once; a fan-out takes one.

    A rate of 0: no limit.
    """

    rate: float = 0.0
    burst: float = 1.0

    @property
    def cost_ns(self) -> int:
        """Time in which one token comes back, ns; 0 without a limit."""
        return round(_NS / self.rate) if self.rate else 0

    @property
    def burst_ns(self) -> int:
        """Time in which an empty bucket is full again, ns."""
        return round(self.cost_ns * self.burst)


@dataclass(frozen=True)
class Budget:
    """The limits for each client address and for the whole cluster.

    ``relay``: the tokens that one relay takes, since it may cause more copies than the
    reset of a stray, which takes one.
    """

    client: Limit = Limit()
    total: Limit = Limit()
    relay: int = 1


UNLIMITED = Budget()


@dataclass
class Purse:
    """What is left of a budget; :meth:`spend` takes from it.

    ``_total`` and ``_clients``: when each bucket is full again, ns of the caller's clock.
    """

    budget: Budget
    _total: int = 0
    _clients: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def spend(self, client: str, now_ns: int, tokens: int = 1) -> bool:
        """Takes ``tokens`` for a segment of ``client``. False, and nothing taken, if the
        client's bucket or the whole one has fewer."""
        own = _after(self.budget.client, self._clients.get(client, 0), now_ns, tokens)
        total = _after(self.budget.total, self._total, now_ns, tokens)
        if own is None or total is None:
            return False
        self._total = total
        self._clients[client] = own
        self._clients.move_to_end(client)
        if len(self._clients) > CLIENTS:
            self._clients.popitem(last=False)
        return True


def _after(limit: Limit, full_at_ns: int, now_ns: int, tokens: int) -> int | None:
    """When the bucket is full again after that many more; None if it has fewer left."""
    full_at_ns = max(full_at_ns, now_ns) + limit.cost_ns * tokens
    return full_at_ns if full_at_ns - now_ns <= limit.burst_ns else None
