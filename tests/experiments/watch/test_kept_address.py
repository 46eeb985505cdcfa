"""A page that is open finds its server again: the same port, the same token."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from experiments.watch.kept_address import listen


def test_the_next_server_of_a_name_has_the_same_address(tmp_path: Path) -> None:
    first, token = listen("lab", 0, tmp_path / "kept")
    port = first.getsockname()[1]
    first.close()
    again, same = listen("lab", 0, tmp_path / "kept")
    assert (again.getsockname()[1], same) == (port, token)
    again.close()
    other, another = listen("other", 0, tmp_path / "kept")
    assert another != token and len(token) == 32
    other.close()


def test_a_second_server_takes_nothing_from_the_first(tmp_path: Path) -> None:
    first, token = listen("lab", 0, tmp_path)
    port = first.getsockname()[1]
    second, its_own = listen("lab", 0, tmp_path)
    assert second.getsockname()[1] != port and its_own != token
    first.close()
    second.close()
    again, same = listen("lab", 0, tmp_path)
    assert (again.getsockname()[1], same) == (port, token)
    again.close()


def test_a_port_that_is_asked_for_is_had_or_refused(tmp_path: Path) -> None:
    first, token = listen("lab", 0, tmp_path)
    port = first.getsockname()[1]
    with pytest.raises(OSError):
        listen("lab", port, tmp_path)
    first.close()
    asked, same = listen("lab", port, tmp_path)
    assert (asked.getsockname()[1], same) == (port, token)
    asked.close()


def test_only_root_can_read_it(tmp_path: Path) -> None:
    listen("lab", 0, tmp_path / "kept")[0].close()
    modes = [tmp_path / "kept", tmp_path / "kept" / "lab.json"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in modes] == [0o700, 0o600]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"port": "x"}', '{"port": 1}'])
def test_what_cannot_be_read_is_made_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "lab.json").write_text(text)
    first, token = listen("lab", 0, tmp_path)
    first.close()
    assert len(token) == 32
    again, same = listen("lab", 0, tmp_path)
    again.close()
    assert same == token
