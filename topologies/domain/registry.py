"""Registries: the values of one type that the modules of a package define, one each."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TypeVar

T = TypeVar("T")


def gathered(package: str, modules: Sequence[str], kind: type[T]) -> list[T]:
    """The value of type ``kind`` that each of those modules of a package defines.

    Raises :class:`LookupError` for a module that defines none, or several: which of them
    was meant could only be guessed.
    """
    return [_only(f"{package}.{module}", kind) for module in modules]


def _only(module: str, kind: type[T]) -> T:
    found = [v for v in vars(import_module(module)).values() if isinstance(v, kind)]
    if len(found) != 1:
        raise LookupError(f"{module} defines {len(found)} of {kind.__name__}, not one")
    return found[0]
