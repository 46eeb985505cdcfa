"""The command-line options that every client has, checked before anything is opened."""

from __future__ import annotations

import argparse
import ipaddress
import resource
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nodes.clients.patterns import BUSY, PATTERNS, Pattern, supported_patterns

#: Open files of a client besides its connections: standard streams, epoll, wake-up
#: pipe, the connection for the verification, libraries during import.
SPARE_FILES = 32

EPILOG = """\
Output: one JSON object a line, "t" in seconds since the epoch: "ready" when all
connections are open, "reset", "closed", "error", "reconnected", "port-skipped",
"lost" as they happen, "summary" at the end.
Exit status: 0 nothing lost, 1 an acknowledged write was lost, 2 bad input.
SIGTERM and SIGINT end the run cleanly, within --deadline-s.
"""


@dataclass(frozen=True)
class ClientOptions:
    """Options common to all clients."""

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
        """AF_INET or AF_INET6, by the target's address."""
        return socket.AF_INET6 if ":" in self.target else socket.AF_INET


def number(
    kind: Callable[[str], float], minimum: float, maximum: float
) -> Callable[[str], float]:
    """An argparse type: ``kind`` (int or float), from ``minimum`` to ``maximum``."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not {minimum:g} to {maximum:g}"
            )
        return value

    return parse


def make_parser(
    prog: str,
    text: str,
    port: int,
    maximum: int,
    unsupported: Mapping[str, str] | None = None,
) -> argparse.ArgumentParser:
    """A parser with the shared options, for up to ``maximum`` connections.

    ``port``: the default. ``unsupported``: traffic patterns that this client does not
    support, with the reason.
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
        type=number(int, 1, maximum),
        default=1,
        help=_default(f"number of connections, at most {maximum}"),
    )
    add("--seed", type=int, default=1, help=_default("determines the source ports"))
    add(
        "--stream",
        default="client",
        help=_default("name of this client, unique among those with this seed"),
    )
    add(
        "--pattern",
        choices=supported_patterns(unsupported or {}),
        default=BUSY.name,
        help=_default("how the connections are used"),
    )
    _add_timing(parser)
    return parser


def _add_timing(parser: argparse.ArgumentParser) -> None:
    seconds, milliseconds = number(float, 0, 86400), number(float, 0, 86_400_000)
    for name, kind, value, text in (
        ("--interval-ms", milliseconds, 100.0, "from one request to the next"),
        ("--duration-s", seconds, None, "end after this time (default: at SIGTERM)"),
        ("--open-rate", number(float, 0.1, 1e6), 500.0, "connections opened a second"),
        ("--connect-timeout-ms", milliseconds, 10_000.0, "time limit for opening one"),
        ("--grace-ms", milliseconds, 1000.0, "at the end, hung if not answered within"),
        ("--deadline-s", number(float, 1, 3600), 5.0, "longest from SIGTERM to exit"),
    ):
        shown = text if value is None else _default(text)
        parser.add_argument(name, type=kind, default=value, help=shown)
    parser.add_argument(
        "--keepalive-s",
        type=number(int, 0, 32767),
        default=1,
        help=_default("TCP keepalive after this idle time, 0: none"),
    )
    parser.add_argument("--no-reconnect", action="store_true", help="do not reconnect")


def shared_options(
    parser: argparse.ArgumentParser,
    args: argparse.Namespace,
    files_per_connection: int = 1,
) -> ClientOptions:
    """The shared options from parsed ``args``. Raises the limit of open files if needed.

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
