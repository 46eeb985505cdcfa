"""Atomic files, and the owner of results."""
