"""Compiles BPF programs with clang, each once: objects are kept by what they came from."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nodes.kernel.libbpf import BpfError

#: Compiled programs, each named by the hash of what it was made from.
BUILD = Path(__file__).resolve().parents[2] / ".build"


def compile_program(source: Path, build: Path | None = None) -> Path:
    """The object file of ``NAME.bpf.c``, compiled unless that was done before.

    What it may include are the ``*.bpf.h`` beside it. ``build``: where objects are kept
    if not in :data:`BUILD`. Every warning is an error. Raises
    :class:`~nodes.kernel.libbpf.BpfError` with the compiler's words.
    """
    build = build or BUILD
    # Kernel headers of the architecture (asm/) are in its own folder on Debian.
    headers = f"-I/usr/include/{platform.machine()}-linux-gnu"
    warnings = ("-Wall", "-Wextra", "-Werror")
    command = ["clang", "-O2", "-g", "-target", "bpf", headers, *warnings]
    version = _output([command[0], "--version"])
    sources = [file.read_text() for file in sorted(source.parent.glob("*.bpf.[ch]"))]
    made_from = "\0".join([*command, version, *sources])
    digest = hashlib.sha256(made_from.encode()).hexdigest()[:16]
    target = build / f"{source.name.removesuffix('.bpf.c')}-{digest}.o"
    if not target.exists():
        build.mkdir(exist_ok=True)
        # Two runs may compile at once: each into its own file, put in place at once.
        with tempfile.TemporaryDirectory(dir=build) as folder:
            fresh = Path(folder) / target.name
            _output([*command, "-c", str(source), "-o", str(fresh)])
            os.replace(fresh, target)
    return target


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise BpfError(f"{command[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        raise BpfError(f"{command[0]}: {error.stderr.strip()}") from None
    return done.stdout
