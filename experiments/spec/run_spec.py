"""The spec of one experiment: the strict model of a scenario's YAML file.

Every key has a default: ``{}`` is a runnable experiment. A key that is not in these models
is an error (:mod:`experiments.spec.spec_file` reports the key, its line and the nearest
known key).
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core.core_schema import CoreSchema, no_info_before_validator_function

from controller.balancers import BALANCERS, SizeError, WeightError, get_balancer
from controller.pipeline.cluster_state import ClusterState
from controller.policies import POLICIES, require_pins
from experiments.spec.names import Name
from experiments.workloads import WORKLOADS
from nodes.clients.patterns import BUSY, PATTERNS
from nodes.guard.guards import AUTO, GUARDS
from nodes.servers.server_settings import ServerSettings
from topologies.domain import plan
from topologies.domain.events import EVENTS, LINK, EventError, event_of
from topologies.domain.events.event import Event
from topologies.domain.events.instant import instants, resolve_events
from topologies.domain.link_options import LinkOptions
from topologies.domain.membership import Membership


class Strict(BaseModel):
    """A model that rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


@dataclass(frozen=True, eq=False)
class _Known:
    """Accepts only the current names of a registry. Its error lists them."""

    choices: Collection[str]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """The check, before any other of the field."""
        return no_info_before_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The names, for editors that use the JSON Schema."""
        return {**handler(schema), "enum": list(self.choices)}

    def _check(self, value: object) -> object:
        if value not in self.choices:
            names = ", ".join(self.choices)
            raise ValueError(f"{value!r} is not one of: {names}")
        return value


class ClusterSpec(Strict):
    """The cluster before the first event: its size, and the weights of its members."""

    chassis: int = Field(default=2, ge=1, le=plan.MAX_CHASSIS)
    nodes: int = Field(
        default=3, ge=1, le=plan.MAX_NODES, description="nodes in each chassis"
    )
    clients: int = Field(default=2, ge=1, le=plan.MAX_CLIENTS)
    datapath: Literal["auto", "kernel", "userspace"] = Field(
        default="auto",
        description="which datapath of Open vSwitch; auto: the kernel's if it has one",
    )
    weights: dict[str, float] = Field(
        default_factory=dict,
        description="weights of nodes and chassis, by name (Balancer.with_weights)",
    )
    buckets: int | None = Field(
        default=None,
        description="buckets of each switch's table; by default the balancer's own number",
    )
    pins: int | None = Field(
        default=None,
        ge=1,
        description="how many connections a switch can pin (stateful, jet); the least "
        "recently used pin makes room. By default any number",
    )


class LinksSpec(Strict):
    """Rate, delay and loss of each host's packets; see topologies/shaping.py."""

    rate_mbit: float | None = None
    delay_ms: float | None = None
    loss_percent: float | None = None

    @model_validator(mode="after")
    def _can_be(self) -> LinksSpec:
        _ = self.options  # raises for impossible values
        return self

    @property
    def options(self) -> LinkOptions:
        """These values as :class:`LinkOptions`."""
        return LinkOptions(self.rate_mbit, self.delay_ms, self.loss_percent)


class WorkloadSpec(Strict):
    """The work of the clients during the run."""

    kind: Annotated[str, _Known(WORKLOADS)] = "nbd"
    connections: int = Field(
        default=48, ge=1, le=50_000, description="over all clients"
    )
    interval_ms: float = Field(
        default=20.0, gt=0, description="pause between two requests"
    )
    pattern: Annotated[str, _Known(PATTERNS)] = Field(
        default=BUSY.name, description="how each connection is used over time"
    )

    @model_validator(mode="after")
    def _pattern_is_possible(self) -> WorkloadSpec:
        """Checks that the workload's clients support the pattern."""
        why = WORKLOADS[self.kind].unsupported.get(self.pattern)
        if why is not None:
            able = [n for n, w in WORKLOADS.items() if self.pattern in w.patterns]
            raise ValueError(
                f"pattern: {self.pattern!r} is not possible with {self.kind}: {why}. "
                f"{self.kind} supports: {', '.join(WORKLOADS[self.kind].patterns)}; "
                f"{self.pattern} is possible with kind: {', '.join(able)}"
            )
        return self

    @property
    def interval_s(self) -> float:
        """The pause between two requests of one connection, in seconds."""
        return self.interval_ms / 1000


