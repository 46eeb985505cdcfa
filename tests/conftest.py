"""Decides which tests can run on this machine, where, and says why the others cannot.

Tests marked ``live`` build real clusters. Elsewhere a machine that cannot is a reason
to skip them; in continuous integration (``CI=true``) it is a failure, because a suite
that is green must have run.

One exception, for what ordinary machines lack and every distribution's own kernel has
(Open vSwitch's module, ``sch_netem``): tests marked ``stock("CHECK OF DOCTOR")`` are
skipped without it in continuous integration, too, and run there, where their lack is a
failure, by ``./resetbed test --kernel NAME``.

Tests in clusters run one after the other in one process, which has the machine to
itself as far as it wants it: with ``-n 2``, a second process runs the other tests
meanwhile: at the least priority, or, if they are marked ``beside``, live and of one
node and its peers only, at the same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import settings

from experiments.doctor import doctor

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parent.parent
LEAST_PRIORITY = 19
#: Set to a stock kernel's name where this one is said to be it.
STOCK_KERNEL = "RESETBED_KERNEL"

#: Tests that each keep a processor busy for seconds.
_LONGEST = (
    "tests/test_launcher.py",
    "tests/test_style.py::test_a_tool",
    "tests/experiments/test_report.py",
    "tests/experiments/test_sweep_ends.py",
    "tests/kernel/",
)

settings.register_profile("here", deadline=None)  # no test times anything to pass
settings.load_profile("here")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """All files that build clusters in one process, other tests wherever there is room."""
    from xdist.scheduler import LoadScopeScheduling

    class LiveTogether(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if _builds_clusters(file):
                return "live"
            return file if _makes_things_for_all(file) else nodeid

    return LiveTogether(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that no process waits for another at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONGEST))


@cache
def _makes_things_for_all(file: str) -> bool:
    """Whether its tests share what takes a while to make: then one process has them all."""
    return 'scope="module"' in (ROOT / file).read_text()


@cache
def _builds_clusters(file: str) -> bool:
    """Whether its tests are live all together, or some run in a sandbox.

    A live test among others, as of the launcher, needs root but leaves the machine as
    it is.
    """
    text = (ROOT / file).read_text()
    if "pytest.mark.beside" in text:
        return False
    return "pytestmark = pytest.mark.live" in text or "pytest.mark.sandboxed" in text


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a live test that this machine cannot run; under ``CI=true`` fails it."""
    live = item.get_closest_marker("live") is not None
    if "PYTEST_XDIST_WORKER" in os.environ and os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0 if live else LEAST_PRIORITY)
    if live and (blockers := doctor.suite_blockers()):
        _cannot_run(blockers, fail=os.environ.get("CI") == "true")
    lacking = tuple(
        name
        for mark in item.iter_markers("stock")
        for name in mark.args
        if doctor.is_missing(name)
    )
    if lacking:
        _cannot_run(lacking, fail=STOCK_KERNEL in os.environ)


def _cannot_run(reasons: Sequence[str], fail: bool) -> NoReturn:
    reason = "cannot run here: " + "; ".join(reasons)
    if fail:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
