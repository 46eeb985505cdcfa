"""The error for a missing requirement."""

from __future__ import annotations


class RequirementMissing(RuntimeError):
    """A requirement is missing on this machine. The text has the reason and the remedy."""
