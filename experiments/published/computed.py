"""Our figures for each published experiment, by the row's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

from experiments.published import cheetah_rows, jet_rows, table_rows, testbed_rows
from experiments.published.hadoop import HADOOP_BETWEEN

#: Told how much of how much is done.
Progress = Callable[[int, int], None]
Computed = Callable[[Progress], Mapping[str, float]]

_RATES = (1.56, 3.12, 7.8, 15.6, 31.2, 78.0)
#: Runs of JET's simulation; one alone has from 0.15 % to 0.26 % broken.
_JET_RUNS = 4
#: Both of Cheetah's rows have the same connections, and are computed together.
_simulated = lru_cache(maxsize=1)(cheetah_rows.simulate)


def _over_provision(progress: Progress) -> Mapping[str, float]:
    steps = {
        "Karger": table_rows.karger_over_provision,
        "rendezvous": table_rows.rendezvous_over_provision,
        "Maglev": table_rows.maglev_over_provision,
    }
    found = {}
    for name, step in steps.items():
        for size in (table_rows.SMALL, table_rows.LARGE):
            found[f"{name}, {size:,}"] = step(size)
            progress(len(found), 6)
    return found


def _resilience(progress: Progress) -> Mapping[str, float]:
    small = table_rows.maglev_extra_moves(table_rows.SMALL, 10)
    progress(1, 2)
    large = table_rows.maglev_extra_moves(table_rows.LARGE, 10)
    return {"655,373 entries to 65,537": large / small}


def _cilium_removal(_progress: Progress) -> Mapping[str, float]:
    return {"3 -> 2 backends": table_rows.cilium_extra_moves()}


def _cilium_weights(_progress: Progress) -> Mapping[str, float]:
    slots = table_rows.cilium_weights()
    return dict(zip(("2", "13", "111", "10"), map(float, slots), strict=True))


def _hash_threshold(_progress: Progress) -> Mapping[str, float]:
    least, most = table_rows.hash_threshold_moves(members=10, keys=65_536)
    return {"the least": least, "the most": most}


def _cheetah_hash(progress: Progress) -> Mapping[str, float]:
    broken = _simulated(cheetah_rows.Setup(), _RATES, progress)
    shares = {rate: 100 * one.hash / one.connections for rate, one in broken.items()}
    found = {f"{rate:g} a minute": share for rate, share in shares.items()}
    return {**found, "x50": shares[78.0] / shares[1.56]}


def _cheetah_between(progress: Progress) -> Mapping[str, float]:
    setup = cheetah_rows.Setup(durations=HADOOP_BETWEEN)
    broken = cheetah_rows.simulate(setup, _RATES, progress)
    shares = {rate: one.hash / one.connections for rate, one in broken.items()}
    return {f"{rate:g} a minute": 100 * share for rate, share in shares.items()}


def _cheetah_chain(progress: Progress) -> Mapping[str, float]:
    broken = _simulated(cheetah_rows.Setup(), _RATES, progress)
    shares = {rate: 100 * one.chain / one.connections for rate, one in broken.items()}
    found = {f"{rate:g} a minute": share for rate, share in shares.items()}
    return {
        **found,
        "x2": shares[3.12] / shares[1.56],
        "x5": shares[7.8] / shares[1.56],
    }


def _cheetah_testbed(progress: Progress) -> Mapping[str, float]:
    broken = {}
    for number, (name, design) in enumerate(testbed_rows.DESIGNS.items(), start=1):
        broken[name] = testbed_rows.broken(design)
        progress(number, len(testbed_rows.DESIGNS))
    by_hash = broken["hash"][0]
    return {
        "consistent hash": broken["consistent-hash"][0] / by_hash,
        "Beamer": broken["beamer"][0] / by_hash,
        "stateful, whole course": broken["stateful"][1] / by_hash,
    }


def _jet(progress: Progress) -> Mapping[str, float]:
    setup = jet_rows.Setup()
    runs = []
    for number in range(_JET_RUNS):

        def of_all(done: int, whole: int, before: int = number) -> None:
            progress(before * whole + done, _JET_RUNS * whole)

        runs.append(jet_rows.simulate(replace(setup, seed=number + 1), of_all))
    connections = sum(one.connections for one in runs)
    return {
        "full tracking, broken %": 100 * sum(one.full for one in runs) / connections,
        "JET, broken": float(sum(one.jet for one in runs)),
        "max load": jet_rows.max_load(setup, 100_000, setup.seed),
    }


#: By the names in ``published.yaml``.
COMPUTED: Mapping[str, Computed] = {
    "maglev-over-provision": _over_provision,
    "maglev-resilience": _resilience,
    "cilium-removal": _cilium_removal,
    "cilium-weights": _cilium_weights,
    "rfc-2992": _hash_threshold,
    "cheetah-hash": _cheetah_hash,
    "cheetah-hash-between": _cheetah_between,
    "cheetah-chain": _cheetah_chain,
    "cheetah-testbed": _cheetah_testbed,
    "jet": _jet,
}
