"""The choice of the guard, and the reasons against the others."""

from __future__ import annotations

import pytest

from nodes.guard import guards
from nodes.guard.guard import GuardError
from nodes.guard.guards import GUARDS, GuardKind, choose_guard


def _without(name: str, lack: str) -> GuardKind:
    kind = GUARDS[name]
    return GuardKind(kind.name, kind.summary, lambda: lack, kind.open)


def _with(name: str) -> GuardKind:
    kind = GUARDS[name]
    return GuardKind(kind.name, kind.summary, lambda: None, kind.open)


def test_auto_prefers_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"ebpf": _with("ebpf"), "scapy": _with("scapy")}
    monkeypatch.setattr(guards, "GUARDS", kinds)
    assert choose_guard().kind.name == "ebpf"


def test_auto_reports_why_it_chose_another(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"ebpf": _without("ebpf", "no clang"), "scapy": _with("scapy")}
    monkeypatch.setattr(guards, "GUARDS", kinds)
    choice = choose_guard()
    assert choice.kind.name == "scapy"
    assert "ebpf is not possible: no clang" in choice.why


def test_a_machine_without_any_guard_gets_the_list_of_missing_requirements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds = {"ebpf": _without("ebpf", "no clang"), "scapy": _without("scapy", "no nft")}
    monkeypatch.setattr(guards, "GUARDS", kinds)
    with pytest.raises(GuardError, match=r"no clang.*no nft"):
        choose_guard()


def test_a_requested_guard_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"ebpf": _without("ebpf", "no clang"), "scapy": _with("scapy")}
    monkeypatch.setattr(guards, "GUARDS", kinds)
    with pytest.raises(GuardError, match="guard ebpf: no clang"):
        choose_guard("ebpf")


def test_an_unknown_guard_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(ValueError, match="ebpf, scapy, auto"):
        choose_guard("iptables")


@pytest.mark.live
@pytest.mark.parametrize("name", GUARDS)
def test_this_machine_lacks_nothing(name: str) -> None:
    assert GUARDS[name].missing_requirement() is None
