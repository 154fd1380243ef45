"""The exercises: the package's own reference kernels solve them, the stubs say what to write, mistakes are named."""

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minifer import schedules
from minifer.kernels.attention import attention_backward
from minifer.kernels.depthwise import depthwise_forward, depthwise_grad_weight, depthwise_grad_x
from minifer.kernels.normalization import normalize_grad_x, normalize_sums
from minifer.kernels.update import adam_update

FOLDER = Path(__file__).parents[1] / "examples" / "exercises"
NAMES = ("depthwise", "batchnorm", "attention", "adam", "plateau")
PADDING = (1, 1, 1, 1)


def depthwise_solution_forward(self, x, training=False):
    self.save(training, x)
    return depthwise_forward.reference(x, self.weight.value, 1, PADDING)


def depthwise_solution_backward(self, dy):
    (x,) = self.saved()
    self.weight.grad = depthwise_grad_weight.reference(x, dy, 1, PADDING, 3, 3)
    return depthwise_grad_x.reference(dy, self.weight.value, 1, PADDING, *x.shape[1:3])


def batchnorm_solution(self, dy):
    x_hat, inv_std = self.saved()
    # The kernel standardizes x itself; x_hat has the mean 0 and the inverse std 1, what is left is a factor.
    zero, one = np.zeros_like(inv_std), np.ones_like(inv_std)
    given = (dy, x_hat, zero, one, self.gamma.value, self.beta.value, -np.inf, np.inf)
    self.gamma.grad, self.beta.grad = normalize_sums.reference(*given)
    return normalize_grad_x.reference(*given, self.gamma.grad, self.beta.grad) * inv_std


def attention_solution(self, dy):
    query, key, value, _ = self.saved()
    one_head = [array[:, :, None] for array in (dy, query, key, value)]
    gradients = attention_backward.reference(*one_head, None, None, query.shape[-1] ** -0.5)
    return tuple(gradient[:, :, 0] for gradient in gradients)


