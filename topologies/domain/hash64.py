"""A 64-bit hash of a key, the same on every machine; the balancers use it."""

from __future__ import annotations

from hashlib import blake2b

#: The number of values of :func:`hash64`.
HASH_VALUES = 1 << 64


def hash64(*key: int | str) -> int:
    """A 64-bit hash of the key, the same on every machine and in every run.

    >>> hex(hash64(0, "c1n1"))
    '0x43ab994474f32fa1'
    """
    text = "/".join(str(part) for part in key)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
