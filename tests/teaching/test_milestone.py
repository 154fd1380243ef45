"""The milestone: right layers reach it, and not one gradient may be missing."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from minifer.errors import LayerError
from minifer.teaching import digits
from minifer.teaching.command import main
from minifer.teaching.milestone import NAMES, build, load, milestone, train

EXERCISES = Path(__file__).parents[2] / "examples" / "exercises"
SOLUTIONS = EXERCISES / "solutions"
ZEROED = [  # file, what stands there, the same with a gradient of zero, what the gradient check calls it
    ("depthwise.py", "self.weight.grad = dweight", "self.weight.grad = 0 * dweight", "weight"),
    ("depthwise.py", "return dpadded[", "return 0 * dpadded[", "dx"),
    ("batchnorm.py", "(dy * x_hat).sum(axis=0)", "0 * (dy * x_hat).sum(axis=0)", "gamma"),
    ("batchnorm.py", "self.beta.grad = ", "self.beta.grad = 0 * ", "beta"),
    ("batchnorm.py", "return inv_std * (", "return 0 * inv_std * (", "dx"),
    ("attention.py", "return dscores @ key", "return 0 * dscores @ key", "dquery"),
    ("attention.py", ", dscores.swapaxes(1, 2) @ query", ", 0 * dscores.swapaxes(1, 2) @ query", "dkey"),
    ("attention.py", ", dvalue\n", ", 0 * dvalue\n", "dvalue"),
    ("adam.py", "m_hat / (s_hat**0.5", "0 * m_hat / (s_hat**0.5", "step 1"),
]
each_zero = pytest.mark.parametrize(
    ("file", "right", "zero", "name"), ZEROED, ids=[f"{row[0]}-{row[3]}" for row in ZEROED]
)


@pytest.fixture
def mine(tmp_path):
    """A function that returns a student's folder with one line changed."""

    def changed(file=None, right="", wrong=""):
        for name in NAMES.values():
            shutil.copy(SOLUTIONS / name, tmp_path)
        if file:
            text = (SOLUTIONS / file).read_text()
            assert text.count(right) == 1
            (tmp_path / file).write_text(text.replace(right, wrong))
        return tmp_path

    return changed


def test_right_layers_pass_everything_but_a_floor_that_nobody_reaches(mine):
    """The short form: one epoch, which is far from enough for the accuracy that is asked for."""
    folder = mine()
    result = milestone(folder, epochs=1, floor=1.01)
    assert [what for what, right, _ in result.findings if not right] == ["accuracy"] and not result.reached
    said = str(result)
    for name, file in NAMES.items():
        assert f"{name} of {folder / file}" in said, "it says which class ran, and from which file"
    assert "1 in the network, 34 times forward, 34 back" in said and "5 in the network, 170 times" in said
    assert "all 20 arrays of weights have moved" in said


@each_zero
def test_a_gradient_of_zero_is_found_by_the_check(mine, file, right, zero, name):
    result = milestone(mine(file, right, zero))
    wrong = {what: words for what, right, words in result.findings if not right}
    layer = next(key for key, value in NAMES.items() if value == file)
    assert set(wrong) == {layer, "training"} and name in wrong[layer]


@each_zero
def test_a_gradient_of_zero_leaves_weights_where_they_are(mine, file, right, zero, name):
    """Without the gradient check, training alone would show it."""
    own, data = load(mine(file, right, zero)), digits.load()
    stay = train(build(own, np.random.default_rng(0)), own["adam_step"], data["train"], epochs=1, most_steps=2)
    assert stay


def test_two_steps_move_everything_with_right_layers(mine):
    own, data = load(mine()), digits.load()
    assert not train(build(own, np.random.default_rng(0)), own["adam_step"], data["train"], epochs=1, most_steps=2)


@pytest.mark.parametrize("breaks", ["assert height < 8", "if height == 8: raise SystemExit(0)"])
def test_code_that_breaks_only_in_training_is_told_with_its_line(mine, breaks):
    right = "height, width = dy.shape[1:3]"
    folder = mine("depthwise.py", right, f"{right}\n        {breaks}")
    what, right, words = milestone(folder).findings[-1]
    assert (what, right) == ("training", False) and "depthwise.py, line" in words


@pytest.mark.parametrize(
    ("file", "right", "breaks", "step"),
    [
        ("batchnorm.py", "self.eps = eps", "assert channels < 8", "training"),
        ("depthwise.py", "height, width = x.shape[1:3]", "assert training or len(x) < 100", "accuracy"),
    ],
    ids=["made", "used"],
)
def test_code_that_breaks_before_or_after_training_is_told_with_its_line(mine, file, right, breaks, step):
    result = milestone(mine(file, right, f"{right}\n        {breaks}"), epochs=1)
    what, right, words = result.findings[-1]
    assert (what, right) == (step, False) and f"{file}, line" in words


def test_stubs_do_not_reach_it(capsys):
    assert main(["milestone", "--mine", str(EXERCISES)]) == 1
    said = capsys.readouterr().out
    assert "still to be written" in said and said.count("FAIL") == 5 and said.endswith("milestone not reached\n")


def test_a_folder_without_answers_is_one_line(tmp_path, capsys):
    with pytest.raises(LayerError):
        milestone(tmp_path)
    assert main(["milestone", "--mine", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "depthwise.py").write_text("class Another: pass\n")
    assert main(["milestone", "--mine", str(tmp_path)]) == 1
    assert "it defines Another" in capsys.readouterr().err


def test_the_digits_are_parted_without_overlap():
    parts = digits.load()
    assert {name: len(part) for name, part in parts.items()} == {"train": 1079, "val": 359, "test": 359}
    assert all((np.array(list(part.counts().values())) > 20).all() for part in parts.values())
