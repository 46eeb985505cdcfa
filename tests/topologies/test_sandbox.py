"""A sandbox passes streams and signals through, isolates the rest, and ends completely."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.topologies.traces import Traces, machine
from tests.topologies.waiting import eventually
from topologies import sandbox
from topologies.runs import RUNS, registry_lock

pytestmark = [pytest.mark.live, pytest.mark.beside]

ROOT = Path(sandbox.__file__).resolve().parents[1]
LAUNCH = "import sys; from topologies.sandbox import enter; sys.exit(enter(sys.argv[2:], sys.argv[1]))"
CLUSTER = [sys.executable, "-m", "tests.topologies.standing_cluster"]

#: Counts SIGINT; ends on SIGUSR1.
COUNTER = """
import signal, sys
count = 0
def interrupt(*_):
    global count
    count += 1
    print("interrupts", count, flush=True)
def end(*_):
    sys.exit(10 + count)
signal.signal(signal.SIGINT, interrupt)
signal.signal(signal.SIGUSR1, end)
print("ready", flush=True)
while True:
    signal.pause()
"""

COUNT = [sys.executable, "-c", COUNTER]
TAKE_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "

Launch = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Start launchers that wait for their sandbox; end them afterwards."""
    started: list[subprocess.Popen[str]] = []

    def start(
        name: str, argv: list[str], stderr: int | None = None
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, name, *argv],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("exec /nowhere", 127)],
    ids=["success", "failure", "killed", "not found"],
)
def test_the_exit_status_is_the_commands(
    run_name: str, script: str, status: int
) -> None:
    assert sandbox.enter(["sh", "-c", script], run_name) == status
    assert not (RUNS / run_name).exists()


