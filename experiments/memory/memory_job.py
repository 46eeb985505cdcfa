"""Measures one server in a sandbox: ``python -m experiments.memory.memory_job JOB``.

The job is JSON: ``conversation`` (its name), ``connections``, ``unsent`` (whether each is
owed an answer), ``out``. Two hosts on a wire. The client's connections are opened, its link
is cut, and its sockets are destroyed without a word: the server's ends are half open.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from experiments.memory import holder
from experiments.memory.conversations import (
    ANSWER,
    ANSWER_NAME,
    CONVERSATIONS,
    Conversation,
)
from experiments.memory.readings import (
    Reading,
    data_bytes,
    each,
    object_bytes,
    pss_bytes,
    stack_bytes,
)
from experiments.workloads import WORKLOADS, Workload
from nodes.servers.server_settings import ServerSettings
from topologies import sandbox
from topologies.private import UMASK
from topologies.runs import RUN_VARIABLE

SERVER, CLIENT = "10.0.0.1", "10.0.0.2"
READY_S, SETTLE_S, POLL_S = 300.0, 20.0, 0.5
#: The kernel frees sockets and threads later: two readings that differ by less are equal.
STILL = 0.005

_WIRE = f"""\
ip link set lo up
ip netns add client
ip netns add server
ip link add to-server netns client type veth peer to-client netns server
ip -n server address add {SERVER}/24 dev to-client
ip -n client address add {CLIENT}/24 dev to-server
ip -n server link set lo up
ip -n server link set to-client up
ip -n client link set to-server up
"""
#: What the server sends from now on reaches nobody; what its client sends arrives.
_DEAFEN = f"""\
ip -n server neigh replace {CLIENT} lladdr 02:00:00:00:00:99 nud permanent dev to-client
"""
#: As when a client's power fails: the link is down before its kernel could say anything.
_VANISH = """\
ip -n client link set to-server down
ip netns exec client ss --no-header --tcp --all --kill
"""


class NotMeasured(RuntimeError):
    """It cannot be measured. The text says why."""


def main(text: str) -> int:
    """Do the job; its reading is written to ``out``. Returns 1 if it failed."""
    job = json.loads(text)
    os.umask(UMASK)
    try:
        found = measure(
            CONVERSATIONS[job["conversation"]], job["connections"], job["unsent"]
        )
    except (NotMeasured, OSError, subprocess.CalledProcessError) as error:
        print(f"{job['conversation']}: {error}", file=sys.stderr)
        return 1
    Path(job["out"]).write_text(json.dumps(found.to_json()))
    return 0


def measure(talk: Conversation, connections: int, unsent: bool) -> Reading:
    """What one half-open connection of so many costs, in bytes.

    Raises :class:`NotMeasured` if not exactly so many are half open.
    """
    _run(_WIRE)
    _raise_file_limit()
    store = sandbox.run_directory(os.environ[RUN_VARIABLE]) / "store"
    store.mkdir()
    with ExitStack() as stack:
        programs = _start_server(talk, store, connections, stack)
        before = _still(lambda: _reading(programs))
        client = stack.enter_context(_client(talk, connections))
        stack.callback(client.kill)
        _await(client, "open")
        _until(lambda: _queued() == 0, "last acknowledgement of the client")
        if unsent:
            _run(_DEAFEN)
            _tell(client, talk.ask.hex())
            _await(client, "asked")
            _until(lambda: _queued() >= connections * talk.owed, "answer of the server")
        _run(_VANISH)
        client.kill()
        client.wait()
        after = _still(lambda: _reading(programs))
        left = len(_listing("state", "established").splitlines())
        if left != connections:
            raise NotMeasured(f"{left} half-open connections, not {connections}")
        return each(before, after, connections)


def _start_server(
    talk: Conversation, store: Path, connections: int, stack: ExitStack
) -> list[int]:
    """Starts the workload's programs; their process ids."""
    named = WORKLOADS[talk.workload]
    slots = connections + 10 if "slots" in named.heeds else None
    workload = named.tuned(ServerSettings(slots=slots))
    store.chmod(0o755)
    workload.prepare(store)
    if (store / "blocks").is_dir():
        (store / "blocks" / ANSWER_NAME).write_bytes(bytes(ANSWER))
    programs = [_started(argv, store, stack) for argv in _commands(workload, store)]
    _until(
        lambda: bool(_listing("state", "listening", f"sport = :{workload.port}")),
        "server that listens",
    )
    return [program.pid for program in programs]


def _commands(workload: Workload, store: Path) -> Iterator[list[str]]:
    if workload.backend is not None and workload.backend_is_ready is not None:
        yield workload.backend(store)
        ready = workload.backend_is_ready
        _until(lambda: ready(store), "backend that is ready")
    yield ["ip", "netns", "exec", "server", *workload.server(store)]


def _started(argv: list[str], store: Path, stack: ExitStack) -> subprocess.Popen[bytes]:
    log = stack.enter_context((store / "log").open("ab"))
    program = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
    )
    stack.callback(program.wait)
    stack.callback(program.kill)
    return program


def _client(talk: Conversation, connections: int) -> subprocess.Popen[str]:
    job = {
        "target": SERVER,
        "port": WORKLOADS[talk.workload].port,
        "connections": connections,
        "steps": [step.to_json() for step in talk.steps],
    }
    enter = ["ip", "netns", "exec", "client", sys.executable, "-I", "-S"]
    client = subprocess.Popen(
        [*enter, str(holder.__file__)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    _tell(client, json.dumps(job))
    return client


def _tell(client: subprocess.Popen[str], line: str) -> None:
    pipe: IO[str] | None = client.stdin
    assert pipe is not None
    pipe.write(f"{line}\n")
    pipe.flush()


def _await(client: subprocess.Popen[str], word: str) -> None:
    pipe: IO[str] | None = client.stdout
    if pipe is None or pipe.readline().strip() != word:
        raise NotMeasured(f"the client's connections are not {word}")


def _reading(programs: list[int]) -> Reading:
    processes = [pid for top in programs for pid in _tree(top)]
    return Reading(
        server=sum(pss_bytes(_of(pid, "smaps_rollup")) for pid in processes),
        objects=object_bytes(Path("/proc/slabinfo").read_text()),
        stacks=sum(stack_bytes(_of(pid, "status")) for pid in processes),
        data=_queued(),
    )


def _queued() -> int:
    return data_bytes(_listing("state", "established"))


def _of(pid: int, file: str) -> str:
    """A file of /proc/PID; empty if the process has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _tree(pid: int) -> Iterator[int]:
    """A process and all its descendants (proc(5): ``children`` of each thread)."""
    yield pid
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = file.read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in children:
            yield from _tree(int(child))


def _still(read: Callable[[], Reading]) -> Reading:
    """A reading that the next one confirms. Raises :class:`NotMeasured`."""
    deadline, last = time.monotonic() + SETTLE_S, read()
    while time.monotonic() < deadline:
        time.sleep(POLL_S)
        now = read()
        if abs(now.total - last.total) <= STILL * last.total:
            return now
        last = now
    raise NotMeasured(f"memory is not still after {SETTLE_S:g} s")


def _listing(*words: str) -> str:
    command = ["ip", "netns", "exec", "server", "ss", "-tnH", "-O", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _until(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + READY_S
    while not ready():
        if time.monotonic() > deadline:
            raise NotMeasured(f"no {what} after {READY_S:g} s")
        time.sleep(0.02)


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _run(script: str) -> None:
    subprocess.run(["sh", "-ec", script], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