class ServersSpec(Strict):
    """How administrators tune the nodes for clients that die without a word.

    None: as the kernel and the server come. A setting that the workload's servers would not
    heed is refused.
    """

    keepalive_s: int | None = Field(
        default=None,
        ge=1,
        le=32767,
        description="silence before the first keepalive (tcp_keepalive_time; Linux: 7200)",
    )
    keepalive_interval_s: int | None = Field(
        default=None,
        ge=1,
        le=32767,
        description="between two keepalives (tcp_keepalive_intvl; Linux: 75)",
    )
    keepalive_probes: int | None = Field(
        default=None,
        ge=1,
        le=127,
        description="unanswered keepalives that end a connection (tcp_keepalive_probes; "
        "Linux: 9)",
    )
    retries: int | None = Field(
        default=None,
        ge=1,
        le=15,
        description="retransmissions that end a connection (tcp_retries2; Linux: 15)",
    )
    user_timeout_s: float | None = Field(
        default=None,
        ge=0.1,
        le=3600,
        description="how long data may be unacknowledged (TCP_USER_TIMEOUT, by the "
        "server's own setting; Linux: as long as retries last)",
    )
    slots: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="connections that each node's server accepts at one time",
    )
    nop_interval_s: int | None = Field(
        default=None,
        ge=1,
        le=3600,
        description="iSCSI: between two NOP-In that ask the initiator (tgtd; off by default)",
    )
    nop_count: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="iSCSI: unanswered NOP-In that end a connection",
    )

    @model_validator(mode="after")
    def _a_target_asks_and_counts(self) -> ServersSpec:
        if (self.nop_interval_s is None) != (self.nop_count is None):
            raise ValueError("nop_interval_s and nop_count: give both or neither")
        return self

    @property
    def settings(self) -> ServerSettings:
        """These values as :class:`ServerSettings`."""
        return ServerSettings(**self.model_dump())


#: Every kind of event that a spec may name: those of the registry, and changes of links.
_KINDS: Mapping[str, Event] = ChainMap({LINK: event_of(LINK)}, EVENTS)
_LINK_ONLY = "kind link only; by default as the spec's links"


