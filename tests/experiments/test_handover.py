"""What is handed over to the user who called sudo: what the run made, and nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.files import handover
from experiments.files.handover import chown_to_caller, make_folders
from experiments.files.whole_file import write_whole
from experiments.report.report import NothingToReport, write_report
from experiments.running.launch import make_folder
from experiments.spec.run_spec import RunSpec
from tests.experiments.run_folders import moved, write_run

pytestmark = [pytest.mark.live]  # only root can give

CALLER = 54321
LONG_AGO = time.time() - 3600


@pytest.fixture(autouse=True)
def _called_by_sudo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SUDO_UID", str(CALLER))
    monkeypatch.setenv("SUDO_GID", str(CALLER))
    umask = os.umask(0o022)
    yield
    os.umask(umask)


def owner(path: Path) -> int:
    return path.lstat().st_uid


def test_an_existing_folder_keeps_its_owner(tmp_path: Path) -> None:
    """``--out /tmp/r1`` must not give ``/tmp`` away."""
    folder = make_folder(RunSpec(), tmp_path / "r1")
    (folder / "summary.json").write_text("{}")
    chown_to_caller(folder)
    assert owner(folder) == owner(folder / "summary.json") == CALLER
    assert owner(tmp_path) == owner(tmp_path.parent) == 0


def test_new_parent_folders_are_given_to_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = make_folder(RunSpec(), None)
    (first / "hosts").mkdir()
    (first / "hosts" / "h1.log").touch()
    chown_to_caller(first)
    assert owner(tmp_path / "results") == owner(first) == CALLER
    assert owner(first / "hosts") == owner(first / "hosts" / "h1.log") == CALLER
    assert owner(tmp_path) == 0
    monkeypatch.setattr(handover, "_made", set())  # another process
    os.chown(tmp_path / "results", 0, 0)
    second = make_folders(tmp_path / "results" / "second")
    chown_to_caller(second)
    assert owner(second) == CALLER
    assert owner(tmp_path / "results") == 0


def test_an_empty_folder_of_root_keeps_its_owner_and_its_new_files_are_given(
    tmp_path: Path,
) -> None:
    (tmp_path / "out").mkdir()
    folder = make_folder(RunSpec(), tmp_path / "out")
    (folder / "flows").mkdir()
    chown_to_caller(folder)
    assert owner(folder) == 0
    assert owner(folder / "flows") == CALLER


def test_files_of_others_among_the_results_keep_their_owner(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret").touch()
    folder = make_folders(tmp_path / "out")
    (folder / "link").symlink_to(elsewhere)
    (folder / "file-link").symlink_to(elsewhere / "secret")
    (folder / "hard").hardlink_to(elsewhere / "secret")
    (folder / "of-another").touch()
    os.chown(folder / "of-another", 1234, 1234)
    (folder / "old").touch()
    os.utime(folder / "old", (LONG_AGO, LONG_AGO))
    os.mkfifo(folder / "fifo")
    chown_to_caller(folder)
    assert owner(elsewhere) == owner(elsewhere / "secret") == 0
    assert owner(folder / "hard") == owner(folder / "old") == 0
    assert owner(folder / "link") == owner(folder / "file-link") == 0
    assert owner(folder / "of-another") == 1234


def test_a_name_that_becomes_a_link_meanwhile_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who may write there replaces a name between the check and the change."""
    secret, folder = tmp_path / "secret", make_folders(tmp_path / "out")
    secret.touch()
    (folder / "log").touch()
    (folder / "flows").mkdir()
    looked = os.fstat

    def swap(descriptor: int) -> os.stat_result:
        status = looked(descriptor)
        for name, kind in (("log", folder / "log"), ("flows", folder / "flows")):
            if not kind.is_symlink() and os.path.samestat(status, kind.lstat()):
                kind.rename(folder / f"{name}-was")
                kind.symlink_to(secret if name == "log" else tmp_path)
        return status

    monkeypatch.setattr(os, "fstat", swap)
    chown_to_caller(folder)
    assert (folder / "log").is_symlink()
    assert (folder / "flows").is_symlink()
    assert owner(secret) == owner(tmp_path) == 0


def test_without_sudo_no_owner_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_UID")
    folder = make_folders(tmp_path / "out")
    chown_to_caller(folder)
    assert owner(folder) == 0


def test_a_new_file_replaces_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("as it was")
    (tmp_path / "page").symlink_to(tmp_path / "victim")
    write_whole(tmp_path / "page", b"new")
    assert (tmp_path / "victim").read_text() == "as it was"
    assert (tmp_path / "page").read_text() == "new"


def test_a_report_changes_only_its_own_owner_and_follows_no_link(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    write_run(folder, "flood", [moved(40001, reset=True, freed_ms=2.0)])
    (tmp_path / "victim").write_text("as it was")
    (folder / "old").touch()  # the very moment before
    (folder / "report.html").symlink_to(tmp_path / "victim")
    page = write_report(folder)
    assert owner(page) == owner(folder / "figures") == CALLER
    assert {owner(path) for path in (folder / "figures").iterdir()} == {CALLER}
    assert owner(folder) == owner(folder / "old") == 0
    assert (tmp_path / "victim").read_text() == "as it was"


def test_a_report_is_not_written_through_a_link(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "flood", [moved(40001, reset=True, freed_ms=2.0)])
    (tmp_path / "run" / "figures").symlink_to(tmp_path)
    with pytest.raises(NothingToReport, match="figures is a link"):
        write_report(tmp_path / "run")
