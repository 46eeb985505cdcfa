"""A process runs until its last thread has ended."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

from tests.system.commands import eventually
from topologies.processes import Process

#: __NR_exit: ends only the calling thread.
EXIT = {"x86_64": 60, "aarch64": 93}[platform.machine()]
LEADERLESS = f"""
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).syscall({EXIT}, 0)
"""


def test_a_process_runs_until_its_last_thread_has_ended() -> None:
    """Like a killed ovs-vswitchd, which holds its locks a little longer."""
    with subprocess.Popen([sys.executable, "-c", LEADERLESS]) as child:
        process, stat = Process.of(child.pid), Path(f"/proc/{child.pid}/stat")
        try:
            eventually("leader ended", lambda: " Z " in stat.read_text())
            assert process.alive()
        finally:
            child.kill()
        assert process.wait(10)
        assert not process.alive()


def test_a_process_is_not_another_one_with_its_pid() -> None:
    with subprocess.Popen(["true"]) as child:
        process = Process.of(child.pid)
        assert process.wait(10)
        assert not process.alive()
    assert not Process(process.pid, process.start_time + 1).alive()
