"""The exercises: build.py wrote what is committed, solutions pass, stubs say what to write, mistakes are named."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from wrong_answers import WRONG_ANSWERS, answer

FOLDER = Path(__file__).parents[2] / "examples" / "exercises"
BUILD = runpy.run_path(str(FOLDER / "build.py"))
POINTS = json.loads((FOLDER / "points.json").read_text())
NAMES = tuple(name for name in POINTS if name != "capstone")  # which trains: teaching/test_score.py runs it
WHO_CHECKS = ("depthwise", "batchnorm", "attention", "squeeze")  # those whose task names minifer gradcheck


def solution(name):
    return (FOLDER / "solutions" / f"{name}.py").read_text()


def test_what_is_committed_is_what_build_writes():
    files = BUILD["generated"]()
    assert {path.stem for path in files} == {path.stem for path in (FOLDER / "source").glob("*.py")} == set(POINTS)
    for path, text in files.items():
        assert path.read_text() == text, f"run examples/exercises/build.py: {path.name} is not what source/ says"


@pytest.mark.parametrize("name", POINTS)
def test_no_stub_holds_a_line_of_its_solution(name):
    stub, source = (FOLDER / f"{name}.py").read_text(), (FOLDER / "source" / f"{name}.py").read_text()
    answers = [match["answer"] for match in BUILD["REGION"].finditer(source)]
    assert len(answers) == source.count("BEGIN SOLUTION") == stub.count("raise NotImplementedError(") > 0
    lines = {line.strip() for text in answers for line in text.splitlines()} - {""}
    ours = {line.strip() for line in stub.splitlines()}
    assert not lines & ours
    assert "SOLUTION" not in stub + solution(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_passes(exercise, name):
    tests = exercise(name, solution(name))
    assert set(tests) == set(POINTS[name]), "points.json names the tests"
    for test in tests.values():
        test()


def test_the_copy_for_students_fails_and_says_what_to_write(tmp_path):
    """As a student runs them: in a copy outside the checkout, which holds no solution."""
    folder = tmp_path / "mine"
    subprocess.run([sys.executable, FOLDER / "build.py", "--students", folder], check=True)
    assert not [path for path in folder.rglob("*") if "SOLUTION" in path.read_text() or path.is_dir()]
    assert not (folder / "slow_and_fast.py").exists()  # it computes an exercise's forward pass
    readme = (folder / "README.md").read_text()
    assert "teachers" not in readme
    assert all((folder / link).exists() for link in re.findall(r"\]\((\w+\.\w+)\)", readme))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 1 and " passed" not in result.stdout
    for hint in (
        "return y, and keep in self what backward needs",
        r"BatchNorm.backward is still to be written \(batchnorm.py, line \d+\): set self.gamma.grad and self.beta.grad",
        r"Attention.backward is still to be written \(attention.py, line \d+\): return dquery, dkey, dvalue",
        "return value, mean, square: five lines",
        "compare metric with self.best",
        "return the loss, one number",
        r"SqueezeExcitation.forward is still to be written \(squeeze.py, line \d+\): return y",
    ):
        assert re.search(hint, result.stdout), hint


def test_the_commands_in_the_exercises_run(capsys, monkeypatch):
    from minifer.cli import main

    monkeypatch.chdir(FOLDER)
    for name in WHO_CHECKS:
        command = re.search(r"^    minifer (gradcheck .*)$", (FOLDER / f"{name}.py").read_text(), re.MULTILINE)[1]
        assert main(command.split()) == 1
        assert "is still to be written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "right", "wrong", "fail", "told"), WRONG_ANSWERS, ids=[f"{row[0]}-{row[4][:40]}" for row in WRONG_ANSWERS]
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a student's root of a negative number
def test_a_wrong_answer_fails_its_tests_and_is_told_what_is_likely_wrong(exercise, name, right, wrong, fail, told):
    said = {}
    for path, test in exercise(name, answer(solution(name), right, wrong)).items():
        try:
            test()
        except AssertionError as error:
            said[path] = str(error)
    assert set(said) == fail
    assert re.search(told, "\n".join(said.values())), said


@pytest.mark.parametrize("name", ["depthwise", "crossentropy", "squeeze"])
def test_a_wrong_forward_does_not_make_the_gradients_test_guess_at_backward(exercise, name):
    """The backward pass is right for the right forward pass: nothing about it may be suggested."""
    wrong = {"depthwise": ("y += ", "y -= "), "crossentropy": ("].mean()", "].mean() * 2"),
        "squeeze": ("return x * gate[:, None, None]", "return 2 * x * gate[:, None, None]")}[name]  # fmt: skip
    tests = exercise(name, answer(solution(name), *wrong))
    with pytest.raises(AssertionError) as caught:
        tests["test_gradients"]()
    assert "forward is wrong as well" in str(caught.value) and "likely" not in str(caught.value)
