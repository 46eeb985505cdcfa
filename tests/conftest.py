"""Decides which tests can run on this machine, where, and says why the others cannot.

Tests marked ``live`` build real clusters. Elsewhere a machine that cannot is a reason
to skip them; in continuous integration (``CI=true``) it is a failure, because a suite
that is green must have run.

Live tests go first and one after the other. With ``-n 2 --dist loadgroup`` a second
process runs the others meanwhile, on what time the live ones leave.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from experiments.machine import doctor

LEAST_PRIORITY = 19

settings.register_profile("here", deadline=None)  # no test times anything to pass
settings.load_profile("here")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Live tests first, as the one group that stays in one process."""
    items.sort(key=lambda item: item.get_closest_marker("live") is None)
    for item in items:
        if item.get_closest_marker("live"):
            item.add_marker(pytest.mark.xdist_group("live"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a live test that this machine cannot run; under ``CI=true`` fails it."""
    live = item.get_closest_marker("live") is not None
    if "PYTEST_XDIST_WORKER" in os.environ and os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0 if live else LEAST_PRIORITY)
    if not live or not doctor.suite_blockers():
        return
    reason = "cannot run here: " + "; ".join(doctor.suite_blockers())
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
