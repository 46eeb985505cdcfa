"""Dask is installed when a command for many machines is first used."""

from __future__ import annotations

import configparser
import subprocess
from importlib import metadata

from packaging.requirements import Requirement

from experiments.fleet.fleet_errors import FleetError
from experiments.machine.code_digest import CHECKOUT

_EXTRA = "dask"


def require_dask() -> None:
    """Installs the packages of the extra ``dask`` in ``setup.cfg``, if they are missing.

    The launcher says so while it does. Raises :class:`FleetError` if that fails.
    """
    if not _missing():
        return
    command = [str(CHECKOUT / "resetbed"), "setup", "extra", _EXTRA]
    if subprocess.run(command, check=False).returncode:
        raise FleetError("Dask cannot be installed (see above)")
    if missing := _missing():
        raise FleetError(
            f"Dask was installed for another Python than this one; it lacks "
            f"{', '.join(missing)}: use ./resetbed"
        )


def _missing() -> list[str]:
    """The packages that are not installed in a version that is wanted."""
    settings = configparser.ConfigParser()
    settings.read(CHECKOUT / "setup.cfg", encoding="utf-8")
    lines = settings["options.extras_require"][_EXTRA].strip().splitlines()
    return [line for line in lines if not _is_installed(Requirement(line))]


def _is_installed(wanted: Requirement) -> bool:
    try:
        return wanted.specifier.contains(metadata.version(wanted.name))
    except metadata.PackageNotFoundError:
        return False
