"""The guard in the kernel on packets at random, held against the decision table.

Lives in a process of its own (:mod:`tests.nodes.lab_process`), whose network namespace is
its to fill. Linux runs the program on each packet with real sockets and real maps.
"""

from __future__ import annotations

import errno
import ipaddress
import struct
import subprocess
import time
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

from nodes.guard.budget import UNLIMITED, Budget, Limit
from nodes.guard.guard import GuardCounters, GuardSettings
from nodes.guard.guard_ebpf import CONFIG, COUNTERS, compile_guard, packed_settings
from nodes.guard.socket_lookup import SocketLookup
from nodes.guard.verdict import FLOW_VALID_S, Mode, Status
from nodes.kernel.libbpf import BpfObject
from tests.nodes.fuzz.cases import GUARDED, NODE_MACS, make_case
from tests.nodes.fuzz.imagined import CLIENTS, Peer, imagine
from tests.nodes.fuzz.mutations import compile_mutated
from tests.nodes.fuzz.oracle import (
    Age,
    Case,
    Device,
    Entry,
    Expected,
    Memory,
    Renewed,
    expect,
)
from tests.nodes.fuzz.prog_run import ProgramRun, Ran
from tests.nodes.fuzz.raw_frames import packed
from tests.nodes.fuzz.real_sockets import RealSockets
from tests.nodes.fuzz.tap import Tap
from topologies.domain.connection import FourTuple
from topologies.domain.plan import VIP4, VIP6

#: Cases of one world. It is younger than any timer of its sockets (TIME-WAIT: 60 s).
WORLD_CASES = 20_000
_MOST_SHOWN = 5
_ROUNDS = 3

_KEY = struct.Struct("=I")
#: ``struct connection``, ``struct answer`` (guard_maps.bpf.h).
_CONNECTION = struct.Struct("=16sHHHH")
_ANSWER = struct.Struct("=QII")
_TIME = struct.Struct("=Q")
#: Status -> the map that has it, and the size of its values.
_MAPS = {
    Status.ABORTED: ("guard_aborted", _TIME.size),
    Status.FREED: ("guard_freed", _TIME.size),
    Status.HELD: ("guard_held", _TIME.size),
    Status.RELAYED: ("guard_relayed", _TIME.size),
    Status.ANSWERED: ("guard_answered", _ANSWER.size),
}
#: A budget of nothing for hours, once its bucket is empty.
_USED_UP = Budget(total=Limit(rate=1.0, burst=1.0))
_NAMES = [each.name for each in fields(GuardCounters)]

_SECOND = 1_000_000_000
#: Age of an entry -> nanoseconds until it is no longer valid.
_LEFT = {
    Age.FRESH: 3600 * _SECOND,
    Age.LATE: round(FLOW_VALID_S * _SECOND) // 5,
    Age.EXPIRED: 0,
}


class Remembered(NamedTuple):
    """An entry of a map that is still valid: status, end of its validity, number."""

    status: Status
    until_ns: int
    number: int


class Seen(NamedTuple):
    """What the guard did. ``times``: before and after it, as the kernel's clock has it."""

    ran: Ran
    counts: tuple[int, ...]
    given_until_ns: dict[Status, int]
    memory: dict[Status, Remembered]
    times: tuple[int, int]


