"""What becomes of connections that a change has moved, by the policy's answers.

The policy is asked its four questions (:mod:`controller.policies.questions`), never its
name. All is computed connection by connection, over arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from controller.policies.questions import AtEvent, Memory, OnStray, Travel
from experiments.healing.schedule import DEADLINE, FIRST_PROBE, NEXT_PROBE
from experiments.model.conduct import Conduct
from experiments.model.durations import Times
from experiments.model.earlier_owners import earlier_owners
from experiments.model.moved import Moved, reaches
from experiments.model.retransmission import freed_by_answer
from experiments.model.routes import Mask, Way
from experiments.model.step_functions import Index

_NEVER = np.inf


@dataclass
class Fates:
    """What became of each. Times are infinite where that did not happen.

    ``stray``: when its first stray came. ``reset``: when its client lost it. ``held``:
    from and to when its owner held it half-open. ``home``: at the end the tables lead to
    its owner again, and it works, since ``home_at``. ``told``: a copy freed its owner.
    ``unreachable``: no copy could reach its owner. ``tier1``, ``tier2``: the copies.
    ``detours``: from and to when segments of connections were passed on.
    """

    stray: Times
    reset: Times
    held_from: Times
    held_to: Times
    home: Mask
    home_at: Times
    told: Mask
    unreachable: Mask
    stray_era: Index
    tier1: Index
    tier2: Index
    detours: list[tuple[Times, Times]] = field(default_factory=list)

    @classmethod
    def none(cls, count: int) -> Fates:
        """Nothing became of them."""
        never, no = np.full(count, _NEVER), np.zeros(count, bool)
        return cls(
            stray=never,
            reset=never.copy(),
            held_from=never.copy(),
            held_to=never.copy(),
            home=no,
            home_at=never.copy(),
            told=no.copy(),
            unreachable=no.copy(),
            stray_era=np.zeros(count, np.int64),
            tier1=np.zeros(count, np.int64),
            tier2=np.zeros(count, np.int64),
        )


def fates_of(moved: Moved, conduct: Conduct) -> Fates:
    """What becomes of them."""
    policy = conduct.policy
    if policy.memory is Memory.MOVABLE:
        return _resets(moved, conduct, _unpinned_movable(moved, conduct))
    if policy.pins:
        return _resets(moved, conduct, _unpinned(moved))
    if policy.on_stray is OnStray.REDIRECT:
        return _resets(moved, conduct, _not_passed_on(moved))
    return _resets(moved, conduct, _strays(moved, conduct))


@dataclass
class _Strays:
    """``at``: when each one's first stray came that its policy does not pass on; ``era``:
    in which. ``since``: the time of the move that it was due to. ``home`` and ``home_at``:
    see Fates."""

    at: Times
    era: Index
    since: Times
    home: Mask
    home_at: Times
    detours: list[tuple[Times, Times]] = field(default_factory=list)

    @classmethod
    def none(cls, moved: Moved) -> _Strays:
        count = len(moved)
        since = moved.routes.begins(moved.era)
        false, never = np.zeros(count, bool), np.full(count, _NEVER)
        return cls(never, moved.era.copy(), since, false, never.copy())


def _strays(moved: Moved, conduct: Conduct) -> _Strays:
    """The next segment of a client is a stray, if the tables do not lead to its owner
    again before."""
    routes, found = moved.routes, _Strays.none(moved)
    silent = conduct.policy.on_stray is OnStray.STAY_SILENT
    patience = conduct.delays.give_up_s if silent else 0.0
    pending, era = np.arange(len(moved)), moved.era.copy()
    until = routes.way(moved.hashes, moved.index, era).until
    due = _next_words(moved, conduct, pending, era)
    while True:
        end = np.minimum(routes.begins(until[pending]), moved.horizon_s)
        spoke = pending[due[pending] < end]
        first = spoke[due[spoke] < found.at[spoke]]
        found.at[first], found.era[first] = due[first], era[first]
        open_ = (due[pending] + patience >= end) & (end < moved.horizon_s)
        pending = pending[open_]
        if not len(pending):
            return found
        era[pending] = until[pending]
        way = routes.way(moved.hashes, moved.index[pending], era[pending])
        until[pending] = way.until
        back = (way.node == moved.owner[pending]) & (moved.loss[pending] > era[pending])
        again = _leave_again(moved, pending[back], era, until, found)
        found.since[again] = routes.begins(era[again])
        due[again] = _next_words(moved, conduct, again, era)
        pending = np.concatenate([pending[~back], again])


def _leave_again(
    moved: Moved, back: Index, era: Index, until: Index, found: _Strays
) -> Index:
    """Of those whose owner they are sent to again, those that leave it once more;
    ``era`` and ``until`` are then those of that move. The others are ``found`` at home."""
    routes = moved.routes
    index, owner, last = moved.index[back], moved.owner[back], moved.last[back]
    leaves = routes.departures(moved.hashes, index, owner, until[back], last)
    gone = leaves < routes.eras
    stays, again = back[~gone], back[gone]
    found.home[stays], found.home_at[stays] = True, routes.begins(era[stays])
    era[again] = leaves[gone]
    if len(again):
        way = routes.way(moved.hashes, moved.index[again], era[again])
        until[again] = way.until
    return again


def _next_words(moved: Moved, conduct: Conduct, which: Index, era: Index) -> Times:
    """When those at ``which`` send their next segment; healing owners ask them to."""
    since = moved.routes.begins(era[which])
    said = moved.flows.speaks(moved.index[which], since)
    if conduct.heal_within_s is not None:
        asks = reaches(moved, which, era[which])
        asked = since + FIRST_PROBE * conduct.heal_within_s
        said[asks] = np.minimum(said, asked)[asks]
    return said


def _unpinned(moved: Moved) -> _Strays:
    """Pinned connections follow their owner for as long as it can be reached."""
    routes, found = moved.routes, _Strays.none(moved)
    reach = routes.reach
    step = reach.at(moved.owner, routes.era_of(moved.flows.birth[moved.index]))
    era = reach.until[step]
    pending = np.arange(len(moved))
    while True:
        cut = routes.begins(era[pending]) < moved.last[pending]
        found.home[pending[~cut]] = True
        pending = pending[cut]
        if not len(pending):
            return found
        since = routes.begins(era[pending])
        due = moved.flows.speaks(moved.index[pending], since)
        back = reach.until[reach.at(moved.owner[pending], era[pending])]
        keeps = moved.loss[pending] > back
        returns = np.where(keeps, routes.begins(back), _NEVER)
        end = np.minimum(returns, moved.horizon_s)
        spoke = due < end
        found.at[pending[spoke]] = due[spoke]
        found.since[pending] = since
        found.era[pending] = era[pending]
        again = ~spoke & (returns < moved.horizon_s)
        pending, back = pending[again], back[again]
        era[pending] = reach.until[reach.at(moved.owner[pending], back)]


def _unpinned_movable(moved: Moved, conduct: Conduct) -> _Strays:
    """Only what a joining member has taken is pinned. What its owner gave away as it left
    goes by the tables. Every client has spoken since its bucket was in danger."""
    pinned, others = _unpinned(moved), _strays(moved, conduct)
    stays = np.zeros(len(moved), bool)
    for era in np.unique(moved.era).tolist():
        now = moved.era == era
        stays[now] = moved.routes.serving(era)[moved.owner[now]]
    return _Strays(
        np.where(stays, pinned.at, others.at),
        np.where(stays, pinned.era, others.era),
        np.where(stays, pinned.since, others.since),
        np.where(stays, pinned.home, others.home),
        np.where(stays, pinned.home_at, others.home_at),
    )


def _not_passed_on(moved: Moved) -> _Strays:
    """Strays are passed on to the owner, while it can be reached and is remembered."""
    routes, found = moved.routes, _Strays.none(moved)
    pending, era = np.arange(len(moved)), moved.era.copy()
    until, at_home = np.zeros(len(moved), np.int64), moved.era - 1
    while len(pending):
        now = routes.way(moved.hashes, moved.index[pending], era[pending])
        reach = routes.reach.at(moved.owner[pending], era[pending])
        until[pending] = np.minimum(now.until, routes.reach.until[reach])
        home = (now.node == moved.owner[pending]) & (moved.loss[pending] > era[pending])
        served = home | (
            reaches(moved, pending, era[pending])
            & remembered_by_switches(
                moved, pending, at_home[pending], now, era[pending]
            )
        )
        # The last era in which the tables led to it.
        at_home[pending[home]] = until[pending[home]] - 1
        since = routes.begins(era[pending])
        end = np.minimum(routes.begins(until[pending]), moved.horizon_s)
        due = moved.flows.speaks(moved.index[pending], since)
        spoke = ~served & (due < end)
        lost = pending[spoke]
        found.at[lost], found.era[lost] = due[spoke], era[lost]
        found.since[pending] = since
        detour = served & ~home & (due < end)
        stop = np.minimum(end, moved.last[pending])
        found.detours.append((due[detour], np.maximum(stop, due)[detour]))
        over = routes.begins(until[pending]) >= moved.last[pending]
        found.home[pending[served & over]] = True
        pending = pending[~spoke & ~over]
        era[pending] = until[pending]
    return found


def remembered_by_switches(
    moved: Moved, which: Index, then: Index, now: Way, era: Index
) -> Mask:
    """Whether the switches still find the owners in that era; ``then``: the last one in
    which the tables led there, ``now``: where they lead."""
    routes, index = moved.routes, moved.index[which]
    before = routes.way(moved.hashes, index, then)
    fabric, eras = np.zeros(len(which), np.int64), (then, era)
    known = routes.remembers(before.fabric, now.fabric, fabric, eras)
    switches = before.chassis + 1
    within = routes.turns(moved.hashes, index, switches, era)
    known &= routes.remembers(before.within, within, switches, eras)
    return known


def _resets(moved: Moved, conduct: Conduct, strays: _Strays) -> Fates:
    """The resets that strays draw, and how long owners hold half-open connections."""
    fates = Fates.none(len(moved))
    fates.home, fates.home_at = strays.home, strays.home_at
    fates.detours = strays.detours
    at, policy = strays.at.copy(), conduct.policy
    # Changes elsewhere, too, count by then: the owner may have lost its power.
    came = np.isfinite(at)
    strays.era[came] = moved.routes.era_of(at[came])
    has_end = moved.loss > strays.era
    freed = np.full(len(moved), _NEVER)
    if policy.at_event is not AtEvent.NOBODY:
        freed = _freed_at_event(moved, conduct)
    if policy.at_event is AtEvent.NODES:
        at[at >= freed] = _NEVER
        fates.reset = freed.copy()
    elif policy.at_event is AtEvent.KILLTCP:
        has_end &= at < freed
    spoke = np.isfinite(at)
    fates.stray, fates.stray_era = at, strays.era
    if policy.on_stray is not OnStray.STAY_SILENT:
        fates.reset = np.minimum(fates.reset, at + conduct.delays.reset_s)
    else:
        fates.reset = np.minimum(fates.reset, at + conduct.delays.give_up_s)
        fates.reset[strays.home] = _NEVER
    reachable = reaches(moved, np.arange(len(moved)), strays.era)
    fates.unreachable = spoke & has_end & ~reachable
    if conduct.freed_after_s is not None:
        heard = _tell(moved, conduct, fates, reachable)
        freed[heard] = np.minimum(freed, at + conduct.freed_after_s)[heard]
        fates.told = heard & has_end
    freed = np.minimum(freed, given_up(moved, conduct, strays, fates.reset))
    if conduct.heal_within_s is not None:
        freed = np.minimum(freed, _healed(moved, conduct, strays, reachable))
        if policy.on_stray is OnStray.STAY_SILENT:
            fates.reset = np.minimum(fates.reset, freed)
    held = spoke & has_end
    power = moved.routes.begins(moved.loss)
    fates.held_from[held] = at[held]
    fates.held_to[held] = np.maximum(np.minimum(freed, power), at)[held]
    return fates


def _tell(moved: Moved, conduct: Conduct, fates: Fates, reachable: Mask) -> Mask:
    """Counts each stray's copies; returns which owners get one."""
    routes, travel = moved.routes, conduct.policy.travel
    (spoke,) = np.isfinite(fates.stray).nonzero()
    era = fates.stray_era[spoke]
    told = np.zeros(len(moved), bool)
    if travel is Travel.TO_EARLIER_OWNERS:
        found = earlier_owners(
            routes, moved.hashes, moved.index[spoke], moved.owner[spoke], era
        )
        told[spoke] = found.owner
        fates.tier1[spoke], fates.tier2[spoke] = found.tier1, found.tier2
    elif travel is not Travel.TO_CLIENT:
        told[spoke] = reachable[spoke]
        sender = int(travel is Travel.TO_OTHERS)
        fates.tier2[spoke] = routes.reached_nodes[era] - sender
        if travel is not Travel.OUT_OF_BAND:
            fates.tier1[spoke] = routes.reached_chassis.sum(axis=1)[era]
    return told


