"""The clients of chaos: on each host one register client and one echo client for each IP
version. They run all the time, and come back after their host has vanished."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from experiments.chaos.chaos_facts import Fact, Operation, WrongEcho
from experiments.cluster.live_cluster import Cluster
from experiments.workloads.echo import ECHO_PORT
from experiments.workloads.workload import program
from nodes.clients.register_client import BLOCKS
from topologies.domain.plan import FABRIC, VIP4, VIP6, Client
from topologies.scripts import run_script

#: Connections at a time on one host: of the register client, of each echo client.
SLOTS, ECHOES = 8, 4
REGISTER_MS, ECHO_MS = 100, 200
STOP_S = 8.0


class ChaosClients:
    """Starts, stops and disturbs them; reads what they report. Thread-safe."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        """Starts nothing yet. ``seed`` fixes their ports and pauses."""
        self._cluster = cluster
        self._seed = seed
        self._lock = threading.Lock()
        self._running: dict[str, list[subprocess.Popen[bytes]]] = {}
        self._starts: dict[str, int] = {}
        self._read: dict[Path, int] = {}

    @property
    def hosts(self) -> tuple[Client, ...]:
        """The client hosts."""
        return self._cluster.state.plan.clients

    def start_all(self) -> None:
        """Starts the programs of every host."""
        for client in self.hosts:
            with self._lock:
                self._start(client)

    def disturb(self, host: str, same_ports: bool) -> bool:
        """Lets a host's register client abort connections. False if it is not there."""
        number = signal.SIGUSR2 if same_ports else signal.SIGUSR1
        with self._lock:
            running = self._running.get(host, [])
            if not running or running[0].poll() is not None:
                return False
            running[0].send_signal(number)
        return True

    def vanish(self, host: str) -> Callable[[], None] | None:
        """A host loses its link and all its state; returns how it comes back.

        None if it has vanished already. Not one packet tells of it.
        """
        client = next(one for one in self.hosts if one.name == host)
        network = self._cluster.network
        with self._lock:
            programs = self._running.pop(host, None)
            if programs is None:
                return None
            fabric = network.switch(FABRIC)
            run_script(fabric, f"ip link set dev {client.fabric_interface} down")
            machine = network.host(host)
            machine.kill_programs()
            run_script(machine, machine.power_off_script())
            for one in programs:
                one.wait()

        def come_back() -> None:
            with self._lock:
                run_script(machine, machine.script())
                run_script(fabric, f"ip link set dev {client.fabric_interface} up")
                self._start(client)

        return come_back

    def stop_all(self) -> None:
        """Ends all programs, by SIGTERM, else by SIGKILL."""
        with self._lock:
            programs = [one for each in self._running.values() for one in each]
            self._running.clear()
        for one in programs:
            one.terminate()
        for one in programs:
            try:
                one.wait(STOP_S)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()

    def ended(self) -> list[str]:
        """Programs that have ended by themselves, with their status."""
        with self._lock:
            return [
                f"a client on {host} ended with status {one.returncode}"
                for host, programs in self._running.items()
                for one in programs
                if one.poll() is not None
            ]

    def new_facts(self) -> Iterator[Fact]:
        """What they reported since the last call."""
        for client in self.hosts:
            for line in self._new_lines(self._file(client.name, "register")):
                yield Operation(*json.loads(line))
            for version in (4, 6):
                for line in self._new_lines(self._file(client.name, f"echo{version}")):
                    report = json.loads(line)
                    if report["event"] == "lost":
                        yield WrongEcho(report["t"], client.name, line)

    def _file(self, host: str, what: str) -> Path:
        return self._cluster.folder / "hosts" / f"{host}-{what}.jsonl"

    def _new_lines(self, path: Path) -> list[str]:
        """Complete lines. A program that is killed may leave half a line; its next start
        begins a new one."""
        if not path.exists():
            return []
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            data = file.read()
        whole, newline, _ = data.rpartition(b"\n")
        self._read[path] = self._read.get(path, 0) + len(whole) + len(newline)
        return [
            line for line in whole.decode().split("\n") if line.endswith(("]", "}"))
        ]

    def _start(self, client: Client) -> None:
        start = self._starts[client.name] = self._starts.get(client.name, 0) + 1
        seed = f"{self._seed}-{client.name}-{start}"
        first = (client.number - 1) * SLOTS * BLOCKS
        register = [
            *(sys.executable, program("clients/register_client"), f"--seed={seed}"),
            *(f"--target={VIP4}", f"--target={VIP6}", f"--slots={SLOTS}"),
            *(f"--first-block={first}", f"--interval-ms={REGISTER_MS}"),
        ]
        commands = {"register": register}
        for version, target in ((4, VIP4), (6, VIP6)):
            commands[f"echo{version}"] = [
                *(sys.executable, program("clients/echo_client")),
                *(f"--target={target}", f"--port={ECHO_PORT}"),
                *(f"--connections={ECHOES}", f"--interval-ms={ECHO_MS}"),
                *(f"--seed={self._seed + start}", f"--stream={client.name}-{version}"),
            ]
        self._running[client.name] = [
            self._cluster.network.popen(
                client.name,
                argv,
                stdout=self._file(client.name, what),
                stderr=self._file(client.name, what).with_suffix(".log"),
            )
            for what, argv in commands.items()
        ]
