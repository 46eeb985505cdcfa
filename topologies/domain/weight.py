"""Numbers that look random and are the same everywhere: what the balancers draw from."""

from __future__ import annotations

from hashlib import blake2b

#: :func:`weight` is below this.
WEIGHTS = 1 << 64


def weight(*key: int | str) -> int:
    """64 bits that look random, the same on every machine and in every run.

    >>> hex(weight(0, "c1n1"))
    '0xcaa23b5ae6ad2ab5'
    """
    text = "/".join(str(part) for part in key)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
