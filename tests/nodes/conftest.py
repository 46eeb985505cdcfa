"""The lab that live tests of the guard share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nodes.guard.guards import GUARDS
from tests.nodes.lab_process import LabProcess


@pytest.fixture(scope="session")
def lab() -> Iterator[LabProcess]:
    """A node under test, in namespaces of its own."""
    process = LabProcess()
    yield process
    process.close()


@pytest.fixture(scope="module", params=list(GUARDS))
def guard(request: pytest.FixtureRequest) -> str:
    """The name of each guard in turn; tests are grouped by it."""
    return str(request.param)
