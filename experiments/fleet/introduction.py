"""Whether a scheduler is there and takes our keys, before Dask is asked to talk to it.

Dask tries again whatever the reason. In TLS 1.3 a client learns only by its first read that
its certificate was refused (RFC 8446, 4.4.2.4); a scheduler of Dask speaks first.
"""

from __future__ import annotations

import asyncio
import ssl

from experiments.fleet.addresses import Address
from experiments.fleet.fleet_errors import FleetError
from experiments.fleet.tls_keys import Keys

_ANSWER_S = 10.0


async def introduce(address: Address, keys: Keys) -> None:
    """Returns if the scheduler accepts us, and we accept it.

    Raises :class:`FleetError` if the keys do not fit, and ``OSError`` or
    ``asyncio.TimeoutError`` if nobody answers.
    """
    try:
        await asyncio.wait_for(_first_word(address, keys), _ANSWER_S)
    except ssl.SSLError as error:
        raise FleetError(
            f"{address} and this machine have different keys: copy the scheduler's "
            f"folder of keys to {keys.folder} ({error.reason or error})"
        ) from error


async def _first_word(address: Address, keys: Keys) -> None:
    context = ssl.create_default_context(cafile=str(keys.authority))
    context.check_hostname = False  # as Dask: the authority signs for one cluster only
    context.load_cert_chain(keys.certificate, keys.key)
    reader, writer = await asyncio.open_connection(
        address.host, address.port, ssl=context
    )
    try:
        if not await reader.read(1):
            raise ConnectionResetError("it closed the connection")
    finally:
        writer.transport.abort()
