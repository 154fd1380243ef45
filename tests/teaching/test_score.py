"""Scores: what counts, what is named, and that one student's file costs no other exercise its points."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from minifer.errors import ConfigError
from minifer.teaching import score as score_module
from minifer.teaching.command import main
from minifer.teaching.score import score

EXERCISES = Path(__file__).parents[2] / "examples" / "exercises"
SOLUTIONS = EXERCISES / "solutions"
POINTS = json.loads((EXERCISES / "points.json").read_text())
POINTS.pop("capstone")
TROUBLES = {
    "batchnorm": "1 / 0\n",
    "attention": "import sys\nsys.exit(0)\n",
    "crossentropy": "import pytest\npytest.skip('not today', allow_module_level=True)\n",
    "squeeze": "this is no Python\n",
}
HANGS = """
first = adam_step

def adam_step(value, *rest, **more):
    while value.ndim > 1:
        pass
    return first(value, *rest, **more)
"""
LEAVES = "import os\nclass ReduceOnPlateau:\n    def __init__(self, *rest, **more):\n        os._exit(0)\n"


@pytest.fixture(scope="module")
def tests_folder(tmp_path_factory):
    """The exercises' tests without the capstone's, which train: test_capstone.py has those."""
    folder = tmp_path_factory.mktemp("tests")
    for name in POINTS:
        shutil.copy(EXERCISES / f"test_{name}.py", folder)
    (folder / "points.json").write_text(json.dumps(POINTS))
    return folder


def test_solutions_get_all_points_in_the_table_in_json_and_in_junit(capsys, tmp_path, tests_folder):
    junit = tmp_path / "score.xml"
    assert main(["score", str(SOLUTIONS), "--tests", str(tests_folder), "--json", "--junit", str(junit)]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert "without a sandbox" in said.err
    assert document["points"] == document["possible"] == sum(sum(tests.values()) for tests in POINTS.values())
    assert {name: list(exercise["tests"]) for name, exercise in document["exercises"].items()} == {
        name: list(tests) for name, tests in POINTS.items()
    }
    suites = ElementTree.parse(junit).getroot()
    assert [suite.get("name") for suite in suites] == list(POINTS)
    assert {(suite.get("failures"), suite.get("errors"), suite.get("skipped")) for suite in suites} == {("0", "0", "0")}


@pytest.fixture(scope="module")
def troubled(tmp_path_factory, tests_folder):
    """Scores of a folder where every file but one is in trouble of another kind."""
    folder = tmp_path_factory.mktemp("student")
    shutil.copy(SOLUTIONS / "depthwise.py", folder)
    for name, text in TROUBLES.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "adam.py").write_text((SOLUTIONS / "adam.py").read_text() + HANGS)
    (folder / "plateau.py").write_text(LEAVES)
    (folder / "random.py").write_text("raise RuntimeError('not the random of Python')\n")
    return {exercise.name: exercise for exercise in score(folder, tests_folder, seconds=25)}


def test_a_file_in_trouble_costs_its_own_points_only(troubled):
    assert {name for name, exercise in troubled.items() if exercise.points} == {"depthwise", "adam"}
    assert troubled["depthwise"].points == troubled["depthwise"].possible


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("batchnorm", "ZeroDivisionError"),
        ("attention", "ended with exit code"),
        ("crossentropy", "not today"),
        ("squeeze", "SyntaxError"),
        ("plateau", "ended|not collected|never"),
    ],
)
def test_what_did_not_run_is_named_and_says_why(troubled, name, said):
    assert [test.name for test in troubled[name].tests] == list(POINTS[name])
    for test in troubled[name].tests:
        assert test.outcome != "passed" and test.points == 0
        assert any(part in test.message for part in said.split("|")), test


def test_a_hang_costs_the_tests_from_there_on(troubled):
    first, five, arguments = troubled["adam"].tests
    assert (first.outcome, first.points) == ("passed", 3)
    assert five.outcome == arguments.outcome == "not run"
    assert "not finished after 25 seconds" in five.message


def own_exercise(folder, tests, answer="def double(x):\n    return 2 * x\n", points=None):
    """Write an exercise called `own` into a folder."""
    (folder / "own.py").write_text(answer)
    (folder / "test_own.py").write_text(f"import pytest\nfrom own import double\n{tests}")
    (folder / "points.json").write_text(json.dumps({"own": points}))


def test_skipped_deselected_and_missing_tests_earn_nothing(tmp_path):
    own_exercise(
        tmp_path,
        "def test_passes():\n    assert double(2) == 4\n"
        "def test_skips():\n    pytest.skip('no time')\n"
        "@pytest.mark.xfail\ndef test_may_fail():\n    assert double(2) == 4\n"
        "def test_deselected():\n    pass\n"
        "@pytest.mark.parametrize('x', [1, 2])\ndef test_cases(x):\n    assert double(x) == 2\n"
        "@pytest.fixture\ndef late():\n    yield\n    raise RuntimeError('late')\n"
        "def test_teardown(late):\n    pass\n",
        points=dict.fromkeys(
            (
                "test_passes",
                "test_skips",
                "test_may_fail",
                "test_deselected",
                "test_cases",
                "test_teardown",
                "test_gone",
            ),
            1,
        ),
    )
    (tmp_path / "conftest.py").write_text(
        "def pytest_collection_modifyitems(items):\n    items[:] = [i for i in items if i.name != 'test_deselected']\n"
    )
    (exercise,) = score(tmp_path)
    assert {test.name: test.outcome for test in exercise.tests} == {
        "test_passes": "passed",
        "test_skips": "skipped",
        "test_may_fail": "skipped",
        "test_deselected": "not run",
        "test_cases": "failed",
        "test_teardown": "failed",
        "test_gone": "not run",
    }
    assert exercise.points == 1


def test_hidden_tests_take_the_place_of_the_students(tmp_path):
    student, hidden = tmp_path / "student", tmp_path / "hidden"
    student.mkdir()
    hidden.mkdir()
    own_exercise(student, "def test_it():\n    pass\n", "def double(x):\n    return 4\n", {"test_it": 1})
    own_exercise(
        hidden,
        "from helper import right\n"
        "def test_two():\n    assert double(2) == 4\n"
        "def test_three():\n    assert double(3) == right\n",
        points={"test_two": 1, "test_three": 2},
    )
    (hidden / "helper.py").write_text("right = 6\n")
    (exercise,) = score(student, hidden)
    assert [(test.name, test.points) for test in exercise.tests] == [("test_two", 1), ("test_three", 0)]
    assert exercise.tests[1].outcome == "failed"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "points.json is missing: give a folder of exercises"),
        ("[]", "points.json"),
        ("{}", "points.json names no exercise"),
        ('{"own": {"test_it": "many"}}', "own: test_it is 'many'"),
        ('{"own": 3}', "points.json: own"),
        ('{"../own": {}}', "no name of an exercise"),
        ("{", "points.json"),
    ],
)
def test_damaged_points_are_one_line(tmp_path, capsys, text, said):
    if text is not None:
        (tmp_path / "points.json").write_text(text)
    assert main(["score", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_wrong_usage(tmp_path, capsys):
    assert main(["score", str(tmp_path / "nowhere")]) == 1
    assert main(["score", str(tmp_path), "--seconds", "0"]) == 2
    assert main(["grade"]) == 2
    with pytest.raises(ConfigError):
        score(tmp_path, tmp_path)
    assert "Traceback" not in capsys.readouterr().err


def test_a_report_that_cannot_be_written_costs_no_score(tmp_path, capsys):
    own_exercise(tmp_path, "def test_it():\n    assert double(2) == 4\n", points={"test_it": 3})
    assert main(["score", str(tmp_path), "--junit", str(tmp_path / "nowhere" / "score.xml")]) == 1
    said = capsys.readouterr()
    assert "3 of 3 points" in said.out and "cannot write" in said.err.splitlines()[-1]


@pytest.mark.parametrize(("verb", "flag"), [("score", "--junit"), ("pareto", "--draw")])
def test_no_answer_is_written_over(tmp_path, capsys, verb, flag):
    own_exercise(tmp_path, "def test_it():\n    assert double(2) == 4\n", points={"test_it": 3})
    answer = (tmp_path / "own.py").read_text()
    assert main([verb, str(tmp_path), flag, str(tmp_path / "own.py")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "own.py holds something else than a" in said.err
    assert (tmp_path / "own.py").read_text() == answer


def test_it_is_a_program():
    command = [sys.executable, "-m", "minifer.testing", "--help"]
    assert "score" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_an_interruption_ends_what_runs(tmp_path, monkeypatch):
    """Ctrl-C reaches this process alone: it must not wait for the limit of those that it started."""
    own_exercise(tmp_path, "def test_it():\n    pass\n")
    (tmp_path / "hangs.py").write_text("while True:\n    pass\n")
    (tmp_path / "test_hangs.py").write_text("import hangs\n")
    (tmp_path / "points.json").write_text('{"own": {"test_it": 1}, "hangs": {"test_it": 1}}')
    ended, end = [], score_module.end
    monkeypatch.setattr(score_module, "end", lambda process: ended.append(process) or end(process))

    def interrupted(exercise, lines, how):
        if exercise.name == "own":
            raise KeyboardInterrupt

    monkeypatch.setattr(score_module, "judge", interrupted)
    with pytest.raises(KeyboardInterrupt):
        score(tmp_path, seconds=600)
    assert all(process.returncode is not None for process in ended)
