"""What is raised where the machine lacks what was asked for."""

from __future__ import annotations


class RequirementMissing(RuntimeError):
    """This machine cannot do what was asked; the text says why, and the remedy."""
