"""The capstone: the budget holds, nobody chooses more than is his to choose, and the picture shows who is in front."""

import runpy
import shutil
from pathlib import Path

import pytest
from PIL import Image

from minifer.errors import ConfigError, DataError
from minifer.layers import Flatten, Linear, Sequential
from minifer.teaching import capstone
from minifer.teaching.command import main

EXERCISES = Path(__file__).parents[2] / "examples" / "exercises"
MEASURED = {
    "ada": {"accuracy": 0.98, "multiply_adds": 40_000},
    "bob": {"accuracy": 0.95, "multiply_adds": 600},
    "cleo": {"accuracy": 0.94, "multiply_adds": 9_000},
    "dan": {"accuracy": 0.98, "multiply_adds": 45_000},
}


def linear(input_shape, classes, rng):
    return Sequential(flat=Flatten(), classifier=Linear(64, classes, rng=rng))


def wide(input_shape, classes, rng):
    return Sequential(flat=Flatten(), hidden=Linear(64, 900, rng=rng), classifier=Linear(900, classes, rng=rng))


def test_a_submission_is_counted_trained_and_measured():
    result = capstone.measure(linear, {"epochs": 2, "learning_rate": 0.02, "shift": 0.0, "rotation": 0.0})
    assert (result["multiply_adds"], result["parameters"]) == (640, 650)
    assert 0.5 < result["accuracy"] < 1


@pytest.mark.slow
def test_the_worked_solution_earns_every_point():
    own = runpy.run_path(str(EXERCISES / "solutions" / "capstone.py"))
    assert capstone.measure(own["network"], own["SETTINGS"])["accuracy"] >= 0.97


def test_over_the_budget_nothing_is_trained():
    with pytest.raises(DataError, match=r"66,600 multiply-adds, the budget is 50,000; 67,510 parameters"):
        capstone.measure(wide, {})


@pytest.mark.parametrize(
    "settings", [{"pretrained": "best"}, {"epochs": 31}, {"epochs": "25"}, {"teacher": "a.csv"}, {"learning_rate": -1}]
)
def test_settings_that_are_not_theirs_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        capstone.measure(linear, settings)


def test_nobody_in_front_is_beaten_in_both():
    assert capstone.frontier(MEASURED) == ["bob", "ada"]
    assert capstone.frontier({}) == []
    twins = MEASURED | {"eve": MEASURED["ada"], "fay": MEASURED["dan"]}
    assert capstone.frontier(twins) == ["bob", "ada", "eve"], "the same answer twice is in front twice"


def test_the_picture(tmp_path):
    capstone.draw(MEASURED, tmp_path / "pareto.png")
    assert Image.open(tmp_path / "pareto.png").width > 500


def test_submissions_that_cannot_be_measured_are_listed(tmp_path, capsys):
    for name in ("stub", "nonsense"):
        (tmp_path / name).mkdir()
    shutil.copy(EXERCISES / "capstone.py", tmp_path / "stub")
    (tmp_path / "nonsense" / "capstone.py").write_text("network = 7\n")
    assert main(["pareto", str(tmp_path), "--tests", str(EXERCISES), "--draw", str(tmp_path / "none.png")]) == 0
    said = capsys.readouterr().out
    assert "stub" in said and "return an nn.Sequential" in said and "nonsense" in said
    assert not (tmp_path / "none.png").exists()


def test_a_folder_without_submissions_is_one_line(tmp_path, capsys):
    assert main(["pareto", str(tmp_path)]) == 1
    assert "no folder in it holds a capstone.py" in capsys.readouterr().err
