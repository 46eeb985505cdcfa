"""Decides which tests can run on this machine, and says why the others cannot.

Tests marked ``live`` build real clusters. Elsewhere a machine that cannot is a reason
to skip them; in continuous integration (``CI=true``) it is a failure, because a suite
that is green must have run.
"""

from __future__ import annotations

import os

import pytest

from experiments import doctor


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a live test that this machine cannot run; under ``CI=true`` fails it."""
    if item.get_closest_marker("live") is None or not doctor.suite_blockers():
        return
    reason = "cannot run here: " + "; ".join(doctor.suite_blockers())
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
