"""The files that a guest gets: those of the checkout, as they are now."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.kernel.files import archive, files_of
from tests.needed_programs import need_program


@pytest.fixture(params=["with git", "without"])
def checkout(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """One file that is tracked, one that is not, two ignored, an executable and a link."""
    (tmp_path / ".gitignore").write_text("results/\n*.egg-info/\n")
    for name in ("tracked", "sub/new", "results/old", "x.egg-info/it", "sub/run"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "sub/run").chmod(0o755)
    (tmp_path / "link").symlink_to("tracked")
    if request.param == "with git":
        need_program("git")
        for words in (("init", "-q"), ("add", "tracked")):
            subprocess.run(("git", "-C", str(tmp_path), *words), check=True)
    return tmp_path


def test_files_that_git_ignores_are_not_copied(checkout: Path) -> None:
    found = set(files_of(checkout))
    assert found == {".gitignore", "tracked", "sub/new", "sub/run", "link"}


def test_files_are_copied_unchanged_and_deleted_ones_are_not(checkout: Path) -> None:
    (checkout / "tracked").unlink()
    (checkout / "sub/new").write_text("changed")
    file = io.BytesIO()
    archive(checkout, file, **{".command": "ls"})
    file.seek(0)
    target = checkout / "results"
    shutil.rmtree(target)
    with tarfile.open(fileobj=file) as tar:
        tar.extractall(target)
    names = {str(path.relative_to(target)) for path in target.rglob("*")}
    expected = {".gitignore", "sub", "sub/new", "sub/run", "link", ".command"}
    assert names == expected
    assert (target / "sub/new").read_text() == "changed"
    assert (target / ".command").read_text() == "ls"
    assert (target / "sub/run").stat().st_mode & 0o111
    assert (target / "link").is_symlink()
