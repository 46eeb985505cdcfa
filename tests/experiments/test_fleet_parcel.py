"""Files travel whole, or it is noticed."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.fleet.parcel import NotWhole, pack, unpack

PARTS = st.text("ab.", min_size=1, max_size=4).filter(lambda part: part.strip("."))
TREES = st.dictionaries(
    st.lists(PARTS, min_size=1, max_size=3).map("/".join),
    st.binary(max_size=300),
    max_size=6,
).filter(
    lambda tree: not any(f"{one}/" in f"{other}" for one in tree for other in tree)
)


def make(folder: Path, tree: dict[str, bytes]) -> Path:
    """A folder with these files."""
    folder.mkdir(parents=True)
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def found(folder: Path) -> dict[str, bytes]:
    """The files of a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@given(TREES)
def test_a_folder_arrives_as_it_was(tree: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        archive, digests = pack(make(Path(scratch, "one"), tree))
        unpack(archive, digests, Path(scratch, "two"))
        assert found(Path(scratch, "two")) == tree


@settings(max_examples=300)
@given(TREES.filter(bool), st.floats(0, 1, exclude_max=True), st.integers(0, 255))
def test_no_damage_goes_unnoticed(
    tree: dict[str, bytes], where: float, mask: int
) -> None:
    """``mask``: which bits change there; 0: the archive is cut short."""
    with tempfile.TemporaryDirectory() as scratch:
        archive, digests = pack(make(Path(scratch, "one"), tree))
        at = int(where * len(archive))
        damaged = archive[:at]
        if mask:
            damaged += bytes([archive[at] ^ mask]) + archive[at + 1 :]
        try:
            unpack(damaged, digests, Path(scratch, "two"))
        except NotWhole:
            return
        # What changed was no file's: the name of the system that packed it, a time.
        assert found(Path(scratch, "two")) == tree


def test_a_file_more_or_less_is_noticed(tmp_path: Path) -> None:
    archive, digests = pack(make(tmp_path / "one", {"a": b"1", "b": b"2"}))
    with pytest.raises(NotWhole, match="missing: c"):
        unpack(archive, {**digests, "c": "00"}, tmp_path / "less")
    with pytest.raises(NotWhole, match="b is not what was packed"):
        unpack(archive, {"a": digests["a"]}, tmp_path / "more")


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x"])
def test_nothing_is_written_outside(tmp_path: Path, name: str) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(NotWhole, match="no file of the folder"):
        unpack(packed.getvalue(), {name: ""}, tmp_path / "in")
    assert found(tmp_path) == {}


def test_links_are_neither_packed_nor_unpacked(tmp_path: Path) -> None:
    folder = make(tmp_path / "one", {"a": b"1"})
    (folder / "link").symlink_to("/etc/passwd")
    archive, digests = pack(folder)
    assert set(digests) == {"a"}
    packed = io.BytesIO()
    entry = tarfile.TarInfo("link")
    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(fileobj=packed, mode="w:gz") as opened:
        opened.addfile(entry)
    with pytest.raises(NotWhole, match="no file of the folder"):
        unpack(packed.getvalue(), {}, tmp_path / "in")


def test_a_task_without_files_has_an_empty_folder(tmp_path: Path) -> None:
    archive, digests = pack(tmp_path / "nothing")
    unpack(archive, digests, tmp_path / "in")
    assert found(tmp_path / "in") == {}