def _healed(moved: Moved, conduct: Conduct, strays: _Strays, reachable: Mask) -> Times:
    """When healing frees the owners: by the client's answer to a keepalive, which it
    gives when it has been reset; if it is silent, at the deadline."""
    within = conduct.heal_within_s or 0.0
    routes = moved.routes
    step = routes.reach.at(moved.owner, strays.era)
    returns = routes.begins(routes.reach.until[step])
    since = np.where(reachable, strays.since, np.maximum(returns, strays.since))
    if conduct.policy.on_stray is OnStray.STAY_SILENT:
        return since + DEADLINE * within
    first = since + FIRST_PROBE * within
    with np.errstate(invalid="ignore"):
        late = np.maximum(0.0, np.ceil((strays.at - first) / (NEXT_PROBE * within)))
        late = np.where(strays.at == first, 1.0, late)
        return first + np.where(np.isfinite(late), late, 0.0) * NEXT_PROBE * within


def given_up(moved: Moved, conduct: Conduct, strays: _Strays, reset: Times) -> Times:
    """When an owner that nobody tells gives its end up: by keepalive, or where it has
    something to send, by the answer to that, or for want of one."""
    delays = conduct.delays
    freed = strays.at + delays.keepalive_s
    spoke = np.isfinite(strays.at)
    busy = moved.flows.interval[moved.index] <= delays.ack_delay_s
    (some,) = (spoke & busy).nonzero()
    if len(some):
        sent = moved.flows.spoke_last(moved.index[some], strays.since[some])
        answered = freed_by_answer(moved, some, strays.era[some], sent, reset[some])
        freed[some] = np.minimum(answered, sent + delays.give_up_s)
    return freed


def _freed_at_event(moved: Moved, conduct: Conduct) -> Times:
    """When owners end their connections by themselves, because a change has moved the connection and no other
    has brought it back until then."""
    routes = moved.routes
    then = routes.begins(moved.era) + conduct.delays.at_event_s
    era = routes.era_of(then)
    acts = reaches(moved, np.arange(len(moved)), era) & (then < moved.last)
    acts &= routes.way(moved.hashes, moved.index, era).node != moved.owner
    return np.where(acts, then, _NEVER)
