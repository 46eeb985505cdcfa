"""What settings of a server mean to the kernel, and when they end a dead client's session."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from experiments.workloads import WORKLOADS
from nodes.servers.server_settings import (
    AS_SHIPPED,
    KEEPALIVE,
    NOP,
    SYSCTLS,
    ServerSettings,
    explain,
)

counts = st.integers(1, 100)


def test_linux_keeps_a_silent_dead_client_for_2_h_11_min() -> None:
    """ip-sysctl: 7200 s, then 9 keepalives 75 s apart."""
    assert AS_SHIPPED.silent_s() == 2 * 3600 + 11 * 60 + 15


def test_linux_retransmits_for_924_6_s() -> None:
    """ip-sysctl, tcp_retries2: 15 retransmissions are a hypothetical timeout of 924.6 s."""
    assert round(AS_SHIPPED.unacknowledged_s(), 1) == 924.6
    assert round(ServerSettings(retries=2).unacknowledged_s(), 1) == 1.4


@given(counts, counts, counts)
def test_keepalive_takes_its_silence_and_every_probe(
    after: int, each: int, probes: int
) -> None:
    settings = ServerSettings(after, each, probes)
    assert settings.silent_s() == after + each * probes
    assert settings.unacknowledged_s() == AS_SHIPPED.unacknowledged_s()


@given(counts, counts, counts, st.floats(0.1, 1000))
def test_a_user_timeout_counts_instead_of_the_probes(
    after: int, each: int, probes: int, timeout_s: float
) -> None:
    """It is looked at when a keepalive is due, after the first one."""
    found = ServerSettings(after, each, probes, user_timeout_s=timeout_s)
    assert found.unacknowledged_s() == timeout_s
    assert after + each <= found.silent_s() >= timeout_s
    assert found.silent_s() == after + each or found.silent_s() < timeout_s + each


def test_only_what_is_set_is_told_to_the_kernel() -> None:
    assert AS_SHIPPED.sysctls() == {}
    settings = ServerSettings(keepalive_s=60, retries=8, user_timeout_s=2.5)
    assert settings.sysctls() == {
        "net/ipv4/tcp_keepalive_time": 60,
        "net/ipv4/tcp_retries2": 8,
    }
    known = {field.name for field in fields(ServerSettings)}
    assert known >= KEEPALIVE | SYSCTLS.keys()


def test_people_are_told_of_keepalive_only_where_it_is_set() -> None:
    assert "keepalive" not in explain(ServerSettings(retries=2))
    text = explain(ServerSettings(keepalive_s=60, keepalive_interval_s=10))
    assert "150 s after its last segment" in text
    assert "924.6 s after the first retransmission" in text


def test_an_iscsi_target_is_told_how_often_to_ask(tmp_path: Path) -> None:
    settings = ServerSettings(nop_interval_s=5, nop_count=2)
    assert "2 NOP-In, one each 5 s" in explain(settings)
    for name in ("iscsi", "iscsi-reserve"):
        workload = WORKLOADS[name]
        assert workload.heeds > NOP
        told = set(workload.tuned(settings).server(tmp_path))
        assert told - set(workload.server(tmp_path)) == {
            "--nop-interval-s=5",
            "--nop-count=2",
        }
