"""Images: found by what they are made from, and never half."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel import images
from tests.kernel.errors import Lacking
from tests.topologies.traces import all_pids
from tests.topologies.waiting import eventually


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The launcher and its lists, to be changed."""
    for name in ("resetbed", "setup.cfg"):
        shutil.copy(images.CHECKOUT / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "old", "new", "same"),
    [
        ("setup.cfg", "    nbdkit\n", "    nbdkit\n    another\n", False),
        ("setup.cfg", "    hypothesis>=6.90", "    hypothesis>=6.91", False),
        ("setup.cfg", "    chromium", "    firefox-esr", False),
        ("setup.cfg", "    pgbouncer", "    odyssey", False),
        ("setup.cfg", "version = 0.1.0", "version = 0.2.0", True),
        ("resetbed", "--system-site-packages", "--without-pip", False),
        ("resetbed", "# The command of", "# A command of", True),
    ],
)
def test_the_stamp_depends_only_on_packages_and_how_setup_installs_them(
    checkout: Path, name: str, old: str, new: str, same: bool
) -> None:
    before = images.stamp("debian-12", checkout)
    text = (checkout / name).read_text()
    assert old in text
    (checkout / name).write_text(text.replace(old, new))
    assert (images.stamp("debian-12", checkout) == before) is same


def test_each_kernel_has_its_own() -> None:
    stamps = {images.stamp(name) for name in images.RELEASES}
    assert len(stamps) == len(images.RELEASES)


def builder(monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], None]) -> list[str]:
    """Builds are ``act``; the names of those so far."""
    built = []

    def build(name: str, partial: Path, say: Callable[[str], None]) -> None:
        built.append(name)
        act(partial)

    monkeypatch.setattr(images, "_run_builder", build)
    monkeypatch.setattr(images, "NEEDED_OCTETS", 0)
    return built


def test_it_is_built_once_and_another_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = builder(monkeypatch, lambda partial: (partial / "disk").touch())
    for _ in range(2):
        with images.image("debian-12", tmp_path, print) as first:
            assert [path.name for path in first.iterdir()] == ["disk"]
    assert built == ["debian-12"]
    monkeypatch.setattr(images, "stamp", lambda name: "other")
    with images.image("debian-12", tmp_path, print) as second:
        assert second != first
    assert not first.exists()


def test_an_image_in_use_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder(monkeypatch, lambda partial: (partial / "disk").touch())
    with images.image("debian-12", tmp_path, print) as first:
        monkeypatch.setattr(images, "stamp", lambda name: "other")
        with images.image("debian-12", tmp_path, print):
            assert (first / "disk").exists()


def test_a_build_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(partial: Path) -> None:
        (partial / "disk").touch()
        raise Lacking("no mirror")

    builder(monkeypatch, fail)
    with (
        pytest.raises(Lacking, match="no mirror"),
        images.image("debian-12", tmp_path, print),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["debian-12.lock"]


def test_a_killed_build_is_never_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tests.kernel import images\n"
        "def build(name, partial, say):\n"
        "    (partial / 'disk').touch()\n"
        "    time.sleep(600)\n"
        "images._run_builder = build; images.NEEDED_OCTETS = 0\n"
        f"with images.image('debian-12', Path({str(tmp_path)!r}), print): pass\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=images.CHECKOUT) as first:
        eventually("half built", lambda: [*tmp_path.glob(".*/disk")])
        os.kill(first.pid, signal.SIGKILL)
    assert [*tmp_path.glob(".*/disk")]
    built = builder(monkeypatch, lambda partial: (partial / "kernel").touch())
    with images.image("debian-12", tmp_path, print) as whole:
        assert [path.name for path in whole.iterdir()] == ["kernel"]
    assert built == ["debian-12"]
    assert not [*tmp_path.glob(".*")]


def test_a_disk_that_is_too_small_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "NEEDED_OCTETS", 10**18)
    with (
        pytest.raises(Lacking, match="GB free"),
        images.image("debian-12", tmp_path, print),
    ):
        pass


@pytest.mark.live
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_build_ends_with_its_caller(number: signal.Signals, tmp_path: Path) -> None:
    """With all its processes, which see neither ours nor a mount of ours change."""
    (tmp_path / "build").write_text("echo begun; sleep 600\n")
    code = (
        "import sys; from pathlib import Path; from tests.kernel import images\n"
        "import tests.kernel.__main__, signal\n"
        "signal.signal(signal.SIGTERM, tests.kernel.__main__.end)\n"
        f"images._HERE = Path({str(tmp_path)!r})\n"
        "images.stamp, images.NEEDED_OCTETS = (lambda name: 'x'), 0\n"
        f"with images.image('debian-12', Path({str(tmp_path)!r}), print): pass\n"
    )
    command = [sys.executable, "-uc", code]
    with subprocess.Popen(
        command, cwd=images.CHECKOUT, stdout=subprocess.PIPE, text=True
    ) as caller:
        assert caller.stdout
        assert any("begun" in line for line in caller.stdout)
        marks = f"{tmp_path}/build".encode()
        inside = [pid for pid in all_pids() if marks in command_line(pid)]
        assert len(inside) >= 2
        os.kill(caller.pid, number)
    eventually("ended", lambda: not [p for p in inside if marks in command_line(p)])


def command_line(pid: int) -> bytes:
    """A process's words; of a zombie, or one that has gone, none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
