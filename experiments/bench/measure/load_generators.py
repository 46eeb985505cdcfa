"""The generator programs of all client hosts, driven as one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from experiments.bench.basis.bench_network import ECHO_PORT, Network, start_on_host

#: A connection that is not open by then counts as failed.
OPEN_TIMEOUT_S = 60.0


class LoadGeneratorError(RuntimeError):
    """A generator program ended, or did not do what everything after it needs."""


@dataclass(frozen=True)
class OpenResults:
    """What came of opening connections; instants are CLOCK_REALTIME seconds."""

    opened: int
    failures: Mapping[str, int]
    seconds: float

    @property
    def rate(self) -> float:
        """Connections a second."""
        return self.opened / self.seconds


@dataclass(frozen=True)
class RequestResults:
    """What came of one request on each connection; latencies in milliseconds.

    ``reset`` and ``hung``: (client, source port) of those connections. ``waited_ms``:
    how long each that was not reset waited for its answer, hung ones to the end.
    """

    asked: int
    answered: int
    reset: frozenset[tuple[str, int]]
    hung: frozenset[tuple[str, int]]
    first_s: float
    last_reset_s: float | None
    answer_ms: Sequence[float]
    reset_ms: Sequence[float]
    waited_ms: Mapping[tuple[str, int], float]


class LoadGenerators:
    """One generator on every client; connections are known by (client, source port)."""

    def __init__(self, network: Network, seed: int, echo_port: int = ECHO_PORT) -> None:
        """``seed`` fixes the source ports."""
        self._programs = {
            client: start_on_host(
                network,
                client,
                "load_generator",
                *_options(network, client, seed, echo_port),
            )
            for client in network.clients
        }
        self._index: dict[tuple[str, int], int] = {}
        self._pool = ThreadPoolExecutor(len(self._programs))

    @property
    def connections(self) -> Sequence[tuple[str, int]]:
        """Every connection that was opened, and not closed by :meth:`close`."""
        return list(self._index)

    def open(self, connections: int, window: int) -> OpenResults:
        """Open that many more, evenly; ``window`` unanswered ones on each client."""
        shares = _split_evenly(connections, len(self._programs))
        requests = {
            client: {
                "op": "open",
                "connections": share,
                "window": window,
                "timeout_s": OPEN_TIMEOUT_S,
            }
            for client, share in zip(self._programs, shares, strict=True)
        }
        replies = self._exchange(requests)
        failures: dict[str, int] = {}
        for client, reply in replies.items():
            self._index |= {(client, port): index for index, port in reply["ports"]}
            for name, count in reply["failures"].items():
                failures[name] = failures.get(name, 0) + count
        begun = min(reply["first_s"] for reply in replies.values())
        ended = max(reply["last_s"] for reply in replies.values())
        opened = sum(reply["opened"] for reply in replies.values())
        return OpenResults(opened, failures, ended - begun)

    def open_all(self, connections: int, window: int) -> OpenResults:
        """As :meth:`open`. Raises :class:`LoadGeneratorError` unless every one opens."""
        done = self.open(connections, window)
        if done.opened < connections:
            raise LoadGeneratorError(
                f"{done.opened} of {connections} opened: {done.failures}"
            )
        return done

    def request(
        self,
        which: Sequence[tuple[str, int]] | None = None,
        *,
        at_once: bool,
        timeout_s: float,
        pause_s: float = 0.0,
    ) -> RequestResults:
        """One request on each of those connections (None: on all)."""
        requests = {}
        for client in self._programs:
            own = [self._index[each] for each in which or () if each[0] == client]
            requests[client] = {
                "op": "ask",
                "which": None if which is None else own,
                "at_once": at_once,
                "timeout_s": timeout_s,
                "pause_s": pause_s,
            }
        return self._results(self._exchange(requests))

    def close(self) -> None:
        """Abort all connections."""
        self._exchange({client: {"op": "close"} for client in self._programs})
        self._index.clear()

    def end(self) -> None:
        """End the programs."""
        for program in self._programs.values():
            assert program.stdin
            program.stdin.close()
        for program in self._programs.values():
            program.wait()
        self._pool.shutdown()

    def _results(self, replies: Mapping[str, Any]) -> RequestResults:
        by_index = {(own[0], index): own for own, index in self._index.items()}

        def named(key: str) -> frozenset[tuple[str, int]]:
            return frozenset(
                by_index[client, index]
                for client, reply in replies.items()
                for index in reply[key]
            )

        firsts = [r["first_s"] for r in replies.values() if r["first_s"]]
        resets = [r["last_reset_s"] for r in replies.values() if r["last_reset_s"]]
        return RequestResults(
            asked=sum(reply["asked"] for reply in replies.values()),
            answered=sum(reply["answered"] for reply in replies.values()),
            reset=named("reset"),
            hung=named("hung"),
            first_s=min(firsts, default=0.0),
            last_reset_s=max(resets, default=None),
            answer_ms=[ms for r in replies.values() for ms in r["answer_ms"]],
            reset_ms=[ms for r in replies.values() for ms in r["reset_ms"]],
            waited_ms={
                by_index[client, index]: ms
                for client, reply in replies.items()
                for index, ms in reply["waited_ms"]
            },
        )

    def _exchange(self, requests: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Give each client its request, all at the same time; client -> reply."""
        for client, request in requests.items():
            send_request(self._programs[client], request)
        programs = [self._programs[client] for client in requests]
        return dict(zip(requests, self._pool.map(receive_reply, programs), strict=True))


@contextmanager
def load_generators(network: Network, seed: int = 1) -> Iterator[LoadGenerators]:
    """LoadGenerators that are ended, and their connections with them."""
    generators = LoadGenerators(network, seed)
    try:
        yield generators
        generators.close()
    finally:
        generators.end()


def send_request(program: subprocess.Popen[str], request: Mapping[str, Any]) -> None:
    """One JSON line to a program."""
    assert program.stdin
    program.stdin.write(json.dumps(request) + "\n")
    program.stdin.flush()


def receive_reply(program: subprocess.Popen[str]) -> dict[str, Any]:
    """The next JSON line of a program. Raises :class:`LoadGeneratorError` if it has ended."""
    assert program.stdout
    line = program.stdout.readline()
    if not line:
        raise LoadGeneratorError(f"{program.args!r} ended with status {program.wait()}")
    reply: dict[str, Any] = json.loads(line)
    return reply


def _options(network: Network, client: str, seed: int, port: int) -> list[str]:
    targets = [option for each in network.targets() for option in ("--target", each)]
    return [*targets, f"--port={port}", f"--seed={seed}", f"--stream={client}"]


def _split_evenly(total: int, parts: int) -> list[int]:
    """``total`` split into ``parts`` as evenly as can be, the larger first."""
    return [total // parts + (i < total % parts) for i in range(parts)]
