"""What workloads prepare, and the commands of their servers and clients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.workloads import WORKLOADS
from experiments.workloads.blocks import (
    BLOCKS,
    REGION_SIZE,
    block_connections,
    fio_connections,
    region_options,
)
from experiments.workloads.workload import ClientJob, Workload
from nodes.clients import http_client, iscsi_client, nbd_client
from nodes.clients.block_options import Layout
from nodes.clients.capacity import block_size
from nodes.clients.patterns import PATTERNS, Pattern
from nodes.servers.iscsi_units import UNIT_SIZE, unit_files
from nodes.servers.nbd_server import backing_size, create_backing_file
from topologies.domain.plan import MAX_CLIENTS

JOB = ClientJob("10.0.0.1", 3, 42, "h2", 2, 12.5)
every_workload = pytest.mark.parametrize(
    "workload", WORKLOADS.values(), ids=lambda each: each.name
)
PARSERS = {
    "nbd": nbd_client.parse_arguments,
    "iscsi": iscsi_client.parse_arguments,
    "http": http_client.parse_arguments,
}


def layout_of(kind: str, job: ClientJob) -> Layout:
    """Where that client's blocks are, as the client itself reads its command line."""
    _options, layout = PARSERS[kind](WORKLOADS[kind].client(job)[2:])
    assert isinstance(layout, Layout)
    return layout


def test_the_names_are_the_workloads_own_and_no_port_is_used_twice() -> None:
    assert all(name == workload.name for name, workload in WORKLOADS.items())
    by_port = {workload.port: workload.name for workload in WORKLOADS.values()}
    # fio has nbd's servers, iscsi-reserve those of iscsi; smb-durable and nfs-short are kinds.
    assert set(WORKLOADS) - set(by_port.values()) == {"nbd", "iscsi", "nfs", "smb"}


@every_workload
def test_the_programs_of_clients_and_servers_exist(
    workload: Workload, tmp_path: Path
) -> None:
    for command in (workload.client(JOB), workload.server(tmp_path)):
        scripts = [word for word in command if word.endswith(".py")]
        assert all(Path(script).is_file() for script in scripts)
    names = (workload.name.replace("-", "_"), workload.name.partition("-")[0])
    assert Path(workload.client(JOB)[1]).stem in [f"{name}_client" for name in names]


@every_workload
def test_a_client_gets_its_whole_job(workload: Workload) -> None:
    command = workload.client(JOB)
    assert {
        "--target=10.0.0.1",
        f"--port={workload.port}",
        "--connections=3",
        "--seed=42",
        "--stream=h2",
        "--interval-ms=12.5",
        "--pattern=busy",
    } <= set(command)


@every_workload
def test_only_clients_that_write_files_get_a_folder(
    workload: Workload, tmp_path: Path
) -> None:
    options = [w for w in workload.client(replace(JOB, folder=tmp_path)) if "json" in w]
    expected = [f"--fio-output={tmp_path / 'h2-fio.json'}"]
    assert options == (expected if workload.name == "fio" else [])
    assert not any("None" in word for word in workload.client(JOB))


@every_workload
def test_every_pattern_is_supported_or_refused_with_a_reason(
    workload: Workload,
) -> None:
    assert set(workload.patterns) | set(workload.unsupported) == set(PATTERNS)
    assert not set(workload.patterns) & set(workload.unsupported)
    assert all(workload.unsupported.values())
    assert "busy" in workload.patterns


@pytest.mark.parametrize(
    "workload",
    # A database is made by its own programs, as root: tests/system/test_harm.py.
    [each for each in WORKLOADS.values() if each.backend is None],
    ids=lambda each: each.name,
)
def test_a_store_is_prepared_once_and_the_servers_name_it(
    workload: Workload, tmp_path: Path
) -> None:
    workload.prepare(tmp_path)
    command = " ".join(workload.server(tmp_path))
    if workload.name == "echo":
        assert not list(tmp_path.iterdir())
        return
    assert str(tmp_path) in command
    before = {path: path.stat().st_size for path in tmp_path.rglob("*")}
    assert before
    if workload.name == "iscsi-reserve":
        assert before == dict.fromkeys(unit_files(tmp_path), UNIT_SIZE)
    elif workload.name not in ("http", "nfs", "nfs-short", "smb", "smb-durable"):
        assert before == {tmp_path / "disk": MAX_CLIENTS * REGION_SIZE}
    if workload.name not in ("http", "smb", "smb-durable"):
        files = [path for path in before if path.is_file()]
        assert not any(path.stat().st_blocks for path in files), "they are sparse"
    with pytest.raises(FileExistsError):
        workload.prepare(tmp_path)
    assert before == {path: path.stat().st_size for path in tmp_path.rglob("*")}


