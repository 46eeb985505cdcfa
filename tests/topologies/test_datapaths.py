"""The datapath that follows from the choice and from what the machine lacks."""

from __future__ import annotations

import pytest

from topologies.datapaths import CHOICES, TYPES, DatapathMissing, choose

NO_MODULE, NO_TUN = "no module", "no tun"
BOTH = {"kernel": None, "userspace": None}
ONLY_USERSPACE = {"kernel": NO_MODULE, "userspace": None}
ONLY_KERNEL = {"kernel": None, "userspace": NO_TUN}
NEITHER = {"kernel": NO_MODULE, "userspace": NO_TUN}


@pytest.mark.parametrize(
    ("asked", "missing", "name"),
    [
        ("auto", BOTH, "kernel"),
        ("auto", ONLY_USERSPACE, "userspace"),
        ("auto", ONLY_KERNEL, "kernel"),
        ("kernel", ONLY_KERNEL, "kernel"),
        ("userspace", BOTH, "userspace"),
    ],
)
def test_auto_prefers_the_kernel_datapath(
    asked: str, missing: dict[str, str | None], name: str
) -> None:
    found = choose(asked, missing)
    assert (found.name, found.type, found.asked) == (name, TYPES[name], asked)
    assert found.why in str(found)


def test_auto_reports_why_it_is_not_the_kernel_datapath() -> None:
    assert choose("auto", ONLY_USERSPACE).why == NO_MODULE


@pytest.mark.parametrize(
    ("asked", "missing", "reason"),
    [
        ("kernel", ONLY_USERSPACE, NO_MODULE),
        ("userspace", ONLY_KERNEL, NO_TUN),
        ("auto", NEITHER, f"{NO_MODULE}; {NO_TUN}"),
    ],
)
def test_a_missing_datapath_is_refused_with_the_reason(
    asked: str, missing: dict[str, str | None], reason: str
) -> None:
    with pytest.raises(DatapathMissing, match=reason):
        choose(asked, missing)


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="not one of: auto, kernel, userspace"):
        choose("dpdk", BOTH)
    assert set(CHOICES) == {"auto", *TYPES}
