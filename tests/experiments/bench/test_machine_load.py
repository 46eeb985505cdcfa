"""The load of the machine, from invented counters."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.bench.basis import load
from experiments.bench.basis.load import Load, LoadMeter, _Reading

#: user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice
COLUMNS = 10
ticks = st.lists(st.integers(0, 10_000), min_size=COLUMNS, max_size=COLUMNS)
lates = st.lists(st.floats(0, 100), min_size=1, max_size=300).map(sorted)


def reading(
    cpu: Sequence[int] = (0,) * COLUMNS, ours: int = 0, at_s: float = 0, drops: int = 0
) -> _Reading:
    return _Reading(at_s, cpu, ours, drops)


def passed(cpu: Sequence[int], ours: int = 0, late: Sequence[float] = (0.0,)) -> Load:
    """The load while the counters went from zero to these."""
    return reading(cpu, ours).since(reading(), late)


def test_each_column_of_proc_stat_is_used_for_its_share() -> None:
    found = passed((10, 10, 10, 30, 10, 5, 5, 20, 7, 7), ours=12)
    assert found.busy == pytest.approx(0.6)
    assert found.stolen == pytest.approx(0.2)
    assert found.strangers == pytest.approx(0.18)
    assert found.cpu_seconds == pytest.approx(12 / os.sysconf("SC_CLK_TCK"))


def test_only_differences_of_the_counters_count() -> None:
    before = reading((100,) * COLUMNS, ours=50, at_s=10.0, drops=3)
    after = reading((110,) * COLUMNS, ours=60, at_s=12.5, drops=7)
    found = after.since(before, [0.0])
    assert (found.seconds, found.backlog_drops) == (2.5, 4)
    assert found == reading((10,) * COLUMNS, 10, 2.5, 4).since(reading(), [0.0])


@given(ticks, st.integers(0, 100_000))
def test_shares_are_between_0_and_1(cpu: list[int], ours: int) -> None:
    found = passed(cpu, ours)
    for share in (found.busy, found.strangers, found.stolen):
        assert 0 <= share <= 1
    assert found.strangers + found.stolen <= found.busy + 1e-9


@given(ticks, st.integers(0, 100_000))
def test_our_share_is_at_most_that_of_all_processes(cpu: list[int], ours: int) -> None:
    found = passed(cpu, ours)
    assert found.cpu_seconds * os.sysconf("SC_CLK_TCK") <= sum(cpu[:3]) + 1e-6


def test_without_other_processes_their_share_is_0() -> None:
    assert passed((20, 0, 10, 70, 0, 0, 0, 0, 0, 0), ours=30).strangers == 0
    assert passed((20, 0, 10, 70, 0, 0, 0, 0, 0, 0), ours=99).strangers == 0


def test_guest_time_is_not_counted_twice() -> None:
    found = passed((50, 0, 0, 50, 0, 0, 0, 0, 50, 0))
    assert (found.busy, found.strangers) == (0.5, 0.5)


def test_without_a_tick_in_between_every_share_is_0() -> None:
    found = passed((0,) * COLUMNS)
    assert (found.busy, found.strangers, found.stolen) == (0, 0, 0)


@given(lates)
def test_the_delay_is_one_of_the_measured_delays(late: list[float]) -> None:
    found = passed((0,) * COLUMNS, late=late)
    assert found.late_max_ms == max(late)
    assert found.late_p99_ms in late
    assert sum(one <= found.late_p99_ms for one in late) >= int(0.99 * len(late))


def test_one_late_wake_up_in_a_thousand_does_not_change_the_percentile() -> None:
    found = passed((0,) * COLUMNS, late=[0.1] * 999 + [50.0])
    assert (found.late_p99_ms, found.late_max_ms) == (0.1, 50.0)


def test_a_short_measurement_has_one_delay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The probe's thread may get the processor only when the measurement is over."""
    monkeypatch.setattr(load, "_SLEEP_S", 0.0)
    meter = LoadMeter()
    meter._ending, meter._late = threading.Event(), []
    meter._ending.set()
    meter._measure_wakeups()
    assert len(meter._late) == 1


def test_a_meter_has_its_result_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_SLEEP_S", 0.0)
    with LoadMeter() as meter:
        assert meter._thread.is_alive()
    assert not meter._thread.is_alive()
    assert meter.load.seconds > 0
    assert Load(**json.loads(json.dumps(meter.load.to_json()))) == meter.load


def test_an_exception_during_the_measurement_is_raised() -> None:
    with pytest.raises(ZeroDivisionError), LoadMeter() as meter:
        _ = 1 / 0
    assert not meter._thread.is_alive()


def test_this_process_is_counted() -> None:
    assert os.getpid() in load.processes()
    assert load._proportional_kib(os.getpid()) > 0
    assert load.resident_mib() > 0
    assert load.available_mib() > 0


def test_an_ended_process_has_no_time() -> None:
    ended = 2**22 + 1  # above the largest id there is, proc(5)
    assert (load._cpu_ticks(ended), load._proportional_kib(ended)) == (0, 0)


def test_a_process_name_may_have_any_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = " ".join(["S", *map(str, range(1, 11)), "100", "20", "3", "4", "99"])
    monkeypatch.setattr(load, "_lines", lambda _path: iter([f"7 (a ) 9 (b) {fields}"]))
    assert load._cpu_ticks(7) == 127
