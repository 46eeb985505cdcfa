"""A plan in words: what was asked and assumed, the answer, and what remains at risk. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel

from experiments.model.plan_decision import COST, Choice, Limit, cheaper_by, chosen
from experiments.model.plan_spec import PlanSpec
from nodes.clients.patterns import PATTERNS

#: What each figure counts, after its number; its unit is in front.
UNITS: Mapping[str, str] = {
    "half_open_p99_s": "s half-open (p99)",
    "hung": "clients that hang",
    "broken_per_event": "clients reset or hanging at the worst event",
    "copies_per_s_on_one_link": "copies/s on the busiest link",
    "copies_per_s": "copies/s in the cluster",
    "pin_memory_mib": "MiB of pins",
    "detours": "connections on a detour",
    "locks_of_nobody": "locks of nobody",
    "half_open_memory_mib": "MiB held by half-open connections",
}


class Fact(NamedTuple):
    """One line of the question; ``given``: in the spec; otherwise a default of ours."""

    what: str
    value: str
    given: bool


def figure_text(figure: float | None) -> str:
    """A figure for people; a question mark where it was not computed.

    >>> figure_text(11243.0), figure_text(0.1214), figure_text(None)
    ('11,243', '0.121', '?')
    """
    if figure is None:
        return "?"
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"


def question(spec: PlanSpec, changes: int) -> list[Fact]:
    """What was given and what was assumed; ``changes``: how many events there are."""
    size, model = spec.cluster, spec.model
    nodes = sum(1 for _ in spec.plan().nodes)
    half_open = f"{spec.limits.half_open_kib:g} KiB"
    healed = {None: "with each policy that sends copies", False: "never"}
    healing = f"within {spec.heal_within_s:g} s, {healed.get(spec.heal, 'always')}"
    return [
        Fact(
            "Nodes",
            f"{nodes:,} nodes in {len(spec.plan().chassis):,} chassis",
            bool({"chassis", "nodes"} & size.model_fields_set),
        ),
        Fact("Balancer", spec.balancer, "balancer" in spec.model_fields_set),
        *_connections(spec),
        _churn(spec, changes),
        Fact("Computed time", f"{spec.horizon_s:,g} s", _given(model, "for_s")),
        Fact(
            "After a reset, a client",
            f"connects again after {model.reconnect_s:g} s",
            _given(model, "reconnect_s"),
        ),
        Fact(
            "A half-open connection holds",
            half_open,
            _given(spec.limits, "half_open_kib"),
        ),
        Fact(
            "A pinned entry holds",
            f"{model.pin_bytes:,} bytes",
            _given(model, "pin_bytes"),
        ),
        Fact("Healing by keepalives", healing, _given(spec, "heal_within_s")),
    ]


def question_in_words(facts: Sequence[Fact], limits: Sequence[Limit]) -> str:
    """The question in one paragraph."""
    value = {fact.what: fact.value for fact in facts}
    moves = value.get("Churn") or value["Events"]
    kept = [f"{one.most:,g} {UNITS[one.key]}" for one in limits]
    asked = f"keeps to at most {_listed(kept)}" if kept else "is cheapest"
    return (
        f"{value['Nodes']}; balancer {value['Balancer']}. Connections: "
        f"{value['Connections']}. A client sends {value['A client sends']}; idle: "
        f"{value['Idle connections']}. Events: {moves}. Which policy {asked}? At what "
        "cost, and what remains at risk?"
    )


def _connections(spec: PlanSpec) -> list[Fact]:
    """How many there are, how long they last, and how often they speak."""
    model, workload = spec.model, spec.workload
    if model.trace is not None:
        count = Fact("Connections", f"those of {model.trace}", True)
    elif model.connections is not None:
        last = _distribution(model.durations)
        count = Fact(
            "Connections", f"{model.connections:,} open; they last {last}", True
        )
    else:
        given = "connections" in workload.model_fields_set
        count = Fact("Connections", f"{workload.connections:,}, as in a run", given)
    factor = PATTERNS[workload.pattern].pause_factor
    interval_s = model.interval_s or workload.interval_s * factor
    speak = f"one segment each {interval_s:g} s"
    idle = "none"
    if model.idle_share:
        idle = f"{model.idle_share:.0%}: one segment each {model.idle_interval_s:g} s"
    locks = "those of the workload"
    if model.lock_share is not None:
        locks = f"{model.lock_share:.0%} hold {model.locks}"
    return [
        count,
        Fact("A client sends", speak, _given(model, "interval_s")),
        Fact("Idle connections", idle, _given(model, "idle_share")),
        Fact("Locks", locks, _given(model, "lock_share")),
    ]


def _churn(spec: PlanSpec, changes: int) -> Fact:
    """How members come and go."""
    churn = spec.model.churn
    if churn is None:
        return Fact("Events", f"{changes:,}, as listed in the spec", bool(spec.events))
    text = (
        f"a member leaves each {1 / churn.per_s:.3g} s, {churn.planned_share:.0%} of "
        f"these planned, for {_distribution(churn.outage)}; {changes:,} changes"
    )
    return Fact("Churn", text, True)


def _distribution(drawn: BaseModel) -> str:
    """A distribution of durations in words: its kind and its parameters."""
    given = drawn.model_dump()
    kind = given.pop("kind")
    if kind == "endless":
        return "until they are reset"
    if kind == "quantiles":
        return "as measured (quantiles)"
    names = {"median_s": "median {} s", "mean_s": "mean {} s", "seconds": "{} s"}
    parts = [
        names.get(key, f"{key} {{}}").format(f"{value:g}")
        for key, value in given.items()
    ]
    return f"{', '.join(parts)} ({kind})"


def _given(section: BaseModel, key: str) -> bool:
    return key in section.model_fields_set


def answer(ranking: Sequence[Choice], limits: Sequence[Limit]) -> str:
    """The choice and its price, in two sentences."""
    best = chosen(ranking)
    if best is None:
        closest = ranking[0]
        missed = "; ".join(_miss(closest, one) for one in closest.missed)
        return (
            f"No policy keeps all limits; {closest.policy} misses fewest: {missed}. "
            "Relax these, or change the cluster."
        )
    keep = sum(not one.missed for one in ranking)
    others = f"{keep - 1} other {'policy' if keep == 2 else 'policies'}"
    why = cheaper_by(ranking)
    also = f"so do {others}" if keep > 1 else "no other policy does"
    if keep > 1 and why is not None:
        own, other = (figure_text(one.figures[why]) for one in ranking[:2])
        also += (
            f", of which the next, {ranking[1].policy}, costs {other} and not {own} "
            f"{UNITS[why]}"
        )
    return (
        f"Choose {best.policy}: it keeps all {len(limits)} limits, and {also}. "
        f"It costs {price(best)}, and leaves at risk {risk(best)}."
    )


def price(choice: Choice) -> str:
    """What a policy costs in switches and on links; what is not zero is named."""
    keys = ("pin_memory_mib", "detours", "copies_per_s_on_one_link", "copies_per_s")
    figures = choice.figures
    named = [f"{figure_text(figures[k])} {UNITS[k]}" for k in keys if figures[k] != 0]
    return _listed(named) if named else "neither copies nor pins nor detours"


def risk(choice: Choice) -> str:
    """Whom an event still harms under a policy; what is not zero is named."""
    keys = ("broken_per_event", "hung", "half_open_p99_s", "half_open_memory_mib")
    figures = choice.figures
    named = [
        f"{figure_text(figures[key])} {UNITS[key]}"
        for key in (*keys, "locks_of_nobody")
        if figures[key] != 0
    ]
    return _listed(named) if named else "nobody"


def lower_bounds(ranking: Sequence[Choice]) -> list[str]:
    """Policies whose half-open times may be longer than was computed: some were half-open
    at the end."""
    return [one.policy for one in ranking if one.figures["half_open_at_end"]]


def why_not(choice: Choice) -> str:
    """The limits that a policy misses, by its figures."""
    return "; ".join(_miss(choice, one) for one in choice.missed)


def _miss(choice: Choice, limit: Limit) -> str:
    figure = choice.figures.get(limit.key)
    if figure is None:
        return f"{UNITS[limit.key]}: not computed, so no limit is kept"
    return f"{figure_text(figure)} {UNITS[limit.key]}, and at most {limit.most:g}"


def _listed(parts: Sequence[str]) -> str:
    """``a, b and c``.

    >>> _listed(["a", "b", "c"]), _listed(["a"])
    ('a, b and c', 'a')
    """
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def order_in_words() -> str:
    """By what the policies that keep all limits are ordered."""
    return ", then ".join(UNITS[key] for key in COST)
