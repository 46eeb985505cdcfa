"""A machine's own package sources, turned to another release."""

from __future__ import annotations

import pytest

from tests.kernel.sources import (
    Source,
    deb822_sources,
    one_line_sources,
    read_os_release,
    sources_for,
)

DEB822 = """\
Types: deb deb-src
# An older address: file:/none
URIs: file:/mirror/debian
Suites: bookworm
  bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: file:/mirror/security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: file:/mirror/off
Suites: bookworm
Components: main
"""
ONE_LINE = """\
# deb file:/mirror/none bookworm main
deb [arch=amd64 signed-by=/a/b] file:/mirror/debian bookworm main contrib
deb-src file:/mirror/debian bookworm main
deb file:/mirror/debian bookworm-updates main contrib # and so on
deb file:/mirror/security bookworm-security main
deb file:/mirror/other cloud-sdk-bookworm main
"""
BOOKWORM = {"ID": "debian", "VERSION_CODENAME": "bookworm"}
FOR_TRIXIE = (
    Source("file:/mirror/debian", "trixie", ("main",)),
    Source("file:/mirror/debian", "trixie-updates", ("main",)),
    Source("file:/mirror/security", "trixie-security", ("main",)),
)


@pytest.mark.parametrize(
    "sources",
    [[*deb822_sources(DEB822)], [*one_line_sources(ONE_LINE)]],
    ids=["deb822", "one line"],
)
def test_a_debians_sources_serve_its_other_releases(sources: list[Source]) -> None:
    assert sources_for("trixie", sources, BOOKWORM) == FOR_TRIXIE


@pytest.mark.parametrize(
    "os_release",
    [
        {"ID": "ubuntu", "VERSION_CODENAME": "bookworm"},
        {"ID": "debian", "VERSION_CODENAME": "trixie"},
        {"ID": "debian"},
        {},
    ],
)
def test_without_sources_debootstraps_defaults_are_used(
    os_release: dict[str, str],
) -> None:
    assert sources_for("trixie", [*one_line_sources(ONE_LINE)], os_release) == ()


def test_a_security_source_is_not_a_mirror() -> None:
    security = [*deb822_sources(DEB822)][2:]
    assert [source.suite for source in security] == ["bookworm-security"]
    assert sources_for("trixie", security, BOOKWORM) == ()


def test_os_release_is_read_with_and_without_quotes() -> None:
    assert read_os_release('ID=debian\n\nA="b c"\n') == {"ID": "debian", "A": "b c"}
