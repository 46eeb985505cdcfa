"""The budget of fan-outs: what is allowed over time, and that clients do not share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodes.guard.budget import CLIENTS, UNLIMITED, Budget, Limit, Purse

_S = 1_000_000_000
ONE, OTHER = "10.1.0.1", "10.1.0.2"


def spend(purse: Purse, client: str, times: int, now_ns: int = 5 * _S) -> int:
    return sum(purse.spend(client, now_ns) for _ in range(times))


def test_without_a_limit_everything_is_allowed() -> None:
    assert spend(Purse(UNLIMITED), ONE, 1000) == 1000


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    purse = Purse(Budget(client=Limit(rate=10, burst=4)))
    assert spend(purse, ONE, 20) == 4
    assert spend(purse, ONE, 20, 6 * _S) == 4, "the bucket holds no more than a burst"
    assert spend(purse, ONE, 20, 6 * _S + _S // 10) == 1


def test_clients_do_not_take_from_each_other() -> None:
    purse = Purse(Budget(client=Limit(rate=1, burst=3)))
    assert spend(purse, ONE, 20) == 3
    assert spend(purse, OTHER, 20) == 3


def test_all_clients_share_the_whole() -> None:
    purse = Purse(Budget(Limit(rate=1, burst=3), Limit(rate=1, burst=5)))
    assert spend(purse, ONE, 20) == 3
    assert spend(purse, OTHER, 20) == 2


def test_what_the_whole_refuses_is_not_taken_from_the_client() -> None:
    purse = Purse(Budget(Limit(rate=0.001, burst=2), Limit(rate=1, burst=1)))
    assert spend(purse, ONE, 20) == 1
    assert spend(purse, ONE, 20, 7 * _S) == 1


def test_the_number_of_clients_is_bounded() -> None:
    purse = Purse(Budget(client=Limit(rate=0.001, burst=1)))
    assert spend(purse, ONE, 2) == 1
    for number in range(CLIENTS):
        purse.spend(f"10.9.{number >> 8}.{number & 255}", 5 * _S)
    assert spend(purse, ONE, 2) == 1, "the least recently used starts again"


@given(
    st.floats(0.5, 1000),
    st.integers(1, 50),
    st.lists(st.integers(0, _S), min_size=1, max_size=80),
    st.integers(1, 50),
)
def test_no_more_than_burst_and_rate_in_any_time(
    rate: float, burst: int, pauses: list[int], tokens: int
) -> None:
    purse = Purse(Budget(total=Limit(rate, burst)))
    now = allowed = 0
    start = pauses[0]
    for pause in pauses:
        now += pause
        allowed += tokens * purse.spend(ONE, now, tokens)
    assert allowed <= burst + rate * (now - start) / _S + 1e-6
