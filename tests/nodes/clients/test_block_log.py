"""Blocks and log: no damage goes unseen, and nothing sound is called lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.clients.block_log import MIN_BLOCK_SIZE, BlockLog, BlockWrite, WriteStatus

SIZE = 1024

writes = st.builds(
    BlockWrite,
    run=st.integers(0, 2**64 - 1),
    conn=st.integers(0, 2**32 - 1),
    block=st.integers(0, 2**32 - 1),
    generation=st.integers(0, 2**64 - 1),
)


@given(write=writes, size=st.integers(MIN_BLOCK_SIZE, 2 * SIZE))
def test_a_block_identifies_its_write(write: BlockWrite, size: int) -> None:
    data = write.encode(size)
    assert len(data) == size
    assert BlockWrite.decode(data) == write


@given(write=writes, at=st.integers(0, SIZE - 1), flip=st.integers(1, 255))
def test_any_changed_byte_is_seen(write: BlockWrite, at: int, flip: int) -> None:
    data = bytearray(write.encode(SIZE))
    data[at] ^= flip
    assert BlockWrite.decode(bytes(data)) is None


@given(old=writes, new=writes, cut=st.integers(1, SIZE // MIN_BLOCK_SIZE - 1))
def test_a_block_torn_between_sectors_is_seen(
    old: BlockWrite, new: BlockWrite, cut: int
) -> None:
    at = cut * MIN_BLOCK_SIZE
    torn = new.encode(SIZE)[:at] + old.encode(SIZE)[at:]
    assert (BlockWrite.decode(torn) is None) == (old != new)


@pytest.mark.parametrize("data", [b"", bytes(SIZE), b"\xff" * SIZE])
def test_foreign_data_are_no_write(data: bytes) -> None:
    assert BlockWrite.decode(data) is None


def acknowledge(log: BlockLog, times: int = 1) -> list[BlockWrite]:
    """That many writes, each acknowledged."""
    done = []
    for _ in range(times):
        done.append(log.begin())
        log.acknowledge()
    return done


def counts(log: BlockLog) -> tuple[int, int, int]:
    """Verified, lost, unverified."""
    return (
        log.count(WriteStatus.VERIFIED),
        log.count(WriteStatus.LOST),
        log.count(WriteStatus.UNVERIFIED),
    )


@pytest.fixture
def log() -> BlockLog:
    """A log of two blocks."""
    return BlockLog(run=1, conn=0, blocks=2)


def test_writes_use_the_blocks_in_turn(log: BlockLog) -> None:
    done = acknowledge(log, 5)
    assert [w.block for w in done] == [0, 1, 0, 1, 0]
    assert [w.generation for w in done] == [0, 1, 2, 3, 4]


def test_the_acknowledged_write_is_expected(log: BlockLog) -> None:
    (write,) = acknowledge(log)
    assert log.judge(0, write.encode(SIZE))
    assert counts(log) == (1, 0, 0)


@pytest.mark.parametrize("what", ["zeros", "older", "other-run", "other-connection"])
def test_anything_but_the_last_acknowledged_write_is_lost(
    log: BlockLog, what: str
) -> None:
    last = acknowledge(log, 3)[-1]
    found = {
        "zeros": bytes(SIZE),
        "older": BlockWrite(1, 0, 0, 0).encode(SIZE),
        "other-run": BlockWrite(2, 0, 0, last.generation).encode(SIZE),
        "other-connection": BlockWrite(1, 1, 0, last.generation).encode(SIZE),
    }[what]
    assert not log.judge(0, found)
    assert counts(log) == (0, 1, 2)


def test_a_write_in_flight_may_be_there_or_not(log: BlockLog) -> None:
    old = acknowledge(log, 2)[0]
    new = log.begin()
    assert new.block == old.block
    for found in (old, new):
        assert log.judge(0, found.encode(SIZE))
    assert not log.judge(0, bytes(SIZE))


def test_once_acknowledged_the_new_content_only(log: BlockLog) -> None:
    old = acknowledge(log, 3)[0]
    assert not log.judge(0, old.encode(SIZE))


def test_a_lost_write_counts_once(log: BlockLog) -> None:
    (write,) = acknowledge(log)
    assert not log.judge(0, bytes(SIZE))
    assert log.judge(0, bytes(SIZE)), "it was reported already"
    log.judge(0, write.encode(SIZE))
    acknowledge(log, 2)
    assert counts(log) == (0, 1, 2)


def test_the_final_check_counts_from_zero_and_keeps_the_history(log: BlockLog) -> None:
    for write in acknowledge(log, 2):
        log.judge(write.block, write.encode(SIZE))
    acknowledge(log)  # overwrites a verified one
    log.reopen()
    assert counts(log) == (1, 0, 2)


def test_a_block_never_acknowledged_is_never_lost(log: BlockLog) -> None:
    log.begin()
    assert log.judge(0, bytes(SIZE))
    assert counts(log) == (0, 0, 0)


@given(st.lists(st.sampled_from(["ack", "good", "bad", "reopen"]), max_size=40))
def test_every_acknowledged_write_has_exactly_one_verdict(steps: list[str]) -> None:
    log = BlockLog(run=1, conn=0, blocks=3)
    acknowledged = 0
    for step in steps:
        if step == "ack":
            acknowledge(log)
            acknowledged += 1
        elif step == "reopen":
            log.reopen()
        else:
            for block in log.written_blocks:
                good = log.expected(block).encode(SIZE)
                log.judge(block, good if step == "good" else bytes(SIZE))
    assert sum(counts(log)) == acknowledged