@dataclass
class Report:
    """What came of many cases; ``differences``: the first few, as text."""

    cases: int = 0
    differences: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Program:
    """One loaded guard: its programs, and its maps by their meaning."""

    def __init__(self, path: Path) -> None:
        self._object = BpfObject(path)
        self.runs = [
            ProgramRun(self._object.program_descriptor(name))
            for name in ("guard_ingress", "guard_egress")
        ]
        self._config = self._object.map("guard_config", CONFIG.size)
        self._nodes = self._object.map("guard_nodes", COUNTERS.size)
        self._memory = {
            status: self._object.map(*found) for status, found in _MAPS.items()
        }
        self._used: tuple[Mode, bool, bool] | None = None
        far = time.monotonic_ns() + 36_000 * _SECOND
        self._object.map("guard_total", _TIME.size).set(_KEY.pack(0), _TIME.pack(far))
        for mac, guarded in zip(NODE_MACS, GUARDED, strict=True):
            if guarded:
                self._nodes.set(_node_key(packed(mac)), bytes(COUNTERS.size))

    def use(self, mode: Mode, healing: bool, limited: bool) -> None:
        """Put these settings into the configuration."""
        if (mode, healing, limited) != self._used:
            budget = _USED_UP if limited else UNLIMITED
            settings = GuardSettings(mode, healing, budget)
            self._config.set(_KEY.pack(0), packed_settings(settings))
            self._used = mode, healing, limited

    def counters(self, mac: bytes) -> tuple[int, ...]:
        """The counters of the node with that MAC."""
        return COUNTERS.unpack(self._nodes.get(_node_key(mac)))

    def remember(self, key: bytes, entry: Entry, until_ns: int) -> None:
        """Put an entry into its map."""
        if entry.status is Status.ANSWERED:
            value = _ANSWER.pack(until_ns, _other_order(entry.number), 0)
        else:
            value = _TIME.pack(until_ns)
        self._memory[entry.status].set(key, value)

    def recall(self, key: bytes) -> dict[Status, Remembered]:
        """What the maps have under that key. They forget it."""
        found = {}
        for status, each in self._memory.items():
            try:
                value = each.get(key)
            except KeyError:
                continue
            each.delete(key)
            number = 0
            if status is Status.ANSWERED:
                number = _other_order(_ANSWER.unpack(value)[1])
            (until_ns,) = _TIME.unpack_from(value)
            found[status] = Remembered(status, until_ns, number)
        return found

    def close(self) -> None:
        """Unload it."""
        self._object.close()


class Bench:
    """Interfaces, sockets and the guard that is looked at."""

    def __init__(self) -> None:
        _run("ip link set lo up")
        self._taps = [Tap(f"node{i}", mac) for i, mac in enumerate(NODE_MACS)]
        _set_addresses(self._taps[0].name)
        self.devices = [
            Device(tap.index, packed(mac), guarded)
            for tap, mac, guarded in zip(self._taps, NODE_MACS, GUARDED, strict=True)
        ]
        self._lookup = SocketLookup()
        self._serial = 0
        self._sockets: RealSockets | None = None
        self._mutation: str | None = None
        self.program = Program(compile_guard())

    def use(self, mutation: str | None) -> None:
        """Load the guard, or one that a mutation has spoilt."""
        if mutation == self._mutation:
            return
        self.program.close()
        path = compile_mutated(mutation) if mutation else compile_guard()
        self.program, self._mutation = Program(path), mutation

    def new_world(self, seed: int) -> tuple[list[Peer], list[Device]]:
        """Make other sockets. Returns what a case is made from."""
        if self._sockets:
            self._sockets.close()
        peers = imagine(Random(seed), self._serial)
        self._serial += 1
        self._sockets = RealSockets(peers, self._taps[0], NODE_MACS[0])
        return self._sockets.peers, self.devices

    def fuzz(self, seed: int, count: int, mutation: str | None = None) -> Report:
        """Play ``count`` cases of that seed, all with the same sockets.

        A guard that differs is believed only if the sockets are still as they were.
        """
        self.use(mutation)
        for _ in range(_ROUNDS):
            report = self._fuzz_once(seed, count)
            assert self._sockets
            if not (report.differences and self._sockets.changed()):
                return report
        raise AssertionError("the sockets do not stay as they are")

    def compare(self, case: Case) -> str | None:
        """Play a case. Returns how the guard differs from the table; None if it does not."""
        assert self._sockets
        expected = expect(case, self._sockets.world)
        try:
            seen = self._play(case, expected)
        except OSError as error:
            self.program.recall(_connection_key(case.remembers, case.device.mac))
            if error.errno == errno.EINVAL:
                return None  # the kernel makes no packet of it: an IP header is cut off
            return _text(case, expected, error)
        if _agree(case, expected, seen) or self._meets_another(expected.connection):
            return None
        return _text(case, expected, seen)

    def _meets_another(self, connection: FourTuple | None) -> bool:
        """Whether there is a socket that is not of this world: an earlier one has left it
        in TIME-WAIT, and a damaged port leads to it."""
        assert self._sockets
        own = {peer.tuple for peer in self._sockets.peers}
        if connection is None or connection in own:
            return False
        return self._lookup.find(connection).status is not Status.NOTHING

    def _fuzz_once(self, seed: int, count: int) -> Report:
        peers, devices = self.new_world(seed)
        rng, report = Random(seed), Report()
        begin = time.perf_counter()
        for _ in range(count):
            difference = self.compare(make_case(rng, peers, devices))
            report.cases += 1
            if difference:
                report.differences.append(difference)
                if len(report.differences) == _MOST_SHOWN:
                    break
        report.seconds = time.perf_counter() - begin
        return report

    def _play(self, case: Case, expected: Expected) -> Seen:
        """Once, and again while the clock ran past the end of an entry meanwhile."""
        while True:
            seen = self._play_once(case, expected)
            ends = [
                seen.given_until_ns[entry.status]
                for entry in case.memory
                if entry.age is not Age.EXPIRED
            ]
            if all(seen.times[1] < end for end in ends):
                return seen

    def _play_once(self, case: Case, expected: Expected) -> Seen:
        program, mac = self.program, case.device.mac
        program.use(case.mode, case.healing, case.limited)
        key = _connection_key(case.remembers, mac)
        before = time.monotonic_ns()
        given = {e.status: before + _LEFT[e.age] for e in case.memory}
        for entry in case.memory:
            program.remember(key, entry, given[entry.status])
        old = program.counters(mac) if case.device.guarded else ()
        run = program.runs[case.egress]
        ran = run.run(case.frame, case.device.interface, case.mark)
        after = time.monotonic_ns()
        new = program.counters(mac) if case.device.guarded else ()
        memory = program.recall(key)
        if expected.connection and expected.connection != case.remembers:
            memory = program.recall(_connection_key(expected.connection, mac))
        valid = {s: e for s, e in memory.items() if e.until_ns > after}
        counts = tuple(b - a for a, b in zip(old, new, strict=True))
        return Seen(ran, counts, given, valid, (before, after))


