"""A full disk: each program that writes names the file, and nothing else."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.commands.cli import main
from experiments.files.disk_full import DiskFullError, disk_full_named
from experiments.files.whole_file import write_whole
from experiments.instruments.instruments import Instrument, InstrumentError
from experiments.running import sandbox_job
from experiments.spec.run_spec import RunSpec
from tests.system.commands import DEADLINE_S, ROOT

REMEDY = "Free space on its disk, or choose a folder on another disk with --out"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_with_the_remedy(number: int) -> None:
    with pytest.raises(DiskFullError) as raised, disk_full_named("a/file"):
        raise OSError(number, "full")
    assert str(raised.value).startswith("cannot write a/file: ")
    assert str(raised.value).endswith(REMEDY)


def test_a_file_that_does_not_fit_leaves_the_old_one_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    write_whole(tmp_path / "a", "old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="full"):
        write_whole(tmp_path / "a", "new")
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {"a": "old"}


def test_a_computation_on_a_full_disk_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _content: str) -> Path:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("experiments.model.model_run.write_whole", full)
    folder = str(tmp_path / "out")
    done = CliRunner().invoke(main, ["model", "drain-node", "--out", folder])
    assert done.exit_code == 1
    assert f"cannot write {folder}" in done.output
    assert REMEDY in done.output


def test_other_errors_pass_through() -> None:
    with pytest.raises(PermissionError), disk_full_named("a/file"):
        raise PermissionError(errno.EACCES, "not yours")
    with pytest.raises(ValueError, match="of the program"), disk_full_named("a/file"):
        raise ValueError("of the program")


def capture_on_a_full_disk(folder: Path) -> Instrument:
    """A capture without interfaces whose file is /dev/full (full(4)): no write succeeds."""
    output = folder / "capture.pcapng"
    output.symlink_to("/dev/full")
    config = folder / "capture.json"
    config.write_text(json.dumps({"output": str(output)}))
    return Instrument("capture", ["--config", str(config)], folder / "log")


def test_a_capture_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    capture = capture_on_a_full_disk(tmp_path)
    with pytest.raises(InstrumentError) as raised:
        capture.finish()
    capture.kill()
    assert str(raised.value) == (
        f"capture: cannot write {tmp_path / 'capture.pcapng'}: "
        f"No space left on device. {REMEDY}"
    )
    assert (tmp_path / "log").read_text() == ""


def test_a_request_to_an_instrument_that_has_ended_tells_why_it_ended(
    tmp_path: Path,
) -> None:
    """As when a node is added after the disk is full."""
    capture = capture_on_a_full_disk(tmp_path)
    capture._process.terminate()
    capture._process.wait()
    with pytest.raises(InstrumentError, match=r"^capture: cannot write .*\.pcapng: "):
        capture.request({"add": {}}, "added")
    capture.kill()


def test_a_run_whose_folder_is_full_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def experiment(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(sandbox_job, "run_experiment", experiment)
    monkeypatch.setattr(sandbox_job, "runtime", lambda: tmp_path)
    monkeypatch.setattr("os.umask", lambda _: 0)  # a job sets that of its process
    spec = RunSpec(seed=5).model_dump(mode="json")
    job = {"job": "run", "spec": spec, "out": str(tmp_path)}
    assert sandbox_job.main(json.dumps(job)) == 1
    assert capsys.readouterr().err == (
        f"resetbed: cannot write {tmp_path}: No space left on device. {REMEDY}\n"
    )


@pytest.mark.live
def test_a_run_that_fills_its_disk_names_the_capture(tmp_path: Path) -> None:
    """A real one: its disk has room for all but the captured frames."""
    folder = tmp_path / "run"
    run = [sys.executable, "-m", "experiments", "run", "drain-node"]
    small = 'mount -t tmpfs -o size=300k tmpfs "$0" && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", small, str(tmp_path)]
        + [*run, "--out", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"resetbed: capture: cannot write {folder / 'capture.pcapng'}: "
        f"No space left on device. {REMEDY}"
    )
