"""Sizes of the benchmark: what the quick one leaves out, and their JSON form."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.bench.basis.size import FULL, QUICK, Size
from topologies.datapaths import KERNEL, USERSPACE

counts = st.integers(1, 10_000)
several = st.lists(counts, min_size=1, max_size=4).map(tuple)
sizes = st.builds(
    Size,
    name=st.text(max_size=8),
    repetitions=counts,
    openings=counts,
    windows=several,
    held=counts,
    held_naive=several,
    growth_chassis=several,
    growth_connections=several,
    requests=counts,
    bulk_seconds=st.floats(0, 100),
    beyond=st.none() | st.tuples(counts, counts),
    datapath=st.sampled_from([KERNEL, USERSPACE]),
)


@given(sizes)
def test_json_and_back(size: Size) -> None:
    assert Size.from_json(json.loads(json.dumps(size.to_json()))) == size


@pytest.mark.parametrize("size", [FULL, QUICK], ids=lambda size: size.name)
def test_sizes_that_ship_survive_json(size: Size) -> None:
    read = Size.from_json(json.loads(json.dumps(size.to_json())))
    assert read == size
    assert hash(read) == hash(size), "lists became tuples again"


@given(sizes, st.sampled_from([KERNEL, USERSPACE]))
def test_changing_the_datapath_changes_nothing_else(size: Size, datapath: str) -> None:
    other = size.on(datapath)
    assert other.datapath == datapath
    assert replace(other, datapath=size.datapath) == size


def test_an_invalid_size_is_refused() -> None:
    with pytest.raises(TypeError):
        Size.from_json({**QUICK.to_json(), "colour": "red"})


def test_the_quick_size_is_nowhere_larger() -> None:
    assert QUICK.repetitions < FULL.repetitions
    for field in fields(Size):
        quick, full = getattr(QUICK, field.name), getattr(FULL, field.name)
        if isinstance(quick, (int, float)):
            assert quick <= full, field.name
        if isinstance(quick, tuple):
            assert max(quick) <= max(full), field.name
    assert QUICK.beyond is None is not FULL.beyond


@pytest.mark.parametrize("size", [FULL, QUICK], ids=lambda size: size.name)
def test_both_measure_the_same_array(size: Size) -> None:
    assert (size.chassis, size.nodes, size.clients) == (10, 15, 4)
    assert size.growth_chassis[-1] == size.chassis, "growth ends at the array"
    assert list(size.growth_chassis) == sorted(set(size.growth_chassis))
    assert list(size.held_naive) == sorted(size.held_naive), "the last is the largest"
