"""The command line of the clients: wrong input ends with status 2 and says why."""

from __future__ import annotations

import socket

import pytest

from nodes.clients import echo_client, nbd_client
from nodes.clients.echo_client import first_delays

TARGET = ["--target", "10.0.0.1"]


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        pytest.param([], "--target", id="no-target"),
        pytest.param(["--target", "example.org"], "IPv4 or IPv6", id="a-name"),
        pytest.param([*TARGET, "--port", "0"], "1 to 65535", id="port-0"),
        pytest.param([*TARGET, "--connections", "0"], "1 to", id="none"),
        pytest.param([*TARGET, "--connections", "1e9"], "1 to", id="no-integer"),
        pytest.param([*TARGET, "--interval-ms", "-1"], "0 to", id="negative"),
        pytest.param([*TARGET, "--deadline-s", "nan"], "1 to", id="nan"),
        pytest.param([*TARGET, "--conections", "3"], "--conections", id="unknown"),
    ],
)
@pytest.mark.parametrize("program", [nbd_client, echo_client], ids=["nbd", "echo"])
def test_wrong_input(
    program: object, argv: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        program.parse_arguments(argv)  # type: ignore[attr-defined]
    assert why in capsys.readouterr().err


def test_connections_that_do_not_fit_their_region(
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = [*TARGET, "--connections=3", "--blocks=4", "--region-size=49151"]
    with pytest.raises(SystemExit, match="2"):
        nbd_client.parse_arguments(argv)
    assert "--region-size of 49152" in capsys.readouterr().err


def test_regions_of_clients_and_connections_do_not_overlap() -> None:
    argv = [*TARGET, "--connections=3", "--blocks=4", "--region-size=49152"]
    spans = []
    for index in range(2):
        options, layout = nbd_client.parse_arguments([*argv, f"--client-index={index}"])
        for conn in range(options.connections):
            for block in range(layout.blocks):
                spans.append(layout.offset(conn, block))
    assert spans == list(range(0, 2 * 49152, 4096))


@pytest.mark.parametrize(
    ("target", "family"),
    [("10.0.0.1", socket.AF_INET), ("fd00:10::1", socket.AF_INET6)],
    ids=["ipv4", "ipv6"],
)
def test_the_target_determines_the_ip_version(target: str, family: int) -> None:
    options, _ = echo_client.parse_arguments(["--target", target])
    assert options.family == family


def test_idle_connections_and_delays_are_the_seeds() -> None:
    argv = [*TARGET, "--connections=100", "--interval-ms=1000"]
    options, _ = echo_client.parse_arguments(argv)
    delays = first_delays(options, 0.25)
    assert delays == first_delays(options, 0.25)
    assert delays.count(None) == 25
    assert all(0 <= delay <= 1 for delay in delays if delay is not None)


@pytest.mark.parametrize("program", [nbd_client, echo_client], ids=["nbd", "echo"])
def test_help_explains_writes(
    program: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        program.parse_arguments(["--help"])  # type: ignore[attr-defined]
    text = capsys.readouterr().out
    assert "a write is" in text and "Exit status" in text
