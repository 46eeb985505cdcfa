"""Names out of other people's files that become parts of paths: what they may be.

Who runs somebody's spec runs it as root, so a name must not lead out of the folder that
it is put in, nor be hidden in it.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

#: So long that a folder's name, made of this and a few words more, fits a file system's
#: 255 octets (NAME_MAX, limits.h(0p)).
MAX_LENGTH = 64

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_LENGTH - 1}}}")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


def check_name(name: str) -> str:
    """``name`` itself, if it can be a part of a path.

    Raises :class:`ValueError` that says what can, and a name that would do.
    """
    if _NAME.fullmatch(name):
        return name
    raise ValueError(
        f"{name!r} is no name: folders are called by it, so it is 1 to {MAX_LENGTH} "
        "letters, digits, '.', '_' and '-', and begins with a letter or a digit, "
        f"e.g. {valid_name(name)}"
    )


def valid_name(text: str, otherwise: str = "unnamed") -> str:
    """The name that comes nearest to ``text``, or ``otherwise``.

    >>> valid_name("my spec (2)"), valid_name("../x"), valid_name("...")
    ('my-spec-2', 'x', 'unnamed')
    """
    return _UNFIT.sub("-", text).lstrip("._-")[:MAX_LENGTH].rstrip("-") or otherwise


#: A string in a model that :func:`check_name` admits.
Name = Annotated[str, AfterValidator(check_name)]
