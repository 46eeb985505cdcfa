"""Numbers that look random and are the same everywhere: what the balancers draw from."""

from __future__ import annotations

from hashlib import blake2b

#: :func:`hash64` is below this.
HASH_VALUES = 1 << 64


def hash64(*key: int | str) -> int:
    """64 bits that look random, the same on every machine and in every run.

    >>> hex(hash64(0, "c1n1"))
    '0xcaa23b5ae6ad2ab5'
    """
    text = "/".join(str(part) for part in key)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
