"""fio's command lines, and its source port."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodes.clients.fio_client import parse_arguments
from nodes.clients.fio_job import load_argv, port_range, verify_argv

OPTIONS = ["--connections=3", "--blocks=8", "--region-size=98304", "--client-index=1"]


@pytest.mark.parametrize(
    ("target", "uri"),
    [
        ("10.0.0.1", "nbd://10.0.0.1:10809/"),
        ("fd00:10::1", "nbd://[fd00:10::1]:10809/"),
    ],
    ids=["IPv4", "IPv6"],
)
def test_a_connection_writes_its_own_blocks(target: str, uri: str) -> None:
    options, layout, _ = parse_arguments(["--target", target, *OPTIONS])
    argv = load_argv(options, layout, 2, Path("out"))
    assert {f"--uri={uri}", "--rw=write", "--verify_backlog=1"} <= set(argv)
    first = 98304 + 2 * 8 * 4096
    assert argv[-3:] == ["--name=conn2", f"--offset={first}", "--size=32768"]


def test_the_last_look_reads_what_was_written_and_nothing_else() -> None:
    options, layout, _ = parse_arguments(["--target", "10.0.0.1", *OPTIONS])
    argv = verify_argv(options, layout, [8, 0, 3], Path("out"))
    sections = argv[argv.index("--rw=read") + 1 :]
    assert [one for one in sections if one.startswith(("--name", "--size"))] == [
        "--name=conn0",
        "--size=32768",
        "--name=conn2",
        "--size=12288",
    ]


def test_the_port_is_the_second_of_the_range() -> None:
    assert port_range(30001) == "30000 30001\n"
