"""The programs of a run that are killed: how each is found, and what its death may cost."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Cost(Enum):
    """What the death of a program may cost the run."""

    #: The run ends at once.
    RUN = "run"
    #: Nothing: it is started again, and no connection is disturbed.
    NOTHING = "nothing"
    #: The connections of its own node; it is started again.
    ITS_NODE = "its node"
    #: Any connection: what all servers share. It is started again.
    ALL_NODES = "all nodes"
    #: The connections of its own host, and that the measurement can be trusted.
    ITS_HOST = "its host"
    #: That the measurement can be trusted.
    TRUST = "trust"


@dataclass(frozen=True)
class Victim:
    """A kind of program. Of several that run, one is drawn."""

    name: str
    #: Found in its command line, the words joined by spaces; empty: known by its pid.
    pattern: str
    cost: Cost
    #: Its name in the event log where the supervisor starts it again; empty: not there.
    restarted: str = ""
    #: Whether it is on a host of its own, or in the sandbox's own network; None: either.
    on_host: bool | None = None
    #: Of the run, where it is other than usual.
    workload: str = "echo"
    settings: tuple[str, ...] = ()

    def is_called(self, words: str) -> bool:
        """Whether a process with this command line is one."""
        return bool(self.pattern and re.search(self.pattern, words))


#: The run's own four processes, from the outside to the inside.
LAUNCHER, UNSHARE, INIT = "launcher", "unshare", "init"
_FORKED = r"/fork_server\.py .*_server\.py"

VICTIMS: tuple[Victim, ...] = (
    Victim(LAUNCHER, "", Cost.RUN),
    Victim(UNSHARE, "", Cost.RUN),
    Victim(INIT, "", Cost.RUN),
    Victim("runner", r"^\S+ -m experiments\.running\.sandbox_job ", Cost.RUN),
    Victim("controller", r"-m controller --listen ", Cost.NOTHING, "controller"),
    Victim("healer", r"-m experiments\.healing\.healer ", Cost.NOTHING, "healer"),
    Victim("ovs-vswitchd", r"^ovs-vswitchd ", Cost.NOTHING, "ovs-vswitchd of "),
    Victim("ovsdb-server", r"^ovsdb-server ", Cost.NOTHING, "ovsdb-server of "),
    Victim(
        "guard",
        r"-m nodes\.guard\.guard_scapy ",
        Cost.NOTHING,
        "guard of ",
        settings=("guard=scapy",),
    ),
    Victim("shell", r" -is mininet:", Cost.NOTHING),
    Victim("fork-server", _FORKED, Cost.NOTHING, on_host=False),
    Victim("server", _FORKED, Cost.ITS_NODE, "server ", on_host=True),
    Victim("client", r"/clients/echo_client\.py ", Cost.ITS_HOST, on_host=True),
    Victim("probes", r"-m experiments\.instruments\.probes ", Cost.TRUST),
    Victim(
        "capture",
        r"-m experiments\.instruments\.capture ",
        Cost.TRUST,
        settings=("capture=true",),
    ),
    Victim(
        "postgres",
        r"/postgres -D ",
        Cost.ALL_NODES,
        "backend",
        workload="postgres",
    ),
    Victim(
        "session", r"^postgres: storage postgres", Cost.ALL_NODES, workload="postgres"
    ),
    Victim("pgbouncer", r"^pgbouncer ", Cost.ITS_NODE, "server ", workload="postgres"),
    Victim(
        "lock-monitor",
        r"/postgres_locks\.py ",
        Cost.TRUST,
        "lock monitor",
        workload="postgres",
    ),
)