def test_a_missing_command(run_name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert sandbox.enter(["no-such-command"], run_name) == 127
    assert "no-such-command: No such file or directory" in capfd.readouterr().err


def test_a_sandbox_sees_only_itself(
    run_name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    look = (
        "ls -A /sys/class/net /run/openvswitch /etc/openvswitch /run/netns;"
        "stat -f -c %T /sys/fs/bpf /sys/kernel/tracing; ip -br link | wc -l"
    )
    assert sandbox.enter(["sh", "-c", look], run_name) == 0
    seen = capfd.readouterr().out
    assert seen == (
        "/etc/openvswitch:\n\n/run/netns:\n\n/run/openvswitch:\n\n"
        "/sys/class/net:\nlo\nbpf_fs\ntracefs\n1\n"
    )


def test_orphans_are_reaped(run_name: str) -> None:
    script = "(sleep 0.1 &); until ! ps -A -o stat=,comm= | grep sleep; do :; done"
    assert sandbox.enter(["sh", "-c", script], run_name) == 0


def test_signals_pass_through(run_name: str, launch: Launch) -> None:
    process = launch(run_name, COUNT)
    assert line(process) == "ready"
    process.send_signal(signal.SIGINT)
    assert line(process) == "interrupts 1"
    process.send_signal(signal.SIGUSR1)
    assert process.wait() == 11


def test_a_terminals_interrupt_arrives_once(run_name: str) -> None:
    """The terminal signals launcher and command; forwarding would duplicate the signal."""
    ours, terminal = pty.openpty()
    with open(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL + LAUNCH, run_name, *COUNT],
            cwd=ROOT,
            stdin=terminal,
            stdout=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        _read_until(screen, b"ready")
        os.write(ours, b"\x03")
        _read_until(screen, b"interrupts 1")
        process.send_signal(signal.SIGUSR1)
        assert process.wait() == 11


def _read_until(screen: io.FileIO, word: bytes) -> None:
    output = b""
    while word not in output:
        output += screen.read(100)


def test_two_side_by_side_do_not_see_each_other(run_name: str, launch: Launch) -> None:
    before = machine()
    runs = [f"{run_name}-{side}" for side in "ab"]
    processes = [launch(run, CLUSTER) for run in runs]
    assert [line(process) for process in processes] == ["standing", "standing"]
    pids = [sandbox.find_run(run).init.pid for run in runs]
    namespaces = [os.readlink(f"/proc/{pid}/ns/net") for pid in pids]
    assert len({*namespaces, os.readlink("/proc/self/ns/net")}) == 3
    assert machine() == before
    sandbox.kill(runs[0])
    assert [sandbox.is_alive(run) for run in runs] == [False, True]
    reach = sandbox.host_command(runs[1], "h1", ["ip", "-br", "link"])
    assert subprocess.run(reach, capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    ("victim", "detach"),
    [
        ("launcher", False),
        ("unshare", False),
        ("init", False),
        ("supervisor", False),
        ("unshare", True),
        ("init", True),
        ("supervisor", True),
    ],
    ids=lambda value: {False: "waiting", True: "detached"}.get(value, value),
)
def test_kill_of_any_process_leaves_nothing(
    run_name: str, launch: Launch, victim: str, detach: bool
) -> None:
    before = machine()
    launcher = _stand_up(run_name, launch, detach)
    run = sandbox.find_run(run_name)
    traces = Traces.of(run)
    assert len(traces.namespaces) > 10
    victims = {
        "launcher": launcher.pid if launcher else None,
        "unshare": run.outer.pid,
        "init": run.init.pid,
        "supervisor": _supervisor(traces),
    }
    os.kill(victims[victim] or 0, signal.SIGKILL)
    eventually("nothing is left", lambda: not traces.left())
    assert machine() == before
    assert not sandbox.is_alive(run_name)
    sandbox.remove_dead_runs()
    assert not (RUNS / run_name).exists()


def _stand_up(name: str, launch: Launch, detach: bool) -> subprocess.Popen[str] | None:
    """Start a cluster; its launcher, if it is not detached."""
    if not detach:
        process = launch(name, CLUSTER)
        assert line(process) == "standing"
        return process
    assert sandbox.enter(CLUSTER, name, detach=True) == 0
    log = RUNS / name / "log"
    eventually("the cluster stands", lambda: "standing" in log.read_text())
    return None


def _supervisor(traces: Traces) -> int:
    """The pid of the sandbox's command, found by its command line."""
    for process in traces.processes:
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
        if command[1:3] == [b"-m", b"tests.topologies.standing_cluster"]:
            return process.pid
    raise AssertionError("no supervisor")


def test_kill_takes_everything_down(run_name: str, launch: Launch) -> None:
    process = launch(run_name, CLUSTER)
    assert line(process) == "standing"
    traces = Traces.of(sandbox.find_run(run_name))
    assert sandbox.kill(run_name)
    assert not traces.left()
    assert process.wait() == 137
    assert not (RUNS / run_name).exists()
    assert not sandbox.kill(run_name)


def test_a_detached_sandbox_outlives_its_launcher(run_name: str) -> None:
    detach = LAUNCH.replace("sys.argv[1])", "sys.argv[1], detach=True)")
    command = [sys.executable, "-c", detach, run_name, "sh", "-c", "echo up; sleep 99"]
    subprocess.run(command, cwd=ROOT, check=True)
    log = RUNS / run_name / "log"
    eventually("it speaks", lambda: log.read_text() == "up\n")
    assert run_name in {run.name for run in sandbox.list_runs()}
    assert sandbox.kill(run_name)


def test_a_second_run_of_one_name_is_refused(run_name: str, launch: Launch) -> None:
    process = launch(run_name, ["sh", "-c", "echo up; exec sleep 100"])
    assert line(process) == "up"
    with pytest.raises(sandbox.AlreadyRunning, match="already running"):
        sandbox.enter(["true"], run_name)
    assert sandbox.is_alive(run_name)


def test_of_many_starts_with_one_name_one_succeeds(
    run_name: str, launch: Launch
) -> None:
    with registry_lock():  # they all wait here
        command = ["sh", "-c", "echo mine; exec sleep 100"]
        starts = [launch(run_name, command, stderr=subprocess.PIPE) for _ in range(4)]
    losers = eventually(
        "all but one have ended",
        lambda: (
            ended
            if len(ended := [each for each in starts if each.poll() is not None]) == 3
            else []
        ),
    )
    for loser in losers:
        assert loser.stderr
        assert "already running" in loser.stderr.read()
        loser.stderr.close()
    (winner,) = set(starts) - set(losers)
    assert line(winner) == "mine"


def test_a_run_with_a_reused_pid_is_dead(run_name: str) -> None:
    """The record has the pid of a live process, but another start time."""
    pid = os.getpid()
    run = sandbox.Run.started(run_name, pid, pid)
    other = type(run.init)(pid, run.init.start_time - 1)
    with registry_lock():
        run.directory.mkdir()
        sandbox.Run(run_name, other, other, run.started_s).register()
    assert not sandbox.is_alive(run_name)
    assert run_name in sandbox.remove_dead_runs()


def test_a_command_on_a_host(run_name: str, launch: Launch, tmp_path: Path) -> None:
    """Streams, exit status and directory pass through; the network is the host's."""
    assert line(launch(run_name, CLUSTER)) == "standing"
    script = "cat; pwd; ip -br -4 address show c1n1-eth0; exit 5"
    command = sandbox.host_command(run_name, "c1n1", ["sh", "-c", script])
    assert "10.2.1.1/8" in _run(command, tmp_path, "in\n", 5)
    missing = sandbox.host_command(run_name, "c1n1", ["no-such-command"])
    _run(missing, tmp_path, "", 127)
    with pytest.raises(sandbox.SandboxError, match="there are c1n1, h1"):
        sandbox.host_command(run_name, "c7n7", ["true"])


def _run(command: list[str], directory: Path, given: str, status: int) -> str:
    here = Path.cwd()
    os.chdir(directory)
    try:
        position = command.index(str(here))
        command = [*command[:position], str(directory), *command[position + 1 :]]
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, check=False
        )
    finally:
        os.chdir(here)
    assert done.returncode == status
    assert not given or done.stdout.startswith(f"{given}{directory}\n")
    return done.stdout


def test_a_command_on_a_host_dies_with_the_sandbox(
    run_name: str, launch: Launch
) -> None:
    assert line(launch(run_name, CLUSTER)) == "standing"
    script = ["sh", "-c", "echo here; exec sleep 1000"]
    command = sandbox.host_command(run_name, "h1", script)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert line(process) == "here"
    sandbox.kill(run_name)
    assert process.wait() == -signal.SIGKILL
    process.communicate()


def test_an_unknown_run(run_name: str) -> None:
    with pytest.raises(sandbox.NotRunning, match="is not running"):
        sandbox.host_command(run_name, "h1", ["true"])


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", "a.b", "x" * 33])
def test_an_invalid_name(name: str) -> None:
    with pytest.raises(sandbox.SandboxError, match="cannot name a run"):
        sandbox.enter(["true"], name)


@pytest.mark.sandboxed
def test_no_sandbox_in_a_sandbox(run_name: str) -> None:
    with pytest.raises(sandbox.SandboxError, match="inside the sandbox"):
        sandbox.enter(["true"], run_name)
