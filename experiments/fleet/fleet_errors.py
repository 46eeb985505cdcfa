"""Errors of many machines at work."""

from __future__ import annotations


class FleetError(RuntimeError):
    """The machines cannot be used as asked. The text has the reason and the remedy."""


class AddressError(ValueError):
    """An address cannot be read."""
