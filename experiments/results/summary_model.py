"""What ``summary.json`` of a run looks like: its keys, their types and units.

What each figure means is in ``docs/results.md``. :mod:`experiments.results.summary` makes the
object; the tests hold every golden record's against this model, key by key.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from experiments.verdict.expectations import Condition


class Part(BaseModel):
    """A part of a summary. Keys may be added, so one that it does not know is no fault."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Shares(Part):
    """Of several durations, in milliseconds: None where there was none."""

    p50: float | None
    p99: float | None
    max: float | None


class ClusterSize(Part):
    """The cluster before the first event, as the spec has it."""

    chassis: int
    nodes: int = Field(description="in each chassis")
    clients: int
    datapath: Literal["auto", "kernel", "userspace"]
    weights: dict[str, float]
    buckets: int | None = None
    pins: int | None = None


class DatapathUsed(Part):
    """Open vSwitch's datapath."""

    name: Literal["kernel", "userspace"]
    type: str = Field(description="Open vSwitch's word for it")
    asked: Literal["auto", "kernel", "userspace"]
    why: str


class Links(Part):
    """What every host's link does to what the host sends; None: nothing."""

    rate_mbit: float | None
    delay_ms: float | None
    loss_percent: float | None


class Load(Part):
    """What the clients did."""

    kind: str
    connections: int
    interval_ms: float
    pattern: str


class Servers(Part):
    """How nodes and servers were tuned; None: as the kernel and the server come."""

    keepalive_s: int | None = None
    keepalive_interval_s: int | None = None
    keepalive_probes: int | None = None
    retries: int | None = None
    user_timeout_s: float | None = None
    slots: int | None = None
    nop_interval_s: int | None = None
    nop_count: int | None = None


class EventTimes(Part):
    """One event; instants in seconds since 1970. The options are those of a link."""

    kind: str
    target: str
    requested_s: float
    applied_s: float = Field(description="every switch confirmed its tables")
    settled_s: float | None = Field(
        description="no cached flow forwards by the old ones"
    )
    rate_mbit: float | None = None
    delay_ms: float | None = None
    loss_percent: float | None = None


class ObservationTimes(Part):
    """In seconds since 1970."""

    steady_s: float
    end_s: float


class Connections(Part):
    """How many connections came to what."""

    opened: int
    moved: int
    spoke: int
    unfinished: int
    silent: int
    late: int
    limited: int
    reset: int
    hung: int
    broken_unmoved: int
    reconnected: int
    reopened: int


class HalfOpen(Part):
    """Connections that their old owner kept."""

    peak: int
    at_end: int
    silent: int
    returned: int
    out_of_reach: int
    cut_off: int
    count: int
    lifetime_ms: Shares


class WaitingUnmoved(Part):
    """How long unmoved connections waited for answers."""

    before: Shares
    after: Shares
    still_waiting: int


class Packets(Part):
    """Packets counted by guards and on the wire."""

    stray: int
    node_resets: int
    tier1_copies: int
    tier2_copies: int
    copies_accepted: int
    copies_rejected: int
    passed_on: int
    proactive_resets: int
    resets_repeated: int = Field(
        default=0, description="strays that were answered again, without a fan-out"
    )
    resets_limited: int = Field(
        default=0, description="strays whose fan-out the budget refused"
    )
    relays_sent: int = Field(
        default=0, description="clients' own resets that nodes relayed to the owners"
    )
    relays_limited: int = Field(default=0, description="those that the budget refused")
    relays_accepted: int = Field(default=0, description="those that freed a connection")
    probes: int = Field(
        default=0, description="keepalives that nodes sent when in doubt"
    )
    unreadable: int = Field(
        default=0,
        description="TCP with options, extension headers, or fragments: dropped",
    )


class Healing(Part):
    """What became of half-open connections that no copy had freed."""

    on: bool
    within_s: float | None = Field(description="the bound, s")
    destroyed: int | None = Field(
        description="ends that were destroyed at the deadline"
    )
    longest_ms: float | None = Field(
        description="longest time for which an owner held a moved connection in vain"
    )


class OverTime(Part):
    """A count, seen many times a second."""

    peak: int
    at_end: int
    held_s: float = Field(description="the sum over time: count times seconds")


class OwnLock(Part):
    """What clients that were cut off waited for their own locks."""

    asked: int
    granted: int
    still_waiting: int = Field(description="at the end of the observation")
    wait_ms: Shares


class FirstRefusal(Part):
    """The first client that was refused."""

    event: int = Field(description="instants of events before it")
    after_s: float = Field(description="since the first event was requested")


class PredictedSlots(Part):
    """What the seed and the tables say, before anything runs."""

    held_by_nobody: int
    first_refusal: int | None = Field(description="instants of events before it")
    without_connection: int


