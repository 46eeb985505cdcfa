"""Decides which tests can run on this machine, where, and says why the others cannot.

Tests marked ``live`` build real clusters. Elsewhere a machine that cannot is a reason
to skip them; in continuous integration (``CI=true``) it is a failure, because a suite
that is green must have run.

One exception, for what ordinary machines lack and every distribution's own kernel has
(Open vSwitch's module, ``sch_netem``): tests marked ``stock("CHECK OF DOCTOR")`` are
skipped without it in continuous integration, too, and run there, where their lack is a
failure, by ``./resetbed test --kernel NAME``.

With ``-n 3``, three processes share the machine. The first has the tests that measure
clusters, one after the other. The second has those marked ``beside``, also one after the
other and at a lower priority: they are live, and how fast they are says nothing. The
third has the rest, at the least priority: it takes what the others leave, and the others
help it when they have done their own.
"""

from __future__ import annotations

import os
import re
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
BESIDE_PRIORITY, LEAST_PRIORITY = 5, 19
#: Set to a stock kernel's name where this one is said to be it.
STOCK_KERNEL = "RESETBED_KERNEL"

#: Tests that each keep a processor busy for seconds: first, and each wherever there is room.
_LONGEST = (
    "tests/test_style.py::test_a_tool",
    "tests/test_launcher.py",
    "tests/experiments/test_report.py",
    "tests/experiments/test_sweep_ends.py",
    "tests/kernel/",
)
#: The scopes of tests that run one after the other. The first starts first.
_ALONE, _BESIDE = "alone", "beside"
_ALL_LIVE = re.compile(r"^pytestmark = (\[\s+)?pytest\.mark\.live,?$", re.M)

settings.register_profile("here", deadline=None)  # no test times anything to pass
settings.load_profile("here")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Clusters in one process, what may run beside them in another, the rest by file."""
    from xdist.scheduler import LoadScopeScheduling

    class LiveTogether(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
        def _split_scope(self, nodeid: str) -> str:
            return _scope(nodeid)

    # Else what has most tests came first, and a single test that takes long at the end.
    config.option.loadscopereorder = False
    return LiveTogether(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that no process waits for another at the end."""
    items.sort(key=lambda item: _turn(item.nodeid))


def _turn(nodeid: str) -> int:
    scope = _scope(nodeid)
    if scope in (_ALONE, _BESIDE):
        return (_ALONE, _BESIDE).index(scope)
    return 2 if nodeid.startswith(_LONGEST) else 3


def _scope(nodeid: str) -> str:
    """What has the same stays in one process. Handing out single tests takes longer than
    most of them do."""
    file = nodeid.partition("::")[0]
    if together := _together(file):
        return together
    shared = _makes_things_for_all(file)
    return nodeid if nodeid.startswith(_LONGEST) and not shared else file


@cache
def _makes_things_for_all(file: str) -> bool:
    """Whether its tests share what takes a while to make: then one process has them all."""
    return 'scope="module"' in (ROOT / file).read_text()


@cache
def _together(file: str) -> str:
    """The scope of a file whose tests are live all together, or some of them in a sandbox.

    A live test among others, as of the launcher, needs root but leaves the machine as
    it is.
    """
    text = (ROOT / file).read_text()
    if "pytest.mark.beside" in text:
        return _BESIDE
    return _ALONE if _ALL_LIVE.search(text) or "pytest.mark.sandboxed" in text else ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a live test that this machine cannot run; under ``CI=true`` fails it."""
    live = item.get_closest_marker("live") is not None
    if "PYTEST_XDIST_WORKER" in os.environ and os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, 0, _niceness(item))
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


def _niceness(item: pytest.Item) -> int:
    if item.get_closest_marker("live") is None:
        return LEAST_PRIORITY
    return BESIDE_PRIORITY if item.get_closest_marker("beside") else 0


def _cannot_run(reasons: Sequence[str], fail: bool) -> NoReturn:
    reason = "cannot run here: " + "; ".join(reasons)
    if fail:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
