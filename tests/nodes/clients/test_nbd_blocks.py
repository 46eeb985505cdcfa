"""Blocks and ledger: no damage goes unseen, and nothing sound is called lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.clients.nbd_blocks import SMALLEST_BLOCK, Ledger, Verdict, Write

SIZE = 1024

writes = st.builds(
    Write,
    run=st.integers(0, 2**64 - 1),
    conn=st.integers(0, 2**32 - 1),
    block=st.integers(0, 2**32 - 1),
    generation=st.integers(0, 2**64 - 1),
)


@given(write=writes, size=st.integers(SMALLEST_BLOCK, 2 * SIZE))
def test_a_block_tells_the_write_that_left_it(write: Write, size: int) -> None:
    data = write.encode(size)
    assert len(data) == size
    assert Write.decode(data) == write


@given(write=writes, at=st.integers(0, SIZE - 1), flip=st.integers(1, 255))
def test_any_changed_byte_is_seen(write: Write, at: int, flip: int) -> None:
    data = bytearray(write.encode(SIZE))
    data[at] ^= flip
    assert Write.decode(bytes(data)) is None


@given(old=writes, new=writes, cut=st.integers(1, SIZE // SMALLEST_BLOCK - 1))
def test_a_block_torn_between_sectors_is_seen(old: Write, new: Write, cut: int) -> None:
    at = cut * SMALLEST_BLOCK
    torn = new.encode(SIZE)[:at] + old.encode(SIZE)[at:]
    assert (Write.decode(torn) is None) == (old != new)


@pytest.mark.parametrize("data", [b"", bytes(SIZE), b"\xff" * SIZE])
def test_what_is_not_ours_is_no_write(data: bytes) -> None:
    assert Write.decode(data) is None


def acknowledge(ledger: Ledger, times: int = 1) -> list[Write]:
    """That many writes, each acknowledged."""
    done = []
    for _ in range(times):
        done.append(ledger.begin())
        ledger.acknowledge()
    return done


def counts(ledger: Ledger) -> tuple[int, int, int]:
    """Verified, lost, unverified."""
    return (
        ledger.count(Verdict.VERIFIED),
        ledger.count(Verdict.LOST),
        ledger.count(Verdict.UNVERIFIED),
    )


@pytest.fixture
def ledger() -> Ledger:
    """A ledger of two blocks."""
    return Ledger(run=1, conn=0, blocks=2)


def test_writes_go_round_the_blocks(ledger: Ledger) -> None:
    done = acknowledge(ledger, 5)
    assert [w.block for w in done] == [0, 1, 0, 1, 0]
    assert [w.generation for w in done] == [0, 1, 2, 3, 4]


def test_the_acknowledged_write_is_expected(ledger: Ledger) -> None:
    (write,) = acknowledge(ledger)
    assert ledger.judge(0, write.encode(SIZE))
    assert counts(ledger) == (1, 0, 0)


@pytest.mark.parametrize("what", ["zeros", "older", "other-run", "other-connection"])
def test_anything_but_the_last_acknowledged_write_is_lost(
    ledger: Ledger, what: str
) -> None:
    last = acknowledge(ledger, 3)[-1]
    found = {
        "zeros": bytes(SIZE),
        "older": Write(1, 0, 0, 0).encode(SIZE),
        "other-run": Write(2, 0, 0, last.generation).encode(SIZE),
        "other-connection": Write(1, 1, 0, last.generation).encode(SIZE),
    }[what]
    assert not ledger.judge(0, found)
    assert counts(ledger) == (0, 1, 2)


def test_a_write_in_flight_may_be_there_or_not(ledger: Ledger) -> None:
    old = acknowledge(ledger, 2)[0]
    new = ledger.begin()
    assert new.block == old.block
    for found in (old, new):
        assert ledger.judge(0, found.encode(SIZE))
    assert not ledger.judge(0, bytes(SIZE))


def test_once_acknowledged_the_new_content_only(ledger: Ledger) -> None:
    old = acknowledge(ledger, 3)[0]
    assert not ledger.judge(0, old.encode(SIZE))


def test_a_lost_write_stays_lost_and_counts_once(ledger: Ledger) -> None:
    (write,) = acknowledge(ledger)
    assert not ledger.judge(0, bytes(SIZE))
    assert ledger.judge(0, bytes(SIZE)), "it was reported already"
    ledger.judge(0, write.encode(SIZE))
    acknowledge(ledger, 2)
    assert counts(ledger) == (0, 1, 2)


def test_the_final_look_counts_anew_but_keeps_history(ledger: Ledger) -> None:
    for write in acknowledge(ledger, 2):
        ledger.judge(write.block, write.encode(SIZE))
    acknowledge(ledger)  # overwrites a verified one
    ledger.reopen()
    assert counts(ledger) == (1, 0, 2)


def test_a_block_never_acknowledged_is_never_lost(ledger: Ledger) -> None:
    ledger.begin()
    assert ledger.judge(0, bytes(SIZE))
    assert counts(ledger) == (0, 0, 0)


@given(st.lists(st.sampled_from(["ack", "good", "bad", "reopen"]), max_size=40))
def test_every_acknowledged_write_has_exactly_one_verdict(steps: list[str]) -> None:
    ledger = Ledger(run=1, conn=0, blocks=3)
    acknowledged = 0
    for step in steps:
        if step == "ack":
            acknowledge(ledger)
            acknowledged += 1
        elif step == "reopen":
            ledger.reopen()
        else:
            for block in ledger.written_blocks:
                good = ledger.expected(block).encode(SIZE)
                ledger.judge(block, good if step == "good" else bytes(SIZE))
    assert sum(counts(ledger)) == acknowledged
