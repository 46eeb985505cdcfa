"""What a figure raises of results that no value follows from."""

from __future__ import annotations


class NotComputableError(ValueError):
    """No value follows from these results; the text says why, e.g. nothing was reset."""


def ratio(dividend: float, divisor: float, what: str) -> float:
    """The quotient. Raises :class:`NotComputableError` if the divisor is zero.

    ``what``: the divisor, for the message.
    """
    if not divisor:
        raise NotComputableError(f"{what} is zero")
    return dividend / divisor
