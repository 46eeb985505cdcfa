"""A call from power on to power off, with a QEMU of our own that plays every guest."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel import guest
from tests.kernel.errors import Lacking, TooLong
from tests.topologies.waiting import eventually

#: What the guests do, by how their instructions are run: kvm or tcg.
FAKE = """#!{python}
import os, re, sys, time
words = " ".join(sys.argv)
kind = re.search(r"-accel (\\w+)", words)[1]
line = {{name: open(path, "ab", 0) for name, path in
        re.findall(r"file,id=(\\w+),path=([^, ]+)", words)}}
with open({folder!r} + "/started", "a") as file:
    print(kind, os.getpid(), file=file)
what = open({folder!r} + "/" + kind).read().split()
for word in what:
    if word == "panic":
        line["console"].write(b"Kernel panic\\r\\n")
        sys.exit(1)
    elif word == "hang":
        time.sleep(600)
    elif word == "up":
        line["told"].write(b"up\\n")
    elif word.startswith("status"):
        line["told"].write(word.replace("-", " ").encode() + b"\\n")
    else:
        line["output"].write(word.encode())
"""


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An image's folder, with KVM there, and a QEMU that reads there what to play."""
    for name in ("disk", "kernel", "initramfs", "started", "kvm", "tcg"):
        (tmp_path / name).touch()
    (tmp_path / "version").write_text("6.1\n")
    qemu = tmp_path / "bin" / "qemu-system-x86_64"
    qemu.parent.mkdir()
    qemu.write_text(FAKE.format(python=sys.executable, folder=str(tmp_path)))
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{qemu.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(guest, "_KVM", tmp_path / "kvm")
    monkeypatch.setattr(guest, "BOOT_S", {"kvm": 2.0, "tcg": 60.0})
    yield tmp_path
    for _, pid in started(tmp_path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def started(image: Path) -> list[tuple[str, int]]:
    """The guests so far: how their instructions were run, and QEMU's process."""
    lines = (image / "started").read_text().splitlines()
    return [(line.split()[0], int(line.split()[1])) for line in lines]


def run(image: Path, timeout_s: float = 60.0) -> tuple[int, bytes, str]:
    """Status, output and messages of one call."""
    output, messages = bytearray(), list[str]()
    status = guest.run(image, "ls", timeout_s, output.extend, messages.append)
    return status, bytes(output), "\n".join(messages)


def play(image: Path, kvm: str = "", tcg: str = "") -> None:
    (image / "kvm").write_text(kvm)
    (image / "tcg").write_text(tcg)


def test_output_and_status_come_through(image: Path) -> None:
    play(image, kvm="up one two status-7")
    status, output, _ = run(image)
    assert (status, output) == (7, b"onetwo")
    assert [kind for kind, _ in started(image)] == ["kvm"]


@pytest.mark.parametrize("failure", ["panic", "hang", "", "noise hang"])
def test_where_kvm_does_not_work_the_guest_is_emulated(
    image: Path, failure: str
) -> None:
    """And the next call does not try again, as long as the kernel here is the same."""
    play(image, kvm=failure, tcg="up fine status-0")
    for tried in (["kvm", "tcg"], ["kvm", "tcg", "tcg"]):
        status, output, messages = run(image)
        assert (status, output) == (0, b"fine")
        assert [kind for kind, _ in started(image)] == tried
        assert "emulated" in messages
    (image / "kvm-does-not-work").write_text("another kernel\n")
    run(image)
    assert [kind for kind, _ in started(image)][3:] == ["kvm", "tcg"]


def test_without_kvm_it_is_not_tried(image: Path) -> None:
    play(image, tcg="up status-0")
    (image / "kvm").unlink()
    assert "no " in run(image)[2]
    assert [kind for kind, _ in started(image)] == ["tcg"]


def test_a_guest_that_does_not_boot_says_why(image: Path) -> None:
    play(image, kvm="panic", tcg="panic")
    with pytest.raises(Lacking, match="Kernel panic"):
        run(image)


def test_a_guest_that_dies_is_a_failure(image: Path) -> None:
    play(image, kvm="up half panic")
    with pytest.raises(Lacking, match="died(.|\n)*Kernel panic"):
        run(image)


def test_a_command_that_takes_too_long_is_ended(image: Path) -> None:
    play(image, kvm="up some hang")
    with pytest.raises(TooLong, match="1 s"):
        run(image, timeout_s=1)
    ((_, pid),) = started(image)
    assert not Path(f"/proc/{pid}").exists()


def test_the_guest_ends_when_its_caller_is_killed(image: Path) -> None:
    play(image, kvm="up hang")
    code = (
        "import sys; from pathlib import Path; from tests.kernel import guest;"
        f"guest._KVM = Path({str(image / 'kvm')!r});"
        f"guest.run(Path({str(image)!r}), 'ls', 60, print, print)"
    )
    root = Path(__file__).resolve().parents[2]
    caller = subprocess.Popen([sys.executable, "-c", code], cwd=root)
    with caller:
        ((_, pid),) = eventually("a guest", lambda: started(image))
        caller.kill()
    # Zombies, until their new parent has reaped them.
    eventually("ended", lambda: state(pid) in ("", "Z"))


def state(pid: int) -> str:
    """A process's state letter as in proc(5); "" for none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""
