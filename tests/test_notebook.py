"""The notebook is executed, as Jupyter does it; it is kept without its outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.lint import CHECKOUT

#: It says nothing of its types.
FORMAT: Any = nbformat
NOTEBOOK = CHECKOUT / "docs" / "first-notebook.ipynb"
DEADLINE_S = 60


def read() -> Any:
    return FORMAT.read(NOTEBOOK, as_version=4)


def executed(notebook: Any, folder: Path) -> list[Any]:
    """The outputs of all cells; raises where one has an error."""
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=DEADLINE_S, resources=where).execute()
    return [out for cell in notebook.cells for out in cell.get("outputs", ())]


def test_the_notebook_runs_and_shows_tables_a_plot_and_a_ladder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder of its own: it writes nothing beside itself. The tables are the story."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    outputs = executed(read(), tmp_path)
    kinds = {kind for out in outputs for kind in out.get("data", ())}
    assert {"image/svg+xml", "text/html"} <= kinds
    texts = [str(out.get("data", out).get("text/plain", "")) for out in outputs]
    story = next(text for text in texts if "half_open.at_end" in text)
    rows = [[word.strip() for word in row.split("┆")] for row in story.splitlines()]
    found = {row[0].strip("│ "): [cell.strip("│ ") for cell in row[1:]] for row in rows}
    moved = found["connections.moved"][0]
    assert float(moved) > 0
    assert found["connections.hung"] == [moved, "0.0"]
    assert found["half_open.at_end"] == [moved, "0.0"]
    assert found["connections.reset"] == ["0.0", found["connections.moved"][1]]
    assert any("stray" in out.get("text", "") for out in outputs)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_a_cell_is_one_of_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    notebook = read()
    notebook.cells = [FORMAT.v4.new_code_cell("from experiments.api import no_such")]
    with pytest.raises(CellExecutionError, match="no_such"):
        executed(notebook, tmp_path)


def test_it_is_kept_without_outputs() -> None:
    """They would differ with each execution, and say nothing that a reader cannot make."""
    cells = [cell for cell in read().cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in cells] == [
        ([], None) for _ in cells
    ]
    FORMAT.validate(read())
