"""The command-line options that every client has, checked before anything is opened."""

from __future__ import annotations

import argparse
import ipaddress
import resource
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nodes.clients.patterns import BUSY, PATTERNS, Pattern, possible

#: Files a client holds beside its connections: standard streams, epoll, wake-up pipe,
#: the connection it verifies with, libraries being imported.
SPARE_FILES = 32

EPILOG = """\
Output: one JSON object a line, "t" in seconds since the epoch: "ready" when all
connections are open, "reset", "closed", "error", "reconnected", "port-skipped",
"lost" as they happen, "summary" at the end.
Exit status: 0 nothing lost, 1 an acknowledged write was lost, 2 bad input.
SIGTERM and SIGINT end the run in good order; it exits within --deadline-s then.
"""


@dataclass(frozen=True)
class ClientOptions:
    """What every client is told: where to, how many, from which ports, how often."""

    target: str
    port: int
    connections: int
    seed: int
    stream: str
    interval_s: float
    duration_s: float | None
    open_rate: float
    connect_timeout_s: float
    keepalive_s: int
    grace_s: float
    deadline_s: float
    reconnect: bool
    pattern: Pattern = BUSY

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6, as the target's address is written."""
        return socket.AF_INET6 if ":" in self.target else socket.AF_INET


def number(
    kind: Callable[[str], float], least: float, most: float
) -> Callable[[str], float]:
    """An argparse type: ``kind`` (int or float), from ``least`` to ``most``."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not {least:g} to {most:g}")
        return value

    return parse


def make_parser(
    prog: str,
    text: str,
    port: int,
    most: int,
    refused: Mapping[str, str] | None = None,
) -> argparse.ArgumentParser:
    """A parser with the shared options: ``port`` the default, ``most`` connections.

    ``refused``: the patterns that this client cannot follow, and why.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description=text,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--target", type=_address, required=True, help="IPv4 or IPv6 address")
    add("--port", type=number(int, 1, 65535), default=port, help=_default("TCP port"))
    add(
        "--connections",
        type=number(int, 1, most),
        default=1,
        help=_default(f"how many, at most {most}"),
    )
    add("--seed", type=int, default=1, help=_default("fixes the source ports"))
    add(
        "--stream",
        default="client",
        help=_default("name of this client among those that share a seed"),
    )
    add(
        "--pattern",
        choices=possible(refused or {}),
        default=BUSY.name,
        help=_default("what the connections do with their time"),
    )
    _add_timing(parser)
    return parser


def _add_timing(parser: argparse.ArgumentParser) -> None:
    seconds, milliseconds = number(float, 0, 86400), number(float, 0, 86_400_000)
    for name, kind, value, text in (
        ("--interval-ms", milliseconds, 100.0, "from one request to the next"),
        ("--duration-s", seconds, None, "end after so long (default: at SIGTERM)"),
        ("--open-rate", number(float, 0.1, 1e6), 500.0, "connections opened a second"),
        ("--connect-timeout-ms", milliseconds, 10_000.0, "give up opening after"),
        ("--grace-ms", milliseconds, 1000.0, "at the end, hung if not answered in"),
        ("--deadline-s", number(float, 1, 3600), 5.0, "longest from SIGTERM to exit"),
    ):
        shown = text if value is None else _default(text)
        parser.add_argument(name, type=kind, default=value, help=shown)
    parser.add_argument(
        "--keepalive-s",
        type=number(int, 0, 32767),
        default=1,
        help=_default("TCP keepalive after so much silence, 0: none"),
    )
    parser.add_argument(
        "--no-reconnect", action="store_true", help="leave a broken connection alone"
    )


def shared_options(
    parser: argparse.ArgumentParser,
    args: argparse.Namespace,
    files_per_connection: int = 1,
) -> ClientOptions:
    """The shared options out of parsed ``args``; the limit of open files raised to fit.

    Exits with status 2, through the parser, if the limit cannot be raised that far.
    """
    need = args.connections * files_per_connection + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and need > hard:
        parser.error(f"{need} open files needed, the limit is {hard} (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and need > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
    pattern = PATTERNS[args.pattern]
    return ClientOptions(
        target=args.target,
        port=args.port,
        connections=args.connections,
        seed=args.seed,
        stream=args.stream,
        interval_s=args.interval_ms / 1000 * pattern.pause_factor,
        duration_s=args.duration_s,
        open_rate=args.open_rate,
        connect_timeout_s=args.connect_timeout_ms / 1000,
        keepalive_s=args.keepalive_s,
        grace_s=min(args.grace_ms / 1000, args.deadline_s / 2),
        deadline_s=args.deadline_s,
        reconnect=not args.no_reconnect,
        pattern=pattern,
    )


def _default(text: str) -> str:
    return f"{text} (default: %(default)s)"


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
