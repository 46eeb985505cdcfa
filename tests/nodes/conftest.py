"""The lab that live tests of the guard share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.nodes.lab_process import LabProcess


@pytest.fixture(scope="session")
def lab() -> Iterator[LabProcess]:
    """A node under test, in namespaces of its own."""
    process = LabProcess()
    yield process
    process.close()
