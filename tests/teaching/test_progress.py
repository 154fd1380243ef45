"""A student's progress: what counts as an attempt, as solved, and as the next step."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minifer.teaching.command import main
from minifer.teaching.progress import FILE, note, status

EXERCISES = Path(__file__).parents[2] / "examples" / "exercises"
RIGHT = {"test_first_step": "", "test_five_steps": "", "test_arguments_are_left_alone": ""}
WRONG = RIGHT | {"test_five_steps": "AssertionError: result 0[1] is 1, expected 2\n    likely: eps is missing"}


@pytest.fixture
def folder(tmp_path):
    for name in ("points.json", "adam.py", "test_adam.py", "conftest.py"):
        shutil.copy(EXERCISES / name, tmp_path)
    return tmp_path


def row(folder, name="adam"):
    return next(line.split() for line in status(folder).splitlines() if line.startswith(name))


def test_at_first_nothing_has_begun(folder):
    assert row(folder)[1:3] == ["not", "begun"]
    assert status(folder).splitlines()[-1] == "Next: open depthwise.py, then   pytest test_depthwise.py"


def test_an_attempt_is_a_run_after_a_change_that_is_more_than_a_gap(folder):
    answer = folder / "adam.py"
    note(folder, "adam", dict.fromkeys(RIGHT, "NotImplementedError: five lines"))
    assert row(folder)[-1] == "0"
    answer.write_text("# one\n")
    note(folder, "adam", WRONG)
    note(folder, "adam", WRONG)
    assert row(folder) == ["adam", "in", "work", "5", "of", "10", "1"]
    answer.write_text("# two\n")
    note(folder, "adam", RIGHT)
    assert row(folder) == ["adam", "solved", "10", "of", "10", "2"]


def test_an_answer_that_has_changed_is_solved_no_longer(folder):
    note(folder, "adam", RIGHT)
    (folder / "adam.py").write_text("# another\n")
    assert row(folder) == ["adam", "changed", "since", "0", "of", "10", "1"]


def test_one_test_alone_does_not_solve_an_exercise_but_adds_up(folder):
    note(folder, "adam", {"test_first_step": ""})
    assert row(folder)[1:4] == ["in", "work", "3"]
    note(folder, "adam", {"test_five_steps": "", "test_arguments_are_left_alone": ""})
    assert row(folder)[1] == "solved"


def test_the_next_step_says_what_failed(folder):
    (folder / "points.json").write_text(json.dumps({"adam": dict.fromkeys(RIGHT, 1)}))
    note(folder, "adam", WRONG)
    assert status(folder).splitlines()[-2:] == [
        "Next: open adam.py, then   pytest test_adam.py",
        "    test_five_steps: AssertionError: result 0[1] is 1, expected 2",
    ]
    note(folder, "adam", RIGHT)
    assert status(folder).splitlines()[-1] == "All solved."


@pytest.mark.parametrize("text", ["{", "[]", '{"adam": {}}', '{"adam": {"attempts": -1}}'])
def test_a_damaged_file_is_one_line(folder, capsys, text):
    (folder / FILE).write_text(text)
    assert main(["status", str(folder)]) == 1
    assert FILE in capsys.readouterr().err


def test_pytest_in_the_folder_writes_it(folder):
    """As a student runs it, here from the folder above."""
    shutil.copy(EXERCISES / "solutions" / "adam.py", folder)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder / "test_adam.py"]
    subprocess.run(command, cwd=folder.parent, capture_output=True, check=True)
    assert row(folder) == ["adam", "solved", "10", "of", "10", "1"]