class EventSpec(Strict):
    """One event, ``at`` seconds after the clients are steady.

    Events with the same ``at`` are applied to the switches together, as one change. The
    kind ``link`` shapes what its target sends from then on, and changes no table. What it
    does not name is as the spec's ``links`` has it; without any, the link recovers.
    """

    at: float = Field(default=0.0, ge=0)
    kind: Annotated[str, _Known(_KINDS)]
    target: str
    rate_mbit: float | None = Field(default=None, description=_LINK_ONLY)
    delay_ms: float | None = Field(default=None, description=_LINK_ONLY)
    loss_percent: float | None = Field(default=None, description=_LINK_ONLY)

    @model_validator(mode="after")
    def _only_links_are_shaped(self) -> EventSpec:
        if self.options and self.kind != LINK:
            raise ValueError(
                f"{', '.join(self.options)}: {self.kind} has no such option; only kind: "
                f"{LINK} has, in an event of its own"
            )
        LinkOptions(**self.options)  # raises for impossible values
        return self

    @model_serializer(mode="wrap")
    def _without_absent_options(
        self, handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        """Membership events have no options: they are not written as null."""
        return {key: v for key, v in handler(self).items() if v is not None}

    @property
    def options(self) -> dict[str, float]:
        """The options of a link that this event names, by key."""
        named = ("rate_mbit", "delay_ms", "loss_percent")
        found = {key: getattr(self, key) for key in named}
        return {key: value for key, value in found.items() if value is not None}

    def resolve(self, links: LinkOptions) -> tuple[Event, str]:
        """The event, and its target. ``links``: the spec's, for what it does not name."""
        return event_of(self.kind, replace(links, **self.options)), self.target


#: What people write for a version of IP; the numbers themselves are as good.
_IP_VERSIONS: dict[object, int] = {4: 4, 6: 6, "4": 4, "6": 6, "ipv4": 4, "ipv6": 6}


#: ``on`` and ``off`` are booleans in YAML 1.1, but not on a command line.
_SWITCH: dict[object, bool] = {True: True, False: False, "on": True, "off": False}


class RunSpec(Strict):
    """One complete experiment. The same spec and seed move the same connections."""

    scenario: Name = "unnamed"
    description: str = ""
    policy: Annotated[str, _Known(POLICIES)] = Field(
        default="flood", validation_alias=AliasChoices("policy", "reset")
    )
    balancer: Annotated[str, _Known(BALANCERS)] = "modulo"
    seed: int = Field(default=1, ge=0)
    ip: Annotated[Literal[4, 6], WithJsonSchema({"enum": [*_IP_VERSIONS]})] = 4
    guard: Annotated[str, _Known((AUTO, *GUARDS))] = AUTO
    heal: Annotated[bool | None, WithJsonSchema({"enum": [*_SWITCH, None]})] = Field(
        default=None,
        description="free every half-open connection within heal_within_s, also where a "
        "copy is lost or its client is silent; by default on if the policy sends copies",
    )
    heal_within_s: float = Field(default=2.0, ge=0.5, le=600)
    cluster: ClusterSpec = ClusterSpec()
    links: LinksSpec = LinksSpec()
    workload: WorkloadSpec = WorkloadSpec()
    servers: ServersSpec = ServersSpec()
    events: tuple[EventSpec, ...] = ()
    steady_s: float = Field(default=0.5, ge=0, le=600)
    observe_s: float = Field(default=2.0, ge=0, le=3600)
    capture: bool = True
    expect: dict[str, str | bool | int | float] = Field(default_factory=dict)

    @field_validator("ip", mode="before")
    @classmethod
    def _ip_version(cls, value: object) -> object:
        return _IP_VERSIONS.get(str(value).lower(), value)

    @field_validator("heal", mode="before")
    @classmethod
    def _on_or_off(cls, value: object) -> object:
        return _SWITCH.get(value.lower() if isinstance(value, str) else value, value)

    @property
    def healing(self) -> bool:
        """Whether half-open connections are healed."""
        return POLICIES[self.policy].sends_copies if self.heal is None else self.heal

    @model_validator(mode="after")
    def _events_in_order(self) -> RunSpec:
        times = [event.at for event in self.events]
        if times != sorted(times):
            raise ValueError("events: must be in the order of their 'at'")
        return self

    @model_validator(mode="after")
    def _weights_can_be_heeded(self) -> RunSpec:
        try:
            get_balancer(self.balancer, self.cluster.weights, self.cluster.buckets)
        except WeightError as error:
            raise ValueError(f"cluster.weights: {error}") from error
        except SizeError as error:
            raise ValueError(f"cluster.buckets: {error}") from error
        return self

    @model_validator(mode="after")
    def _pins_are_made(self) -> RunSpec:
        if self.cluster.pins is not None:
            try:
                require_pins(self.policy)
            except LookupError as error:
                raise ValueError(f"cluster.pins: {error}") from error
        return self

    @model_validator(mode="after")
    def _servers_heed_their_settings(self) -> RunSpec:
        kind = self.workload.kind
        for key in self.servers.settings.given():
            if key not in WORKLOADS[kind].heeds:
                able = [name for name, one in WORKLOADS.items() if key in one.heeds]
                raise ValueError(
                    f"servers.{key}: the servers of {kind} do not heed it "
                    f"(docs/harm.md); the workloads that do: {', '.join(able)}"
                )
        return self

    @model_validator(mode="after")
    def _events_make_sense(self) -> RunSpec:
        """Checks that each event is possible in the state after the events before it.

        Weights may name members that an event adds.
        """
        state, number = self.state().arrangement, 0
        for instant in self.instants():
            start = state
            for count, event in enumerate(instant, start=1):
                try:
                    until_here = self.requests(instant[:count])
                    state = resolve_events(start, until_here)[-1].new
                except (EventError, plan.PlanError) as error:
                    raise ValueError(
                        f"events.{number}: {event.kind}: {error}"
                    ) from error
                number += 1
        members = [name for c in state.plan.chassis for name in (c.name, *_names(c))]
        for name in self.cluster.weights.keys() - members:
            raise ValueError(
                f"cluster.weights: no chassis or node {name!r}, neither at the start "
                f"nor added by an event; known: {', '.join(members)}"
            )
        return self

    def check_capacity(self) -> None:
        """Checks that the clients can hold the connections. A prediction needs no check.

        Raises :class:`ValueError`.
        """
        load, clients = self.workload, self.cluster.clients
        limit = WORKLOADS[load.kind].max_connections(PATTERNS[load.pattern])
        hosts = WORKLOADS[load.kind].max_clients or plan.MAX_CLIENTS
        if load.connections > clients * limit:
            raise ValueError(
                f"workload.connections: {load.connections} are too many: a client of "
                f"{load.kind} holds at most {limit} with pattern {load.pattern}, and "
                f"cluster.clients is {clients} (it may be up to {hosts})"
            )
        if clients > hosts:
            raise ValueError(
                f"cluster.clients: {clients} are too many: the servers of {load.kind} "
                f"have stores for at most {hosts}"
            )
        total = WORKLOADS[load.kind].max_total
        if total is not None and load.connections > total:
            raise ValueError(
                f"workload.connections: {load.connections} are too many: the servers of "
                f"{load.kind} hold at most {total} together"
            )

        self._check_slots()

    def _check_slots(self) -> None:
        nodes, slots = self.cluster.chassis * self.cluster.nodes, self.servers.slots
        if slots is not None and self.workload.connections > slots * nodes:
            raise ValueError(
                f"servers.slots: {nodes} nodes with {slots} slots each are too few for "
                f"workload.connections: {self.workload.connections}"
            )

    def instants(self) -> list[tuple[EventSpec, ...]]:
        """The events in their order, grouped by instant."""
        return instants(self.events)

    def requests(self, instant: Iterable[EventSpec]) -> list[tuple[Event, str]]:
        """Those events, each with its target."""
        return [event.resolve(self.links.options) for event in instant]

    def all_links(self) -> tuple[LinkOptions, ...]:
        """Every shaping that some link has at some time, the one at the start first."""
        changes = [event for event, _ in self.requests(self.events)]
        return self.links.options, *(one.link for one in changes if one.link)

    def states(self) -> list[ClusterState]:
        """The state of the cluster before the first event, and after each instant."""
        states = [self.state()]
        for instant in self.instants():
            events = self.requests(instant)
            steps = resolve_events(states[-1].arrangement, events)
            states.append(states[-1].after(steps[-1].new))
        return states

    def state(self) -> ClusterState:
        """The state of the cluster before the first event."""
        shape = self.plan()
        return ClusterState(
            shape,
            Membership.all_in_service(shape),
            POLICIES[self.policy],
            get_balancer(self.balancer, self.cluster.weights, self.cluster.buckets),
            healing=self.healing,
        )

    def plan(self) -> plan.Plan:
        """The plan of the cluster before the first event."""
        size = self.cluster
        return plan.Plan.build(size.chassis, size.nodes, size.clients)


def _names(chassis: plan.Chassis) -> list[str]:
    return [node.name for node in chassis.nodes]