def test_nginx_serves_the_store_on_both_ip_versions(tmp_path: Path) -> None:
    http = WORKLOADS["http"]
    http.prepare(tmp_path)
    text = (tmp_path / "nginx.conf").read_text()
    assert f"listen 0.0.0.0:{http.port} " in text
    assert f"listen [::]:{http.port} ipv6only=on " in text
    assert f"root {tmp_path};" in text
    assert "%" not in text, "every place is filled in"
    assert text.count("{") == text.count("}")
    assert text.count("@bodies@") == 1, "which each node's shell fills in"


@given(st.sampled_from(sorted(PARSERS)), st.integers(1, MAX_CLIENTS))
def test_the_last_byte_of_a_full_client_is_in_its_own_region(
    kind: str, index: int
) -> None:
    for name in WORKLOADS[kind].patterns:
        room = WORKLOADS[kind].max_connections(PATTERNS[name])
        job = replace(JOB, connections=room, index=index, pattern=name)
        layout = layout_of(kind, job)
        start = (index - 1) * REGION_SIZE
        assert layout.offset(0, 0) == start
        assert layout.end(room) <= start + REGION_SIZE
    assert start + REGION_SIZE <= backing_size(MAX_CLIENTS, REGION_SIZE)


@given(
    st.integers(0, 1 << 30),
    st.integers(1, 6),
    st.integers(64, 5000),
    st.integers(1, 4),
    st.integers(1, 5),
)
def test_no_two_blocks_of_a_client_overlap(
    start: int, blocks: int, size: int, streams: int, connections: int
) -> None:
    layout = Layout(start, blocks, size, streams)
    offsets = [
        layout.offset(stream, block)
        for stream in range(connections * streams)
        for block in range(blocks)
    ]
    gaps = [
        later - earlier
        for earlier, later in zip(offsets[:-1], offsets[1:], strict=True)
    ]
    assert offsets[0] == start
    assert all(gap == size for gap in gaps)
    assert layout.end(connections) == offsets[-1] + size


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=lambda each: each.name)
def test_capacity_is_what_the_region_holds(pattern: Pattern) -> None:
    room = block_connections(pattern)
    assert room * BLOCKS * block_size(pattern) <= REGION_SIZE
    assert 1 <= fio_connections(pattern) <= room
    bigger = replace(pattern, request_bytes=REGION_SIZE // BLOCKS)
    assert block_connections(bigger) == fio_connections(bigger) == 1


def test_the_options_of_a_region_count_clients_from_zero() -> None:
    assert region_options(replace(JOB, index=1)) == [
        f"--region-size={REGION_SIZE}",
        "--client-index=0",
        f"--blocks={BLOCKS}",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--connections=2", "--blocks=3", "--region-size=24575"], "of 24576"),
        (["--blocks=0"], "--blocks"),
        (["--block-size=1"], "--block-size"),
        (["--client-index=-1"], "--client-index"),
        (["--region-size=many"], "--region-size"),
    ],
    ids=["region", "blocks", "block-size", "index", "words"],
)
def test_a_layout_that_does_not_fit_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        nbd_client.parse_arguments(["--target=10.0.0.1", *words])
    assert message in capsys.readouterr().err


def test_a_region_that_is_just_large_enough_is_taken() -> None:
    words = ["--connections=2", "--blocks=3", "--region-size=24576"]
    options, layout = nbd_client.parse_arguments(["--target=10.0.0.1", *words])
    assert layout.end(options.connections) == 24576


def test_a_backing_file_in_use_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        create_backing_file(path, 4096)
    assert path.read_bytes() == b"precious"
    create_backing_file(tmp_path / "new", 4096)
    assert (tmp_path / "new").read_bytes() == bytes(4096)
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
