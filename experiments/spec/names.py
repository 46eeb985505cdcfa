"""Names out of other people's files that become parts of paths: what they may be.

Who runs somebody's spec runs it as root, so a name must not lead out of the folder that
it is put in, nor be hidden in it.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

#: So long that a folder's name, made of this and a few words more, fits a file system's
#: 255 octets (NAME_MAX, limits.h(0p)).
LONGEST = 64

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST - 1}}}")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


def checked(name: str) -> str:
    """``name`` itself, if it can be a part of a path.

    Raises :class:`ValueError` that says what can, and a name that would do.
    """
    if _NAME.fullmatch(name):
        return name
    raise ValueError(
        f"{name!r} is no name: folders are called by it, so it is 1 to {LONGEST} "
        "letters, digits, '.', '_' and '-', and begins with a letter or a digit, "
        f"e.g. {fit(name)}"
    )


def fit(text: str, otherwise: str = "unnamed") -> str:
    """The name that comes nearest to ``text``, or ``otherwise``.

    >>> fit("my spec (2)"), fit("../x"), fit("...")
    ('my-spec-2', 'x', 'unnamed')
    """
    return _UNFIT.sub("-", text).lstrip("._-")[:LONGEST].rstrip("-") or otherwise


#: A string in a model that :func:`checked` admits.
Name = Annotated[
    str,
    AfterValidator(checked),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"}),
]
