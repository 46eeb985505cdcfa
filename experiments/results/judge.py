"""From a run's record to its figures and verdict, without root and without a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from experiments.analysis.analysis import analyse
from experiments.record.record_file import FILE, read_record
from experiments.results.summary import write_results
from experiments.spec.run_spec import RunSpec

SPEC = "spec.yaml"


class NoRecord(ValueError):
    """A folder holds no record of a run, or not a complete one. The text says why."""


def judge_folder(folder: Path) -> dict[str, Any]:
    """Computes every figure again from the record in a run's folder; returns the summary.

    Writes ``connections.jsonl``, the ladder and ``summary.json``, the last atomically.
    The record is not changed. Raises :class:`NoRecord` and :class:`OSError`.
    """
    try:
        spec = RunSpec.model_validate(yaml.safe_load((folder / SPEC).read_text()))
        record = read_record(folder)
    except FileNotFoundError as error:
        name = Path(error.filename).name
        raise NoRecord(
            f"{folder}: no {name}; a run's folder has {SPEC} and {FILE}"
        ) from error
    except (ValueError, LookupError, yaml.YAMLError) as error:
        raise NoRecord(f"{folder}: {error}") from error
    return write_results(folder, spec, record, analyse(record))
