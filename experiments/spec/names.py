"""Checks names from spec files that become parts of paths.

A spec of another person runs as root. So a name must not lead out of its folder, nor
make a hidden file.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

#: A folder's name is made of such a name and a few more words. It must fit into the 255
#: octets of a file system (NAME_MAX, limits.h(0p)).
MAX_LENGTH = 64

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_LENGTH - 1}}}")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


def check_name(name: str) -> str:
    """Returns ``name`` if it can be a part of a path.

    Otherwise raises :class:`ValueError` with the rule and a valid example.
    """
    if _NAME.fullmatch(name):
        return name
    raise ValueError(
        f"{name!r} is not a valid name: a name has 1 to {MAX_LENGTH} letters, digits, "
        "'.', '_' and '-', and begins with a letter or a digit, since folders get it, "
        f"e.g. {valid_name(name)}"
    )


def valid_name(text: str, otherwise: str = "unnamed") -> str:
    """The valid name most similar to ``text``, or ``otherwise``.

    >>> valid_name("my spec (2)"), valid_name("../x"), valid_name("...")
    ('my-spec-2', 'x', 'unnamed')
    """
    return _UNFIT.sub("-", text).lstrip("._-")[:MAX_LENGTH].rstrip("-") or otherwise


#: A string in a model that :func:`check_name` accepts.
Name = Annotated[
    str,
    AfterValidator(check_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"}),
]
