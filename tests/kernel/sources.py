"""Where packages come from on this machine, and so in an image that is built on it; pure.

No host is named here: a Debian machine's own sources serve its other releases too, and
elsewhere debootstrap(8) knows Debian's mirror itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

#: What an entry of Debian's own may carry in its suite's name beside the release's.
_SUFFIXES = ("", "-updates", "-security")


@dataclass(frozen=True)
class Source:
    """One suite at one address, as in sources.list(5)."""

    uri: str
    suite: str
    components: tuple[str, ...]

    def line(self) -> str:
        """The entry in the one-line style.

        >>> Source("file:/a", "x", ("main",)).line()
        'deb file:/a x main'
        """
        return " ".join(("deb", self.uri, self.suite, *self.components))


def one_line_sources(text: str) -> Iterator[Source]:
    """The binary entries of a file in the one-line style of sources.list(5).

    >>> [*one_line_sources("deb [arch=amd64] file:/a x main # note")]
    [Source(uri='file:/a', suite='x', components=('main',))]
    """
    for line in text.splitlines():
        words = re.sub(r"\[.*?\]", " ", line.partition("#")[0]).split()
        if len(words) >= 4 and words[0] == "deb":
            yield Source(words[1], words[2], tuple(words[3:]))


def deb822_sources(text: str) -> Iterator[Source]:
    """The enabled binary entries of a file in the deb822 style of sources.list(5)."""
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", kept):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", ()) or fields.get("enabled") == ["no"]:
            continue
        for uri in fields.get("uris", ()):
            for suite in fields.get("suites", ()):
                yield Source(uri, suite, tuple(fields.get("components", ())))


def _fields(stanza: str) -> dict[str, list[str]]:
    """Name in small letters -> words; a line that begins with a space continues one."""
    joined = re.sub(r"\n[ \t]+", " ", stanza)
    parts = (line.partition(":") for line in joined.splitlines())
    return {name.strip().lower(): value.split() for name, _, value in parts}


def sources_for(
    release: str, machine: Sequence[Source], os_release: Mapping[str, str]
) -> tuple[Source, ...]:
    """The machine's own entries turned to another release of Debian; the main one first.

    Empty where the machine is no Debian or has no entry for its own release. Entries
    other than Debian's do not carry its release's name, and are left out.
    """
    if os_release.get("ID") != "debian":
        return ()
    own = os_release.get("VERSION_CODENAME", "")
    turned = [
        Source(source.uri, release + suffix, ("main",))
        for suffix in _SUFFIXES
        for source in machine
        if own and source.suite == own + suffix and "main" in source.components
    ]
    found = tuple(dict.fromkeys(turned))
    return found if found and found[0].suite == release else ()


def read_os_release(text: str) -> dict[str, str]:
    """Names and values of os-release(5).

    >>> read_os_release('ID=debian\\nNAME="A b"')
    {'ID': 'debian', 'NAME': 'A b'}
    """
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
