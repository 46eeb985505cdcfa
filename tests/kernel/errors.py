"""What ends a call with a message and a status of its own."""

from __future__ import annotations


class Lacking(Exception):
    """The machine lacks something, and the text says what: exit status 3."""


class BadInput(Exception):
    """What was asked for makes no sense, and the text says why: exit status 2."""


class TooLong(Exception):
    """The command in the guest did not end in its time: exit status 124, as timeout(1)."""
