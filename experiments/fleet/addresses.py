"""Addresses of schedulers, as people write them."""

from __future__ import annotations

import ipaddress
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from experiments.fleet.fleet_errors import AddressError

#: Dask's port for schedulers.
DEFAULT_PORT = 8786
#: ``tcp`` is what people know; it is TLS all the same.
_SCHEMES = ("", "tcp", "tls")


@dataclass(frozen=True)
class Address:
    """A host and a port. Printed as Dask's address of a TLS endpoint."""

    host: str
    port: int

    def __str__(self) -> str:
        """E.g. ``tls://192.0.2.1:8786`` or ``tls://[::1]:8786``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tls://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether every address of the host is this machine's own (RFC 1122, 3.2.1.3)."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError:
            return False
        hosts = {str(each[4][0]).partition("%")[0] for each in found}
        return bool(hosts) and all(ipaddress.ip_address(h).is_loopback for h in hosts)


def parse_address(text: str) -> Address:
    """``tcp://HOST:PORT``, ``HOST:PORT`` or ``HOST``. Raises :class:`AddressError`."""
    scheme, found, rest = text.rpartition("://")
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressError(f"{text!r}: {error}") from error
    plain = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
    if scheme not in _SCHEMES or (found and not scheme) or not host or not plain:
        raise AddressError(f"{text!r}: expected tcp://HOST:PORT")
    return Address(host, DEFAULT_PORT if port is None else port)


def find_address(text: str) -> Address:
    """The address in a scheduler file, if ``text`` is one, otherwise that address.

    A scheduler file is JSON with the key ``address``, as Dask writes it.
    """
    path = Path(text)
    if not path.is_file():
        return parse_address(text)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["address"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AddressError(f"{path}: no scheduler file: {error!r}") from error
    return parse_address(str(found))
