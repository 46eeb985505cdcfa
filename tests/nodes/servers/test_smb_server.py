"""What Samba is told: nothing of the host's, and Samba's defaults where they matter."""

from __future__ import annotations

import configparser
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest
from impacket.ntlm import compute_nthash

from nodes.servers.server_settings import ServerSettings
from nodes.servers.smb_server import (
    PASSWORD,
    SHARE,
    SMB_PORT,
    USER,
    create_clustered_share,
    create_share,
    shared_folder,
    smbd_argv,
    status_configuration,
)

Settings = configparser.ConfigParser


def _read(path: Path) -> Settings:
    parsed = configparser.ConfigParser(interpolation=None, comment_prefixes="#")
    parsed.read(path)
    return parsed


@pytest.fixture
def apart(tmp_path: Path) -> Settings:
    store = tmp_path / "apart"
    create_share(store)
    return _read(store / "smb" / "smb.conf")


@pytest.fixture
def together(tmp_path: Path) -> Settings:
    create_clustered_share(tmp_path)
    return _read(tmp_path / "smb" / "smb.conf")


def _folders(settings: Settings) -> dict[str, str]:
    """The value of each setting that names a folder of Samba's own."""
    values = settings["global"].items()
    return {key: value for key, value in values if key.endswith((" dir", " directory"))}


def test_every_folder_is_the_nodes_own_or_the_runs(
    apart: Settings, tmp_path: Path
) -> None:
    folders = _folders(apart)
    assert set(folders) == {
        *("private dir", "lock directory", "state directory", "cache directory"),
        *("pid directory", "ncalrpc dir"),
    }
    assert all(value.startswith("@own@/") for value in folders.values())
    assert apart[SHARE]["path"] == str(shared_folder(tmp_path / "apart"))
    passwords = apart["global"]["passdb backend"].partition(":")[2]
    assert Path(passwords).is_relative_to(tmp_path)


def test_nodes_that_are_together_share_all_but_their_own_sockets_and_ids(
    together: Settings, tmp_path: Path
) -> None:
    folders = _folders(together)
    own = {key for key, value in folders.items() if value.startswith("@own@/")}
    assert own == {"pid directory", "ncalrpc dir"}
    shared = [Path(value) for key, value in folders.items() if key not in own]
    assert all(path.is_relative_to(tmp_path) for path in shared)
    assert Path(together["global"]["private dir"]).is_dir()
    status = _read(status_configuration(tmp_path))
    assert "@own@" not in status_configuration(tmp_path).read_text()
    assert status["global"]["lock directory"] == together["global"]["lock directory"]


def test_how_a_dead_client_is_found_is_left_to_sambas_defaults(
    apart: Settings, together: Settings
) -> None:
    for section in (*apart.values(), *together.values()):
        assert not {"deadtime", "keepalive", "socket options"} & section.keys()


@pytest.mark.parametrize("create", [create_share, create_clustered_share])
def test_a_user_timeout_is_told_to_samba_in_milliseconds(
    create: Callable[[Path, ServerSettings], None], tmp_path: Path
) -> None:
    create(tmp_path, ServerSettings(user_timeout_s=2.5, keepalive_s=60))
    options = _read(tmp_path / "smb" / "smb.conf")["global"]["socket options"]
    assert options == "TCP_NODELAY TCP_USER_TIMEOUT=2500"


def test_apart_a_lock_is_the_kernels_and_a_handle_ends_with_its_connection(
    apart: Settings,
) -> None:
    share = apart[SHARE]
    assert share["posix locking"] == share["smbd force process locks"] == "yes"
    assert share["oplocks"] == share["durable handles"] == "no"
    assert apart["global"]["smb ports"] == str(SMB_PORT)


def test_together_all_is_met_that_durable_handles_want(together: Settings) -> None:
    """smb.conf(5), ``durable handles``."""
    share = together[SHARE]
    assert share["oplocks"] == share["durable handles"] == "yes"
    for key in ("posix locking", "kernel oplocks", "kernel share modes"):
        assert share[key] == "no"


def test_the_password_is_that_of_a_user_whom_every_debian_has(tmp_path: Path) -> None:
    create_share(tmp_path)
    name, uid, lm_hash, nt_hash, flags, changed = (
        (tmp_path / "smb" / "smbpasswd").read_text().strip().split(":")[:6]
    )
    assert (name, int(uid)) == (USER, pwd.getpwnam(USER).pw_uid)
    assert bytes.fromhex(nt_hash) == compute_nthash(PASSWORD)
    assert lm_hash == 32 * "X"
    assert (flags, changed) == ("[U          ]", "LCT-60000000")
    assert shared_folder(tmp_path).stat().st_uid == int(uid)


def test_the_shell_makes_the_nodes_folder_and_becomes_smbd(tmp_path: Path) -> None:
    shell, option, script, path = smbd_argv(tmp_path)
    assert (shell, option) == ("sh", "-c")
    assert Path(path) == tmp_path / "smb" / "smb.conf"
    *_, last = script.split("&&")
    assert last.strip().startswith("exec smbd --foreground --no-process-group ")
