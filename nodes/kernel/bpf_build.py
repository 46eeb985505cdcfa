"""Compiles BPF programs with clang. Objects are cached by a hash of their sources."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from nodes.kernel.libbpf import BpfError

#: Folder of the compiled programs. Their names contain the hash of their sources.
BUILD = Path(__file__).resolve().parents[2] / ".build"


def compile_program(
    source: Path,
    generated: Mapping[str, str] | None = None,
    build: Path | None = None,
) -> Path:
    """The object file of ``NAME.bpf.c``, compiled if it is not in the cache.

    It may include the ``*.bpf.h`` files in its folder, and the ``generated`` headers
    (file name -> text). ``build``: the folder for object files, if not :data:`BUILD`.
    Every warning is an error. Raises :class:`~nodes.kernel.libbpf.BpfError` with the
    compiler's output.
    """
    generated, build = generated or {}, build or BUILD
    # On Debian, the kernel headers of the architecture (asm/) have their own folder.
    system = f"-I/usr/include/{platform.machine()}-linux-gnu"
    warnings = ("-Wall", "-Wextra", "-Werror")
    command = ["clang", "-O2", "-g", "-target", "bpf", system, *warnings]
    version = _output([command[0], "--version"])
    sources = [file.read_text() for file in sorted(source.parent.glob("*.bpf.[ch]"))]
    headers = [text for header in generated.items() for text in header]
    made_from = "\0".join([*command, version, *sources, *headers])
    digest = hashlib.sha256(made_from.encode()).hexdigest()[:16]
    target = build / f"{source.name.removesuffix('.bpf.c')}-{digest}.o"
    if not target.exists():
        build.mkdir(exist_ok=True)
        # Two runs may compile at the same time. Each writes its own file; os.replace
        # then puts it in place atomically.
        with tempfile.TemporaryDirectory(dir=build) as folder:
            for name, text in generated.items():
                (Path(folder) / name).write_text(text)
            fresh = Path(folder) / target.name
            _output([*command, f"-I{folder}", "-c", str(source), "-o", str(fresh)])
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
