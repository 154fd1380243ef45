"""The instructor's notes: sample answers get the points that the rubric says, nbgrader grades, slides are made."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import make_slides
import nbformat
import pytest
from wrong_answers import answer

from minifer.teaching.score import score

EXAMPLES = Path(__file__).parents[2] / "examples"
EXERCISES = EXAMPLES / "exercises"
NOTES = (EXERCISES / "TEACHING.md").read_text()
POINTS = json.loads((EXERCISES / "points.json").read_text())
CELL = r" `(.*?)` "
RUBRIC = re.findall(rf"^\| (\w+) \|{CELL}\|{CELL}\| (\d+) \|", NOTES, re.MULTILINE)


def test_the_rubric_has_a_sample_for_every_exercise():
    assert {row[0] for row in RUBRIC} == set(POINTS) - {"capstone"}


@pytest.mark.parametrize("row", RUBRIC, ids=[f"{row[0]}-{k}" for k, row in enumerate(RUBRIC)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the answer that overflows
def test_a_sample_answer_gets_the_points_of_the_rubric(exercise, row):
    name, right, wrong, points = row
    text = answer((EXERCISES / "solutions" / f"{name}.py").read_text(), right, wrong)
    earned = 0
    for path, test in exercise(name, text).items():
        try:
            test()
        except AssertionError:
            continue
        earned += POINTS[name][path]
    assert earned == int(points)


def test_a_sample_answer_gets_the_same_points_from_score(tmp_path):
    name, right, wrong, points = next(row for row in RUBRIC if row[0] == "adam")
    text = answer((EXERCISES / "solutions" / f"{name}.py").read_text(), right, wrong)
    (tmp_path / f"{name}.py").write_text(text)
    (result,) = score(tmp_path, EXERCISES, only=name)
    assert result.points == int(points)


@pytest.mark.slow
def test_nbgrader_gives_a_solution_all_points_and_a_stub_none(tmp_path):
    """The commands of the notes, on one exercise."""
    if not (Path(sys.executable).parent / "nbgrader").exists():
        pytest.skip("nbgrader, a hundred megabytes, is not among what the tests need")
    commands = re.search(r"<!-- nbgrader -->\n```bash\n(.*?)```", NOTES, re.DOTALL)[1].splitlines()
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in commands:
        if command.startswith("cp "):
            notebook = EXERCISES / "nbgrader" / "source" / "exercises" / "adam.ipynb"
            for folder in ("source/exercises", "submitted/ada/exercises", "submitted/bob/exercises"):
                (tmp_path / folder).mkdir(parents=True)
                shutil.copy(notebook, tmp_path / folder)
            continue
        subprocess.run(command.split(), cwd=tmp_path, env=environment, check=True, capture_output=True)
        released = tmp_path / "release" / "exercises" / "adam.ipynb"
        if "generate" in command:
            assert "s_hat**0.5" not in released.read_text()
            shutil.copy(released, tmp_path / "submitted" / "bob" / "exercises")
    with open(tmp_path / "grades.csv", newline="") as file:
        grades = {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in csv.DictReader(file)}
    assert grades == {"ada": (10, 10), "bob": (0, 10)}


@pytest.mark.parametrize("lesson", make_slides.LESSONS)
def test_slides_keep_the_order_of_question_picture_and_answer(lesson):
    cells = make_slides.slides_of(nbformat.read(EXAMPLES / lesson, as_version=4).cells)
    kinds = [cell.metadata["slideshow"]["slide_type"] for cell in cells]
    assert kinds[0] == "slide" and kinds.count("slide") > 4
    asked = [k for k, cell in enumerate(cells) if cell.source.startswith("**Predict.**")]
    assert len(asked) > 4
    for k in asked:
        following = cells[k + 1 :]
        shown = next(j for j, cell in enumerate(following) if cell.cell_type == "code")
        text = next(cell for cell in following[shown:] if cell.cell_type == "markdown")
        assert text.source.startswith("**Answer.**")
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    assert all(len(text) <= make_slides.MOST_CHARACTERS or text.count("\n\n") <= 1 for text in texts), "one paragraph"
    assert not any("<details>" in text for text in texts)


def test_slides_are_written(tmp_path):
    pytest.importorskip("nbconvert")
    path = make_slides.make(EXAMPLES / make_slides.LESSONS[0], tmp_path / "slides", modules="node_modules")
    html = path.read_text()
    assert html.count("<section") > 20 and "node_modules/reveal.js" in html and "image/png" in html
