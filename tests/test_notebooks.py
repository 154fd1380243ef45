"""The course: every notebook runs in a fresh kernel, and what is kept in it is whole, clean and up to date."""

import re

import pytest
from links import linked, title
from run_notebooks import HERE, HIDDEN, METADATA, NOTEBOOKS, execute, read

LARGEST = 1_000_000  # bytes: larger ones are slow to read on the web
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
    assert all(cell.metadata in ({}, HIDDEN) for cell in notebook.cells)
    assert path.stat().st_size < LARGEST


@each_notebook
def test_questions_come_before_the_cell_and_answers_after(path):
    cells = read(path).cells
    asked = [k for k, cell in enumerate(cells) if "**Predict.**" in cell.source]
    assert asked
    for k in asked:
        text = next(j for j in range(k + 1, len(cells)) if cells[j].cell_type == "markdown")
        assert text > k + 1, "a question is followed by code"
        assert cells[text].source.startswith("**Answer.**")


def test_the_table_of_the_course_lists_every_notebook():
    linked = re.findall(r"\]\((\d\d_\w+\.ipynb)\)", (HERE / "README.md").read_text())
    assert linked == [path.name for path in NOTEBOOKS]


@each_notebook
def test_links_and_the_first_cell_are_those_of_links(path):
    """The repository is named in one place."""
    titles = {each: title(read(each)) for each in NOTEBOOKS}
    assert read(path) == linked(read(path), path, titles), "run python examples/links.py"


@each_notebook
def test_every_figure_says_what_is_to_be_seen(path):
    for cell in code_cells(read(path)):
        assert "plt.show()" not in cell.source, 'course.show("what is to be seen") keeps a text with the figure'
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.metadata["image/png"]["alt"]) > 30


@each_notebook
def test_questions_to_try_have_answers_and_readers_know_what_they_need(path):
    notebook = read(path)
    assert "**You need** " in notebook.cells[0].source and "**Afterwards you can** " in notebook.cells[0].source
    for cell in notebook.cells:
        assert cell.source.count("<details>") == cell.source.count("</details>")
        if "**Try.**" in cell.source:
            tasks = re.findall(r"^\d+\. ", cell.source.partition("**Try.**")[2].partition("\n## ")[0], re.MULTILINE)
            assert len(tasks) == cell.source.count("<summary>Answer</summary>") > 0


# What the field says another word for: a reader of a textbook would not find these there.
PRIVATE = r"\b(by heart|odd labels?|shares? (of|that|for)|in these shares|with prices|way round|ghosts?(?! batch))\b"


@each_notebook
def test_standard_terms(path):
    for cell in read(path).cells:
        assert not (found := re.search(PRIVATE, cell.source)), f"{found.group()!r} is no standard term (GLOSSARY.md)"


def test_the_words_of_the_glossary_are_in_order_and_in_notebooks_that_exist():
    rows = re.findall(r"^\| (.+?) \| .+ \| ([\d, ]+) \|$", (HERE / "GLOSSARY.md").read_text(), re.MULTILINE)
    words = [word.split("(")[0].split(",")[0].split(":")[0].strip().lower() for word, _ in rows]
    assert len(rows) > 60 and words == sorted(words)
    assert {int(n) for _, numbers in rows for n in numbers.split(",")} == set(range(1, len(NOTEBOOKS) + 1))


def test_a_word_of_the_glossary_stands_in_the_notebooks_that_it_names():
    texts = ["\n".join(cell.source for cell in read(path).cells).lower() for path in NOTEBOOKS]
    rows = re.findall(r"^\| (.+?) \| .+ \| ([\d, ]+) \|$", (HERE / "GLOSSARY.md").read_text(), re.MULTILINE)
    for words, numbers in rows:
        own = re.findall(r"[\w-]{3,}", words.lower())
        for number in map(int, numbers.split(",")):
            assert any(word in texts[number - 1] for word in own), f"{words} is not in notebook {number}"
