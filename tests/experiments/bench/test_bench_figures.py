"""Each figure's lines from invented results: which bounds are met, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.bench.basis.figure import Line, Setting
from experiments.bench.basis.size import FULL, QUICK, Size
from experiments.bench.figures import FIGURES, bring_up, footprint
from experiments.bench.networks import NETWORKS
from experiments.bench.networks.stock import BRIDGE
from tests.experiments.bench.made_up_results import (
    changed,
    lines_of,
    results,
    wave,
)
from topologies.datapaths import KERNEL, USERSPACE

SIZES = [size.on(path) for size in (FULL, QUICK) for path in (KERNEL, USERSPACE)]
every_size = pytest.mark.parametrize(
    "size", SIZES, ids=lambda size: f"{size.name}-{size.datapath}"
)
every_figure = pytest.mark.parametrize("name", FIGURES)
INCOMPLETE = ("half_open", "clients_lost", "disturbed")


def first(name: str, kind: str = "ours", **values: Any) -> Line:
    """The first line of a figure, with these values for that kind of network."""
    return lines_of(name, changed(results(name), kind, **values))[0]


@every_size
@every_figure
def test_every_setting_can_be_brought_up_and_measured(name: str, size: Size) -> None:
    figure = FIGURES[name]
    for setting in figure.settings(size):
        assert setting.kind in NETWORKS
        assert setting.kind in figure.measures
        assert (setting.datapath, setting.clients) == (size.datapath, size.clients)


@every_size
@every_figure
def test_good_results_meet_every_bound(name: str, size: Size) -> None:
    lines = lines_of(name, results(name, size, size.repetitions), size)
    assert bool(lines) == bool(FIGURES[name].settings(size))
    assert all(line.met is not False for line in lines)
    assert all(line.title for line in lines)


@every_size
@every_figure
def test_results_survive_json(name: str, size: Size) -> None:
    given = results(name, size)
    read = {
        setting: json.loads(json.dumps(repetitions))
        for setting, repetitions in given.items()
    }
    assert lines_of(name, read, size) == lines_of(name, given, size)


@every_figure
def test_a_line_has_a_bound_if_and_only_if_it_can_miss_it(name: str) -> None:
    for line in lines_of(name, results(name, FULL), FULL):
        assert (line.met is None) == (line.bound == "")
        assert line.value is not None or not line.bound


def test_every_figure_is_registered_under_its_name() -> None:
    assert all(name == figure.name for name, figure in FIGURES.items())
    assert len({figure.title for figure in FIGURES.values()}) == len(FIGURES)
    assert not any("," in name for name in FIGURES), "--only divides at commas"


def test_figures_for_a_quiet_cluster_are_measured_before_the_others() -> None:
    order = list(FIGURES)
    quiet = max(order.index(name) for name in ("round-trip", "reset-latency"))
    noisy = min(order.index(name) for name in ("bulk", "connections", "mass-reset"))
    assert quiet < noisy


@pytest.mark.parametrize(
    ("name", "values", "met"),
    [
        ("round-trip", {"p50": 1.3}, True),
        ("round-trip", {"p50": 1.31}, False),
        ("bulk", {"gbit_1": 9.0}, True),
        ("bulk", {"gbit_1": 8.9}, False),
        ("connections", {"rate": 5000.0}, True),
        ("connections", {"rate": 4999.0}, False),
        ("bring-up", {"seconds": 25.0}, True),
        ("bring-up", {"seconds": 25.1}, False),
        ("footprint", {"taken_gib": 8.0}, True),
        ("footprint", {"taken_gib": 8.1}, False),
        ("mass-reset", wave(100, 0.5), True),
        ("mass-reset", wave(100, 0.501), False),
    ],
)
def test_each_bound_is_at_its_limit(
    name: str, values: dict[str, Any], met: bool
) -> None:
    assert first(name, **values).met is met


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_the_round_trip_ratio_is_ours_to_the_bridges(
    ours: float, bridge: float
) -> None:
    found = changed(results("round-trip"), "ours", p50=ours)
    (line,) = lines_of("round-trip", changed(found, "stock-tso", p50=bridge))
    assert line.value == pytest.approx(ours / bridge)
    assert (line.ours, line.reference) == (ours, bridge)


@pytest.mark.parametrize("name", ["round-trip", "bulk"])
@pytest.mark.parametrize("datapath", [KERNEL, USERSPACE])
def test_the_bridge_is_the_one_of_that_datapath(name: str, datapath: str) -> None:
    size = QUICK.on(datapath)
    for line in lines_of(name, results(name, size), size):
        assert line.reference_is == BRIDGE[datapath]


def test_bulk_has_a_line_for_one_connection_and_one_for_many() -> None:
    found = changed(results("bulk"), "ours", gbit_16=1.0)
    one, many = lines_of("bulk", found)
    assert one.title.endswith("1 connection")
    assert many.title.endswith("16 connections")
    assert (one.met, many.met) == (True, False)
    assert many.value == pytest.approx(1 / 12)


def test_one_step_over_the_maximum_fails_a_bring_up() -> None:
    steps = {"hosts": 2.0, "tables": bring_up.MAX_STEP_S}
    good = first("bring-up", steps=steps)
    assert (good.met, good.remarks) == (True, ("longest step 10.0 s",))
    assert first("bring-up", steps={**steps, "tables": 10.2}).met is False
    assert first("bring-up", kind="stock", steps={"hosts": 11.0}).met is True


def test_the_longest_step_is_that_of_every_repetition() -> None:
    found = results("bring-up", repetitions=3)
    ours = next(setting for setting in found if setting.kind == "ours")
    found[ours][1]["steps"] = {"hosts": 12.5}
    (line,) = lines_of("bring-up", found)
    assert (line.met, line.remarks) == (False, ("longest step 12.5 s",))


def test_both_percentiles_are_compared_with_the_median_round_trip() -> None:
    trips = {"p50": 2.0, "p99": 50.0, "max": 60.0}
    resets = {"p50": 3.0, "p99": 10.1, "max": 11.0}
    given = changed(results("reset-latency"), "ours", round_trip=trips, reset=resets)
    p50, p99 = lines_of("reset-latency", given)
    assert (p50.value, p50.met, p50.bound) == (1.5, True, "≤ 1.5x")
    assert p99.value == pytest.approx(5.05)
    assert (p99.met, p99.bound) == (False, "≤ 5x")
    assert p50.reference == p99.reference == 2.0


def test_one_connection_without_a_reset_fails_every_percentile() -> None:
    found = results("reset-latency", repetitions=3)
    (repetitions,) = found.values()
    repetitions[2]["not_reset"] = 1
    assert [line.met for line in lines_of("reset-latency", found)] == [False, False]


def test_in_the_kernel_connections_have_no_bound() -> None:
    size = QUICK.on(KERNEL)
    found = changed(results("connections", size), "ours", rate=1.0)
    (line,) = lines_of("connections", found, size)
    assert (line.met, line.bound, line.value) == (None, "", 0.001)
    assert not any("checksum" in remark for remark in line.remarks)


def test_on_the_userspace_datapath_the_references_offload_is_remarked() -> None:
    assert any("checksum offload" in r for r in first("connections").remarks)


def test_failed_connections_are_remarked() -> None:
    windows = {
        "8": {"failures": {"timeout": 3}},
        "32": {"failures": {}},
    }
    line = first("connections", by_window=windows)
    assert [r for r in line.remarks if r.startswith("failed")] == [
        "failed: {'timeout': 3}"
    ]


def test_the_loopback_rate_is_the_maximum_of_the_repetitions() -> None:
    found = results("connections", repetitions=2)
    stock = next(setting for setting in found if setting.kind == "stock")
    found[stock][0]["loopback_rate"] = 31_000.4
    (line,) = lines_of("connections", found)
    assert "loopback: 31000/s" in line.remarks[0]


def test_memory_is_the_larger_of_both_measurements() -> None:
    taken = first("footprint", taken_gib=5.0, processes_gib=4.0)
    shared = first("footprint", taken_gib=4.0, processes_gib=9.0)
    assert (taken.ours, taken.met) == (5.0, True)
    assert (shared.ours, shared.met) == (9.0, False)
    assert taken.bound == f"≤ {footprint.MAX_GIB:g} GiB"


@pytest.mark.parametrize("name", ["mass-reset", "beyond"])
def test_a_lines_title_has_the_size(name: str) -> None:
    message = " ".join(line.title for line in lines_of(name, results(name, FULL), FULL))
    assert {"mass-reset": "10000 conn", "beyond": "1000 nodes"}[name] in message


def test_the_mass_reset_ratio_is_naive_to_ours() -> None:
    line = first("mass-reset")
    numbers = (line.ours, line.reference, line.value)
    assert numbers == pytest.approx((1, 100, 100))
    assert line.bound == "≥ 20x"
    assert f"{QUICK.held_naive[-1]} connections" in line.reference_is


@pytest.mark.parametrize("field", INCOMPLETE)
def test_an_incomplete_wave_of_ours_does_not_meet_its_bound(field: str) -> None:
    line = first("mass-reset", **wave(**{field: 1}))
    assert line.met is False
    assert line.value == pytest.approx(100), "however fast it was"
    assert first("mass-reset", kind="naive", **wave(90, 9.0, **{field: 1})).met


def test_each_networks_incomplete_resets_are_remarked() -> None:
    ours, naive = first("mass-reset", **wave(half_open=7)).remarks
    assert "90 of 100 moved, 0 clients and 7 half-open left" in ours
    assert naive.startswith("naive: 90 of 100 moved, 0 clients and 0 half-open")


def test_a_wave_without_moved_connections_does_not_divide_by_zero() -> None:
    line = first("mass-reset", **wave(0, 0.5))
    assert line.ours == pytest.approx(500)


def test_the_seconds_of_a_mass_reset_have_no_bound() -> None:
    _, seconds = lines_of("mass-reset", results("mass-reset"))
    assert (seconds.ours, seconds.unit, seconds.met) == (0.09, "s", None)


def test_beyond_is_part_of_the_full_benchmark_only() -> None:
    assert lines_of("beyond", results("beyond")) == []
    (setting,) = FIGURES["beyond"].settings(FULL)
    assert setting == Setting("ours", 40, 25, FULL.clients, FULL.datapath)


@pytest.mark.parametrize(
    ("rest", "message"),
    [({}, "nothing lost"), *(({field: 1}, "NOT complete") for field in INCOMPLETE)],
)
def test_beyond_remarks_any_incomplete_repetition(
    rest: Mapping[str, int], message: str
) -> None:
    found = results("beyond", FULL, repetitions=3)
    (repetitions,) = found.values()
    repetitions[1]["wave"] = wave(**rest)
    up, gone = lines_of("beyond", found, FULL)
    assert message in gone.remarks[0]
    assert (up.ours, gone.ours) == (60.0, 0.09)
