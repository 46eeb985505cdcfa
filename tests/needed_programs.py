"""What some tests need of the machine: without it they are skipped, and in CI they fail."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def cannot_run(reason: str) -> NoReturn:
    """Ends the test: in continuous integration by failing, elsewhere by skipping it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def need_program(*names: str) -> str:
    """The path of the first of these programs that is there; without one it cannot run."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        cannot_run(
            f"cannot run here: {' or '.join(names)} not found. On Debian ./resetbed setup "
            "installs what the tests need; elsewhere install the package of that name"
        )
    return found
