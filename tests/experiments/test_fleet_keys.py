"""Addresses, and keys without which only this machine is accepted."""

from __future__ import annotations

import json
import ssl
import stat
import time
from pathlib import Path

import pytest

from experiments.fleet import tls_keys
from experiments.fleet.addresses import Address, find_address, parse_address
from experiments.fleet.fleet_errors import AddressError, FleetError
from experiments.fleet.tls_keys import Keys, find_keys, make_keys

HERE, THERE = Address("127.0.0.1", 8786), Address("192.0.2.1", 8786)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Keys of a cluster."""
    pytest.importorskip("cryptography")
    return make_keys(tmp_path_factory.mktemp("keys") / "keys")


@pytest.fixture(autouse=True)
def no_keys_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own are neither used nor made."""
    monkeypatch.setattr(tls_keys, "DEFAULT_FOLDER", tmp_path / "etc")
    monkeypatch.setattr(tls_keys, "LOOPBACK_FOLDER", tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://10.0.0.1:8786", "tls://10.0.0.1:8786"),
        ("tls://host:1", "tls://host:1"),
        ("host", "tls://host:8786"),
        ("host:99", "tls://host:99"),
        ("tcp://[fd00::1]:8786", "tls://[fd00::1]:8786"),
        ("[::1]", "tls://[::1]:8786"),
    ],
)
def test_addresses_as_people_write_them(text: str, address: str) -> None:
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tcp://",
        "://host",
        "ucx://host:1",
        "host:port",
        "host:99999",
        "a@host",
        "h/x",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_address(text)


def test_a_scheduler_file_has_the_address(tmp_path: Path) -> None:
    path = tmp_path / "scheduler.json"
    path.write_text(json.dumps({"address": "tls://10.0.0.1:8786"}))
    assert find_address(str(path)) == Address("10.0.0.1", 8786)
    path.write_text("{}")
    with pytest.raises(AddressError, match="no scheduler file"):
        find_address(str(path))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("192.0.2.1", False),
        ("no-such-host.invalid", False),
    ],
)
def test_loopback_is_told_apart(host: str, loopback: bool) -> None:
    assert Address(host, 8786).is_loopback == loopback


@pytest.mark.parametrize("address", [THERE, Address("0.0.0.0", 8786)])
def test_without_keys_other_machines_are_refused(address: Address) -> None:
    with pytest.raises(FleetError, match=r"\./resetbed cluster-keys"):
        find_keys(address, None)


def test_without_keys_this_machine_has_some_of_its_own() -> None:
    pytest.importorskip("cryptography")
    own = find_keys(HERE, None)
    assert own.folder == tls_keys.LOOPBACK_FOLDER
    own.check()
    assert find_keys(HERE, None).key.read_bytes() == own.key.read_bytes()
    assert stat.S_IMODE(own.folder.stat().st_mode) == 0o700


def test_a_folder_without_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="no keys there"):
        find_keys(HERE, tmp_path)


def test_keys_are_for_nobody_else_and_never_replaced(keys: Keys) -> None:
    assert stat.S_IMODE(keys.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(keys.key.stat().st_mode) == 0o600
    assert {path.name for path in keys.folder.iterdir()} == {
        "ca.pem",
        "cluster.pem",
        "cluster-key.pem",
    }, "the authority's own key is not kept"
    with pytest.raises(FleetError, match="not empty"):
        make_keys(keys.folder)


def test_keys_that_others_can_read_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    keys = make_keys(tmp_path / "keys")
    keys.key.chmod(0o640)
    with pytest.raises(FleetError, match="chmod 600"):
        keys.check()


def test_keys_of_two_clusters_do_not_mix(keys: Keys, tmp_path: Path) -> None:
    other = make_keys(tmp_path / "other")
    (tmp_path / "mixed").mkdir()
    mixed = Keys(tmp_path / "mixed")
    mixed.authority.write_bytes(keys.authority.read_bytes())
    mixed.certificate.write_bytes(keys.certificate.read_bytes())
    mixed.key.write_bytes(other.key.read_bytes())
    mixed.key.chmod(0o600)
    with pytest.raises(FleetError, match="no keys"):
        mixed.check()


def test_keys_that_have_ended_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography")
    keys = make_keys(tmp_path / "keys")
    keys.check()
    later = time.time() + (tls_keys.VALID_DAYS + 1) * 86_400
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(FleetError, match="ended on"):
        keys.check()


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """A handshake in memory. Raises :class:`ssl.SSLError`."""
    buffers = [ssl.MemoryBIO() for _ in range(4)]
    one = server.wrap_bio(buffers[0], buffers[1], server_side=True)
    other = client.wrap_bio(buffers[2], buffers[3])
    for _ in range(5):
        for end, incoming, peers in ((other, buffers[2], 1), (one, buffers[0], 3)):
            if data := buffers[peers].read():
                incoming.write(data)
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
    assert one.version() == other.version() == "TLSv1.3"


def _contexts(keys: Keys) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's, as strict as Python 3.13 makes them (RFC 5280)."""
    contexts = []
    for purpose in (ssl.Purpose.CLIENT_AUTH, ssl.Purpose.SERVER_AUTH):
        context = ssl.create_default_context(purpose, cafile=str(keys.authority))
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_cert_chain(keys.certificate, keys.key)
        contexts.append(context)
    return contexts[0], contexts[1]


def test_both_sides_know_each_other_and_nobody_else(keys: Keys, tmp_path: Path) -> None:
    server, client = _contexts(keys)
    _shake_hands(server, client)
    _, stranger = _contexts(make_keys(tmp_path / "other"))
    with pytest.raises(ssl.SSLError):
        _shake_hands(server, stranger)
    nobody = ssl.create_default_context(cafile=str(keys.authority))
    nobody.check_hostname = False
    with pytest.raises(ssl.SSLError):
        _shake_hands(server, nobody)