def _agree(case: Case, expected: Expected, seen: Seen) -> bool:
    ran = seen.ran
    if ran.code != expected.code or ran.mark != expected.mark:
        return False
    if expected.frame is not None and ran.frame != expected.frame:
        return False
    if seen.counts and seen.counts != _counts(expected.counts):
        return False
    return expected.connection is None or _same_memory(expected.memory, seen)


@cache
def _counts(names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(names.count(name) for name in _NAMES)


def _same_memory(expected: Memory, seen: Seen) -> bool:
    return expected.keys() == seen.memory.keys() and all(
        _same_entry(expected[status], found, seen)
        for status, found in seen.memory.items()
    )


def _same_entry(expected: Entry | Renewed, found: Remembered, seen: Seen) -> bool:
    if found.number != expected.number:
        return False
    if isinstance(expected, Renewed):
        first, last = (now + round(expected.seconds * _SECOND) for now in seen.times)
        return first <= found.until_ns <= last
    return found.until_ns == seen.given_until_ns[found.status]


def _other_order(number: int) -> int:
    """A number of 32 bits with its bytes the other way round."""
    return int.from_bytes(number.to_bytes(4, "big"), "little")


def _text(case: Case, expected: Expected, seen: Seen | OSError) -> str:
    parts = {
        "case": case,
        "frame": case.frame.hex(),
        "expected": expected,
        "seen": seen,
    }
    if isinstance(seen, Seen):
        parts["seen frame"] = seen.ran.frame.hex()
    if expected.frame is not None:
        parts["expected frame"] = expected.frame.hex()
    return "\n".join(f"{name}: {part}" for name, part in parts.items())


@cache
def _connection_key(connection: FourTuple, mac: bytes) -> bytes:
    """``struct connection``."""
    client = packed(connection.src)
    ports = (_swapped(connection.sport), _swapped(connection.dport))
    version = 4 if len(client) == 4 else 6
    node = int.from_bytes(mac[4:], "big")
    return _CONNECTION.pack(client, *ports, node, version)


def _swapped(port: int) -> int:
    return int.from_bytes(port.to_bytes(2, "big"), "little")


def _node_key(mac: bytes) -> bytes:
    return _KEY.pack(int.from_bytes(mac[4:], "big"))


def _set_addresses(interface: str) -> None:
    for command in (
        f"address add {VIP4}/32 dev lo",
        f"address add {VIP6}/128 dev lo nodad",
        f"address add 10.2.1.3/8 dev {interface}",
        f"address add fd00:10:2:1::3/32 dev {interface} nodad",
    ):
        _run(f"ip {command}")
    for client in CLIENTS.values():
        assert ipaddress.ip_address(client)
        mac = "02:01:00:00:00:07"
        _run(f"ip neigh add {client} lladdr {mac} dev {interface} nud permanent")


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True)
