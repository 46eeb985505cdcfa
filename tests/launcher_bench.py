"""A checkout in miniature to try the launcher on: real launcher, tiny list, no network.

Its ``experiments`` prints how it was called; its one Python package is a wheel that is
made here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
LAUNCHER = CHECKOUT / "resetbed"
NOBODY = 65534
#: What the launcher calls before it has installed anything.
TOOLS = (
    *("apt-get", "awk", "bash", "cat", "dirname", "dpkg-query", "env", "flock"),
    *("mkdir", "mktemp", "readlink", "sed", "tail"),
)
_ENDS_IN_S = 120.0

_EXPERIMENTS = """
import json, os, sys
print(json.dumps({"arguments": sys.argv[1:], "folder": os.getcwd(), "file": __file__,
                  "input": sys.stdin.read(), "environment": sys.prefix,
                  "process": os.getpid()}))
sys.exit(len(sys.argv) - 1)
"""


#: An interpreter that makes a virtual environment by copying one, in no time.
_QUICK_PYTHON = """#!/bin/sh
case "$1 $2" in
"-m venv") for target; do :; done; rm -rf "$target"; exec cp -a '{template}' "$target" ;;
esac
exec /usr/bin/python3 "$@"
"""


@dataclass(frozen=True)
class Answer:
    """What a call of the launcher came to."""

    status: int
    output: str
    messages: str

    @property
    def said(self) -> Any:
        """What the miniature's ``experiments`` printed about its call."""
        assert self.output, f"status {self.status}, nothing printed: {self.messages}"
        return json.loads(self.output)


@dataclass(frozen=True)
class Bench:
    """A checkout in miniature, and how to call its launcher."""

    folder: Path

    def command(self, *arguments: str) -> tuple[str, ...]:
        """The launcher's argv."""
        return (str(self.folder / "resetbed"), *arguments)

    def environment(self, **variables: str) -> dict[str, str]:
        """The caller's, but for what steers pip, Python or the launcher."""
        mine = ("PIP_", "RESETBED_", "PYTHON")
        outer = {k: v for k, v in os.environ.items() if not k.startswith(mine)}
        return outer | {"PIP_NO_INDEX": "1"} | variables

    def call(
        self,
        *arguments: str,
        given: str = "",
        launcher: Path | None = None,
        folder: Path | None = None,
        user: int | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Answer:
        """Calls the launcher and waits for its end."""
        command = (str(launcher or self.folder / "resetbed"), *arguments)
        done = subprocess.run(
            command,
            check=False,
            input=given,
            cwd=folder or "/",
            user=user,
            env=self.environment(**(variables or {})),
            capture_output=True,
            text=True,
            timeout=_ENDS_IN_S,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def quicken(self, used: Bench) -> Bench:
        """Makes its environments from now on as copies of that one's, which is as it was
        before anything was installed in it: pip is real, ``venv`` takes seconds."""
        template = self.folder / "template"
        shutil.copytree(
            used.folder / ".venv", template, ignore=_installed, symlinks=True
        )
        [packages] = (used.folder / ".venv").glob("lib/python3*/site-packages")
        place = template / packages.relative_to(used.folder / ".venv")
        for path in packages.glob("*"):
            if not path.name.startswith(("miniature", "resetbed")):
                (place / path.name).symlink_to(path)
        python = self.folder / "python"
        python.write_text(_QUICK_PYTHON.format(template=template))
        python.chmod(0o755)
        launcher = self.folder / "resetbed"
        text = launcher.read_text()
        assert "\npython=/usr/bin/python3\n" in text
        launcher.write_text(
            text.replace("python=/usr/bin/python3", f"python='{python}'")
        )
        return self

    def require(self, *requirements: str) -> None:
        """Rewrites the miniature's list of Python packages."""
        lines = "".join(f"\n    {each}" for each in requirements)
        (self.folder / "setup.cfg").write_text(
            f"[options]\ninstall_requires ={lines}\n"
            "[options.extras_require]\ntest =\n"
            "[resetbed]\npackages =\n    python3\n    bash\n"
        )


def make_bench(folder: Path) -> Bench:
    """Lays out a checkout in miniature in a folder that everyone can read."""
    (folder / "experiments").mkdir(parents=True)
    (folder / "experiments" / "__init__.py").touch()
    (folder / "experiments" / "__main__.py").write_text(_EXPERIMENTS)
    shutil.copy2(LAUNCHER, folder / "resetbed")
    bench = Bench(folder)
    bench.require(f"miniature @ {_make_wheel(folder).as_uri()}")
    return bench


def _installed(folder: str, names: list[str]) -> list[str]:
    """What of an environment is no part of an empty one."""
    return names if folder.endswith("site-packages") else [".ready"]


def path_of(folder: Path, tools: Sequence[str] = TOOLS) -> str:
    """A PATH on which nothing is found but these tools (and none that is absent)."""
    folder.mkdir()
    folder.chmod(0o755)
    for name in tools:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return str(folder)


def _make_wheel(folder: Path) -> Path:
    """The smallest wheel that pip installs (PEP 427)."""
    path = folder / "miniature-1.0-py3-none-any.whl"
    members = {
        "METADATA": "Metadata-Version: 2.1\nName: miniature\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in members.items():
            wheel.writestr(f"miniature-1.0.dist-info/{name}", text)
    return path
