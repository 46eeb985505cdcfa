"""Which list of packages is installed for a workload."""

from __future__ import annotations

import configparser
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from controller.policies import POLICIES
from experiments.doctor import workload_packages
from experiments.machine.requirements import RequirementMissing
from experiments.workloads import WORKLOADS
from tests.system.commands import ROOT


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments of every command that would have been run; each fails for ``nfs``."""
    words: list[str] = []

    def run(argv: Sequence[Any], **_: Any) -> subprocess.CompletedProcess[str]:
        words.extend(map(str, argv[1:]))
        return subprocess.CompletedProcess(argv, int(argv[-1] == "nfs"))

    monkeypatch.setattr(subprocess, "run", run)
    return words


def test_a_workload_without_packages_of_its_own_asks_for_nothing(
    asked: list[str],
) -> None:
    workload_packages.require_packages(WORKLOADS["iscsi-reserve"])
    assert asked == []


def test_a_kind_of_a_workload_needs_what_that_one_needs(asked: list[str]) -> None:
    with pytest.raises(RequirementMissing, match="nfs-short"):
        workload_packages.require_packages(WORKLOADS["nfs-short"])
    assert asked == ["setup", "workload", "nfs"]


def test_every_policy_with_packages_has_a_list() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    for policy in POLICIES.values():
        listed = f"{policy.name}_packages" in settings["resetbed"]
        assert listed is policy.extra_packages, policy.name


def test_every_workload_with_packages_has_a_list() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    for workload in WORKLOADS.values():
        family = workload.name.partition("-")[0]
        listed = f"{family}_packages" in settings["resetbed"]
        assert listed is workload.extra_packages, workload.name