class Slots(Part):
    """Servers with a limit of connections."""

    limit: int = Field(description="of each node")
    held_by_nobody: int = Field(
        description="nodes' sockets at the end whose client has none"
    )
    first_refusal: FirstRefusal | None
    without_connection: int = Field(
        description="clients at the end that broke and did not get back in"
    )
    predicted: PredictedSlots | None = Field(
        description="None where clients that moved are not reset"
    )


class Harm(Part):
    """What half-open connections held, by the servers' and the clients' own word. Locks are
    those of workloads that have them, slots those of servers with a limit."""

    locks_of_nobody: OverTime | None = Field(
        default=None, description="locks held by sessions whose client had gone"
    )
    sessions_of_nobody: OverTime | None = None
    own_lock: OwnLock | None = None
    slots: Slots | None = None
    refused_connections: int = Field(
        description="attempts to connect that failed after all had been open"
    )
    looks: int | None = Field(
        default=None, description="how often the servers were asked"
    )


class BeforeAndAfter(Part):
    """A figure before the first event and after the last; None where it has no value."""

    before: float | None
    after: float | None


class BalanceChange(Part):
    """What one instant of events moved."""

    connections_moved: int
    connections: float | None = Field(description="share of the connections")
    buckets: float | None = Field(description="share of the hash space")


class Polarisation(Part):
    """Of tier 2, chi-squared by degree of freedom: 1 is none."""

    as_it_is: float | None
    same_basis: float | None


class Balance(Part):
    """How evenly the tiers share connections out, and what events move."""

    fabric_max_over_mean: BeforeAndAfter
    node_max_over_mean: BeforeAndAfter
    changes: list[BalanceChange]
    polarisation: Polarisation


class Data(Part):
    """Writes by the clients' word, and what a last look found of them."""

    acknowledged_writes: int
    verified_writes: int
    lost_writes: int
    unverified_writes: int


class ClaimRow(Part):
    """One element of the claim, or the order on the wire, over all moved connections."""

    element: Literal["E1", "E2", "E3", "E4", "E5", "order"]
    passed: bool
    evidence: str
    checked: int
    held: int


class Measurement(Part):
    """What the instruments lost, and where two of them disagree."""

    reliable: bool
    reasons: list[str]
    events_lost: int
    clock_step_ns: int
    captured: int | None
    dropped: int | None
    owners_not_as_predicted: int
    arrivals_compared: int
    arrivals_not_as_predicted: int
    opened_by_kernel: int
    sockets_begun_unseen: int
    sockets_compared: int
    sockets_not_agreed: int
    half_open_by_socket_tables: int
    half_open_not_agreed: int
    disagreements: list[str]
    clients_without_summary: int
    supervisor_faults: list[str]
    switch_drops: int
    locks_unseen_s: float | None = Field(
        default=None, description="longest time without a look at the locks"
    )


class Judged(Part):
    """One expectation held against the summary."""

    key: str
    condition: Condition | bool
    found: Any
    met: bool


class LeftOpen(Part):
    """One expectation that this run cannot tell of."""

    key: str
    condition: Condition | bool
    why: str


class FioFigures(Part):
    """As fio counts them, over all clients."""

    jobs: int
    errors: int
    wrong_blocks: int
    writes: int
    iops: float | None
    write_latency_ms: Shares


class Pins(Part):
    """What pinned flows cost, by switch."""

    entries: dict[str, int]
    rss_kib: dict[str, int]
    memory: dict[str, dict[str, int]]


class Summary(Part):
    """``summary.json``, whole."""

    schema_version: Literal[1] = Field(alias="schema")
    scenario: str
    policy: str
    balancer: str
    seed: int
    ip: Literal[4, 6]
    cluster: ClusterSize
    datapath: DatapathUsed
    links: Links
    workload: Load
    servers: Servers = Field(default=Servers(), description="how they were tuned")
    events: list[EventTimes]
    observation: ObservationTimes
    connections: Connections
    half_open: HalfOpen
    reset_latency_ms: Shares
    waiting_unmoved_ms: WaitingUnmoved | None = Field(
        description="None where nothing was captured"
    )
    healing: Healing
    packets: Packets
    balance: Balance
    data: Data
    claim: list[ClaimRow]
    wire_order: ClaimRow | None = Field(description="None where nothing was captured")
    measurement: Measurement
    moved_connections: list[str]
    disturbed: list[str] = Field(
        default=[], description="what ended connections that did not move"
    )
    provenance: dict[str, Any]
    harm: Harm | None = Field(
        default=None, description="of locks and of limited servers"
    )
    fio: FioFigures | None = Field(default=None, description="of that workload only")
    pins: Pins | None = Field(
        default=None, description="of the policies stateful and jet"
    )
    expectations: list[Judged]
    not_judged: list[LeftOpen]
    outcome: Literal["as-expected", "unexpected", "untrusted"]
    as_expected: bool | None = Field(description="None where it is untrusted")