def adam_solution(value, mean, square, grad, step, learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
    value, mean, square = value.copy(), mean.copy(), square.copy()
    adam_update.reference(value, mean, square, grad, learning_rate, beta1, beta2, eps, 0.0, 0, step)
    return value, mean, square


def plateau_solution(self, metric):
    schedule = schedules.ReduceOnPlateau(
        1.0, self.factor, self.patience, min_delta=0.0, min_learning_rate=self.min_learning_rate
    )
    schedule.load_state({"learning_rate": self.learning_rate, "best": self.best, "waited": self.waited, "cooling": 0})
    schedule.end_epoch(metric)
    self.learning_rate, self.best, self.waited = schedule.current, schedule.best, schedule.waited


SOLUTIONS = {
    "depthwise": {"Depthwise.forward": depthwise_solution_forward, "Depthwise.backward": depthwise_solution_backward},
    "batchnorm": {"BatchNorm.backward": batchnorm_solution},
    "attention": {"Attention.backward": attention_solution},
    "adam": {"adam_step": adam_solution},
    "plateau": {"ReduceOnPlateau.end_epoch": plateau_solution},
}


@pytest.fixture
def exercise(monkeypatch):
    """A function that puts answers into an exercise and returns its tests."""
    monkeypatch.syspath_prepend(FOLDER)

    def load(name, answers):
        for module in (name, f"test_{name}"):
            monkeypatch.delitem(sys.modules, module, raising=False)
        module = importlib.import_module(name)
        for path, function in answers.items():
            *holder, attribute = path.split(".")
            monkeypatch.setattr(getattr(module, holder[0]) if holder else module, attribute, function)
        tests = importlib.import_module(f"test_{name}")
        return [function for path, function in vars(tests).items() if path.startswith("test_")]

    yield load
    for name in NAMES:
        sys.modules.pop(name, None)
        sys.modules.pop(f"test_{name}", None)


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_passes(exercise, name):
    tests = exercise(name, SOLUTIONS[name])
    assert tests
    for test in tests:
        test()


def test_the_stubs_fail_and_say_what_to_write(tmp_path):
    """As a student runs them: a copy of the folder, outside the checkout."""
    shutil.copytree(FOLDER, tmp_path / "exercises", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "exercises"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 1 and " passed" not in result.stdout
    for hint in (
        "return y, and keep in self what backward needs",
        r"BatchNorm.backward is still to be written \(batchnorm.py, line \d+\): set self.gamma.grad and self.beta.grad",
        r"Attention.backward is still to be written \(attention.py, line \d+\): return dquery, dkey, dvalue",
        "return value, mean, square: five lines",
        "compare metric with self.best",
    ):
        assert re.search(hint, result.stdout), hint


def test_the_commands_in_the_exercises_run(capsys, monkeypatch):
    from minifer.cli import main

    monkeypatch.chdir(FOLDER)
    for name in ("depthwise", "batchnorm", "attention"):
        command = re.search(r"^    minifer (gradcheck .*)$", (FOLDER / f"{name}.py").read_text(), re.MULTILINE)[1]
        assert main(command.split()) == 1
        assert "is still to be written" in capsys.readouterr().out


def depthwise_rotated(self, x, training=False):
    self.save(training, x)
    return depthwise_forward.reference(x, self.weight.value[::-1, ::-1], 1, PADDING)


def depthwise_without_crop(self, dy):
    (x,) = self.saved()
    self.weight.grad = depthwise_grad_weight.reference(x, dy, 1, PADDING, 3, 3)
    return depthwise_grad_x.reference(dy, self.weight.value, 1, (0, 2, 0, 2), *x.shape[1:3])


def batchnorm_of_constants(self, dy):
    x_hat, inv_std = self.saved()
    self.gamma.grad, self.beta.grad = (dy * x_hat).sum(axis=0), dy.sum(axis=0)
    return self.gamma.value * inv_std * dy


def attention_without_scale(self, dy):
    saved = self._saved
    dquery, dkey, dvalue = attention_solution(self, dy)
    scale = np.sqrt(saved[0].shape[-1])
    return dquery * scale, dkey * scale, dvalue


def adam_without_correction(value, mean, square, grad, step, **settings):
    return adam_solution(value, mean, square, grad, 10**6, **settings)


def adam_with_epsilon_under_the_root(
    value, mean, square, grad, step, learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-8
):
    mean, square = beta1 * mean + (1 - beta1) * grad, beta2 * square + (1 - beta2) * grad**2
    m_hat, s_hat = mean / (1 - beta1**step), square / (1 - beta2**step)
    return value - learning_rate * m_hat / np.sqrt(s_hat + eps), mean, square


def plateau_one_too_late(self, metric):
    if self.best is None or metric > self.best:
        self.best, self.waited = metric, 0
        return
    self.waited += 1
    if self.waited > self.patience:
        self.learning_rate, self.waited = max(self.learning_rate * self.factor, self.min_learning_rate), 0


def plateau_that_keeps_waiting(self, metric):
    if self.best is None or metric > self.best:
        self.best, self.waited = metric, 0
        return
    self.waited += 1
    if self.waited >= self.patience:
        self.learning_rate = max(self.learning_rate * self.factor, self.min_learning_rate)


def plateau_of_all_epochs(self, metric):
    if self.best is None or metric > self.best:
        self.best = metric
        return
    self.waited += 1
    if self.waited >= self.patience:
        self.learning_rate, self.waited = max(self.learning_rate * self.factor, self.min_learning_rate), 0


def plateau_of_the_last(self, metric):
    if self.best is None or metric > self.best:
        self.waited = 0
    else:
        self.waited += 1
    self.best = metric
    if self.waited >= self.patience:
        self.learning_rate, self.waited = max(self.learning_rate * self.factor, self.min_learning_rate), 0


def plateau_without_floor(self, metric):
    floor, self.min_learning_rate = self.min_learning_rate, 0.0
    plateau_solution(self, metric)
    self.min_learning_rate = floor


WRONG = [  # exercise, answers, what the student is told
    ("depthwise", {"Depthwise.forward": depthwise_rotated}, "the filter is rotated by 180 degrees"),
    ("depthwise", {"Depthwise.backward": depthwise_without_crop}, "shifted by one along axes 1 and 2"),
    ("batchnorm", {"BatchNorm.backward": batchnorm_of_constants}, "mean and the variance are treated as constants"),
    ("attention", {"Attention.backward": attention_without_scale}, r"divide by the root of 3.*1 / sqrt\(D\)"),
    ("adam", {"adam_step": adam_without_correction}, r"the corrections 1 - beta\^step are missing"),
    ("adam", {"adam_step": adam_with_epsilon_under_the_root}, "eps is added under the root"),
    ("plateau", {"ReduceOnPlateau.end_epoch": plateau_one_too_late}, "one epoch too late"),
    ("plateau", {"ReduceOnPlateau.end_epoch": plateau_that_keeps_waiting}, "not set back at a reduction"),
    ("plateau", {"ReduceOnPlateau.end_epoch": plateau_of_all_epochs}, "have to be in a row"),
    ("plateau", {"ReduceOnPlateau.end_epoch": plateau_of_the_last}, "the one before instead of the best"),
    ("plateau", {"ReduceOnPlateau.end_epoch": plateau_without_floor}, "the rate falls below min_learning_rate"),
]


@pytest.mark.parametrize(("name", "answers", "told"), WRONG, ids=[row[2][:40] for row in WRONG])
def test_a_wrong_answer_is_told_what_is_likely_wrong(exercise, name, answers, told):
    said = []
    for test in exercise(name, {**SOLUTIONS[name], **answers}):
        try:
            test()
        except AssertionError as error:
            said.append(str(error))
    assert re.search(told, "\n".join(said)), said
