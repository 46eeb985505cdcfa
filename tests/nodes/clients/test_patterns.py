"""Traffic patterns: which client supports which, and the options of each."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest

from experiments.workloads import WORKLOADS
from experiments.workloads.workload import ClientJob, Workload
from nodes.clients import (
    echo_client,
    fio_client,
    http_client,
    iscsi_client,
    iscsi_reserve_client,
    nbd_client,
    nfs_client,
    postgres_client,
    smb_client,
)
from nodes.clients.client_options import ClientOptions
from nodes.clients.patterns import PATTERNS, supported_patterns

TARGET = ["--target", "10.0.0.1"]
CLIENTS = {
    "nbd": (nbd_client, {"half-closed"}),
    "iscsi": (iscsi_client, {"half-closed"}),
    "http": (http_client, {"half-closed", "pipelined"}),
    "fio": (fio_client, set(PATTERNS) - {"busy"}),
    "echo": (echo_client, set()),
    "postgres": (postgres_client, set(PATTERNS) - {"busy"}),
    "smb": (smb_client, set(PATTERNS) - {"busy"}),
    "smb-durable": (smb_client, set(PATTERNS) - {"busy"}),
    "iscsi-reserve": (iscsi_reserve_client, set(PATTERNS) - {"busy"}),
    "nfs": (nfs_client, set(PATTERNS) - {"busy"}),
    "nfs-short": (nfs_client, set(PATTERNS) - {"busy"}),
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_follows_a_pattern_or_refuses_it(
    client: str, pattern: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program, unsupported = CLIENTS[client]
    argv = [*TARGET, f"--pattern={pattern}", "--blocks=8"]
    if not hasattr(program, "Layout"):
        argv.pop()
    if pattern not in unsupported:
        assert _options(program, argv).pattern is PATTERNS[pattern]
        return
    with pytest.raises(SystemExit, match="2"):
        program.parse_arguments(argv)
    assert "--pattern" in capsys.readouterr().err


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=lambda each: each.name)
def test_a_client_holds_exactly_its_workloads_limit(
    workload: Workload, pattern: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program, unsupported = CLIENTS[workload.name]
    if pattern in unsupported:
        return
    room = workload.max_connections(PATTERNS[pattern])
    job = ClientJob("10.0.0.1", room, 1, "h1", 1, 20, pattern)
    assert _options(program, workload.client(job)[2:]).connections == room
    with pytest.raises(SystemExit, match="2"):
        program.parse_arguments(workload.client(replace(job, connections=room + 1))[2:])
    assert str(room + 1) in capsys.readouterr().err


def _options(program: ModuleType, argv: list[str]) -> ClientOptions:
    parsed = program.parse_arguments(argv)
    options = parsed if isinstance(parsed, ClientOptions) else parsed[0]
    assert isinstance(options, ClientOptions)
    return options


def test_what_is_refused_is_not_possible() -> None:
    assert supported_patterns({"busy": "why", "idle": "why"}) == tuple(PATTERNS)[2:]


def test_idle_stretches_the_pause() -> None:
    argv = [*TARGET, "--interval-ms=20"]
    busy, _ = nbd_client.parse_arguments(argv)
    idle, _ = nbd_client.parse_arguments([*argv, "--pattern=idle"])
    assert (busy.interval_s, idle.interval_s) == (0.02, 60)


def test_pipelined_deals_a_connections_blocks_to_its_requests(
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = [*TARGET, "--pattern=pipelined", "--connections=3", "--region-size=98304"]
    options, layout = nbd_client.parse_arguments([*argv, "--blocks=8"])
    depth = options.pattern.depth
    assert (layout.streams, layout.blocks) == (depth, 8 // depth)
    offsets = [
        layout.offset(stream, block)
        for stream in range(options.connections * depth)
        for block in range(layout.blocks)
    ]
    assert offsets == list(range(0, 98304, 4096))
    with pytest.raises(SystemExit, match="2"):
        nbd_client.parse_arguments([*argv, "--blocks=9"])
    assert "--blocks must be a multiple" in capsys.readouterr().err


def test_large_writes_large_blocks_by_default() -> None:
    argv = [*TARGET, "--pattern=large"]
    _, layout = nbd_client.parse_arguments(argv)
    assert layout.block_size == PATTERNS["large"].request_bytes
    _, layout = nbd_client.parse_arguments([*argv, "--block-size=8192"])
    assert layout.block_size == 8192
