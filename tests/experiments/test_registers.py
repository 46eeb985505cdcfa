"""Blocks as registers: which histories are linearisable."""

from __future__ import annotations

import pytest

from experiments.chaos.chaos_facts import Operation
from experiments.chaos.registers import Registers


def lost(history: str) -> int:
    """Reads that no order of the operations explains.

    The history is of block 1: ``w5`` a write begins, ``a5`` it is acknowledged, ``r5`` a
    read returns it.
    """
    registers = Registers()
    found = []
    for t, word in enumerate(history.split()):
        found += registers.feed(Operation(t, word[0], 1, int(word[1:])))
    return len(found)


@pytest.mark.parametrize(
    "history",
    [
        "r0",
        "w1 a1 r1 r1",
        "w1 a1 w2 a2 r2",
        # Not acknowledged: done or not.
        "w1 r0",
        "w1 r1",
        "w1 r0 r1 r1",
        "w1 a1 w2 r1",
        "w1 a1 w2 r2 r2",
        # Also later, over an acknowledged one: nobody said that it had not been done.
        "w1 w2 a2 r2 r1",
        "w1 w2 w3 a3 r1 r2",
        "w1 w2 w3 a3 r2 r1",
        # Never read in between, so it may have been done just now.
        "w1 w2 a2 w3 a3 r1",
    ],
)
def test_a_history_that_can_be(history: str) -> None:
    assert lost(history) == 0


@pytest.mark.parametrize(
    "history",
    [
        "w1 a1 r0",
        "w1 a1 r-1",
        "w1 a1 w2 a2 r1",
        "w1 a1 w2 r2 r1",
        # It has been done once, and was overwritten by what is acknowledged.
        "w1 r1 w2 a2 r1",
        "w1 w2 a2 r1 r2",
        # Nobody wrote it.
        "w1 a1 r7",
        # Two open ones, each once.
        "w1 w2 r1 r2 r1",
    ],
)
def test_a_history_that_cannot_be(history: str) -> None:
    assert lost(history) == 1


def test_blocks_are_registers_of_their_own() -> None:
    registers = Registers()
    for block in (1, 2):
        assert not registers.feed(Operation(0, "w", block, block))
        assert not registers.feed(Operation(0, "a", block, block))
    assert registers.feed(Operation(0, "r", 1, 2))
    assert not registers.feed(Operation(0, "r", 2, 2))


def test_writes_are_counted() -> None:
    registers = Registers()
    for word in ["w1", "w2", "a2", "r2", "r1", "w3", "a3", "w4"]:
        registers.feed(Operation(0, word[0], 1, int(word[1:])))
    assert registers.acknowledged == 2
    assert registers.unacknowledged == 2
    assert registers.late == 1
