"""The course: every notebook runs in a fresh kernel, and what is kept in it is whole, clean and up to date."""

import re

import pytest
from run_notebooks import HERE, METADATA, NOTEBOOKS, execute, read

LARGEST = 500_000  # bytes: larger ones are slow to read on the web
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell):
    """Return what a cell put out, without the values, which timings change: {"stdout", "image/png", ...}."""
    found = set()
    for output in cell.outputs:
        found.update([output.name] if output.output_type == "stream" else output.data)
    return found


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 10


@pytest.mark.slow
@each_notebook
def test_runs_and_gives_what_is_kept(path, monkeypatch):
    """A cell that shows other kinds of output than the committed file has was changed and not run again."""
    monkeypatch.delenv("MINIFER_FER2013", raising=False)
    kept, notebook = read(path), read(path)
    execute(notebook)
    for before, after in zip(code_cells(kept), code_cells(notebook), strict=True):
        assert kinds(after) == kinds(before), f"run {path.name} again and keep its outputs: {after.source[:80]!r}"


@each_notebook
def test_outputs_are_kept_whole(path):
    cells = code_cells(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run all cells, in order"
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    for output in outputs:
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text
        texts = [output.get("text", ""), *map(str, output.get("data", {}).values())]
        private = re.search(r"(/home/|/root/|/Users/|/tmp/|[A-Z]:\\Users)\S*", " ".join(texts))
        assert not private, f"an output holds a path of one machine: {private.group()}"


@each_notebook
def test_nothing_that_changes_with_every_run(path):
    notebook = read(path)
    assert notebook.metadata == METADATA
    assert all(not cell.metadata for cell in notebook.cells)
    assert path.stat().st_size < LARGEST


@each_notebook
def test_questions_come_before_the_cell_and_answers_after(path):
    cells = read(path).cells
    asked = [k for k, cell in enumerate(cells) if "**Predict.**" in cell.source]
    assert asked
    for k in asked:
        assert [cell.cell_type for cell in cells[k : k + 3]] == ["markdown", "code", "markdown"]
        assert cells[k + 2].source.startswith("**Answer.**")


def test_the_table_of_the_course_lists_every_notebook():
    linked = re.findall(r"\]\((\d\d_\w+\.ipynb)\)", (HERE / "README.md").read_text())
    assert linked == [path.name for path in NOTEBOOKS]
