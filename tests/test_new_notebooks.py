"""What notebooks 4 and 7 derive, computed again in another way."""

import math
import re

import numpy as np
import pytest
from run_notebooks import HERE, read
from sklearn.datasets import load_digits

from minifer import cost, layers
from minifer.counting import counted as counted_one_by_one
from minifer.losses import SoftmaxCrossEntropy
from minifer.models import BLOCKS, mobilenet, mobilenet_v2


def test_the_gradient_of_cross_entropy_is_what_was_said_minus_what_is_true(rng):
    logits, labels, h = rng.standard_normal((4, 5)), np.array([0, 3, 3, 1]), 1e-6

    def loss(z):
        return np.mean([np.log(np.exp(row).sum()) - row[k] for row, k in zip(z, labels, strict=True)])

    said = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    formula = (said - (np.arange(5) == labels[:, None])) / 4
    for place in np.ndindex(logits.shape):
        step = np.zeros_like(logits)
        step[place] = h
        assert (loss(logits + step) - loss(logits - step)) / (2 * h) == pytest.approx(formula[place], abs=1e-9)
    layer = SoftmaxCrossEntropy()
    assert layer.forward(logits, labels, training=True) == pytest.approx(loss(logits))
    np.testing.assert_allclose(layer.backward(), formula, atol=1e-12)
    assert float(layer.forward(np.zeros((4, 10)), labels)) == pytest.approx(math.log(10))


@pytest.mark.parametrize(("factor", "shrinks"), [(0.1, True), (1.9, True), (2.1, False)])
def test_a_step_on_a_parabola_shrinks_up_to_two_over_the_curvature(factor, shrinks):
    curvature, w = 3.7, 1.0
    for _ in range(50):
        w -= factor / curvature * (curvature * w)
    assert (abs(w) < 1) == shrinks


def test_the_steepest_curvature_of_the_linear_classifier():
    """The largest eigenvalue by power iteration, with products of the Hessian from differences of gradients."""
    digits = load_digits()
    x = np.column_stack([digits.data[:1200] / 8 - 1, np.ones(1200)])
    truth = np.eye(10)[digits.target[:1200]]

    def gradient(weight):
        e = np.exp(x @ weight)
        return x.T @ (e / e.sum(axis=1, keepdims=True) - truth) / len(x)

    v, h = np.random.default_rng(0).standard_normal((65, 10)), 1e-5
    for _ in range(60):
        v /= np.linalg.norm(v)
        product = (gradient(h * v) - gradient(-h * v)) / (2 * h)
        largest, v = (v * product).sum(), product
    assert largest == pytest.approx(np.linalg.eigvalsh(x.T @ x / len(x))[-1] / 10, rel=1e-3)
    assert 2 / largest == pytest.approx(0.71, abs=0.01), "the limit that notebook 4 prints"


def test_he_keeps_the_mean_square_and_a_factor_counts_at_each_layer(rng):
    h, n = rng.standard_normal((20, 100)), 100
    layers_of_weights = [rng.normal(0, np.sqrt(2 / n), (n, n)) for _ in range(60)]
    after = [(np.maximum(h @ weight, 0) ** 2).mean() for weight in layers_of_weights]
    assert np.mean(after) == pytest.approx((h**2).mean(), rel=0.05)
    ends = {}
    for scale in (0.5, 1.0, 2.0):
        y = h
        for weight in layers_of_weights[:7]:
            y = np.maximum(y @ (scale * weight), 0)
        ends[scale] = np.sqrt((y**2).mean())
    assert ends[0.5] / ends[1.0] == pytest.approx(0.5**7) and ends[2.0] / ends[1.0] == pytest.approx(2.0**7)


def test_the_nearest_mean_and_what_a_random_split_flatters():
    digits = load_digits()
    x, y = digits.data / 8 - 1, digits.target

    def nearest(a, b):
        means = np.stack([x[a][y[a] == k].mean(axis=0) for k in range(10)])
        return (((x[b][:, None] - means) ** 2).sum(axis=2).argmin(axis=1) == y[b]).mean()

    rows = np.arange(len(x))
    assert nearest(rows[:1200], rows[1200:]) == pytest.approx(0.881, abs=0.001)
    mixed = np.random.default_rng(0).permutation(len(x))
    assert nearest(mixed[:1200], mixed[1200:]) == pytest.approx(0.899, abs=0.01)


def test_as_many_people_wrote_the_digits_as_the_data_set_says():
    said = " ".join(load_digits().DESCR.split())
    assert "30 contributed to the training set and different 13 to the test set" in said
    assert "This is a copy of the test set" in said
    text = "\n".join(cell.source for cell in read(HERE / "04_from_zero.ipynb").cells)
    assert "1,797 pictures of 8 x 8 pixels, written by 13 people" in text


def inverted(c, wide, f, k, rng):
    """The multiply-adds of an inverted residual, as layers to be counted."""
    return layers.Sequential(
        layers.PointwiseConv2D(c, wide, rng=rng),
        layers.DepthwiseConv2D(wide, k, rng=rng),
        layers.SqueezeExcitation(wide, wide // 4, rng=rng),
        layers.PointwiseConv2D(wide, f, rng=rng),
    )


def test_the_blocks_of_the_family_by_counting_every_product(rng):
    p, c, f, k, wide = 4 * 3, 3, 5, 3, 12
    block = inverted(c, wide, f, k, rng)
    counted = cost.count(block, (4, 3, c)).multiply_adds
    assert counted == p * wide * (c + k * k + f) + 2 * wide * (wide // 4)
    assert counted_one_by_one(block, (4, 3, c)).forward == counted


def test_the_receptive_field_by_sets_of_pixels():
    """What each position depends on, followed back one layer at a time along one axis."""

    def field(stack):
        positions = {0}
        for kernel, stride in reversed(stack):
            positions = {stride * i + tap for i in positions for tap in range(kernel)}
        return len(range(min(positions), max(positions) + 1))

    def formula(stack):
        total, step = 1, 1
        for kernel, stride in stack:
            total, step = total + (kernel - 1) * step, step * stride
        return total

    ours = [(3, 1), (3, 1), (3, 2), (3, 1), (3, 2)]
    whole = [(3, 2), *((3, stride) for _, stride in BLOCKS)]
    assert field(ours) == formula(ours) == 15
    assert field(whole) == formula(whole) == 315


def test_memory_is_nearly_a_straight_line_in_the_batch():
    model = mobilenet("plain", input_shape=(224, 224, 3), classes=1000, outline=True)
    model.require_input_gradient(False)
    memories = {n: cost.training_memory(model, (224, 224, 3), n) for n in (16, 32, 64)}
    assert memories[16].fixed == 16 * 4_231_976 + 4 * (4_253_864 - 4_231_976)
    each = (memories[32].activations - memories[16].activations) / 16
    assert (memories[64].activations - memories[32].activations) / 32 == pytest.approx(each, rel=0.01)
    batch = cost.largest_batch(model, (224, 224, 3), 2e9)
    assert batch == pytest.approx((2e9 - memories[16].fixed) / each, abs=1)
    most = max(memories[32].layers, key=lambda row: row.stored)
    assert most.path in {"block2.depthwise", "block1.pointwise_norm"}
    assert most.stored == pytest.approx(32 * 3.2e6, rel=0.01)


def test_half_the_work_is_not_half_the_memory():
    work, stored = [], []
    for build in (mobilenet, mobilenet_v2):
        model = build(input_shape=(224, 224, 3), classes=1000, outline=True)
        model.require_input_gradient(False)
        work.append(cost.count(model, (224, 224, 3)).multiply_adds / 1e6)
        stored.append(cost.training_memory(model, (224, 224, 3), 32).stored)
    assert [round(value) for value in work] == [569, 301]
    assert stored[1] > stored[0]


def test_a_narrow_relu_loses_what_a_wide_one_keeps(rng):
    turns = np.linspace(0.3, 3, 100) * 2 * np.pi
    spiral = np.stack([turns * np.cos(turns), turns * np.sin(turns)], axis=1)
    lost = []
    for n in (2, 30):
        hidden = np.maximum(spiral @ rng.standard_normal((2, n)), 0)
        back = hidden @ np.linalg.lstsq(hidden, spiral, rcond=None)[0]
        lost.append(((back - spiral) ** 2).sum() / (spiral**2).sum())
    assert lost[0] > 0.1 and lost[1] < 0.01


@pytest.mark.parametrize("name", ["04_from_zero", "07_the_mobilenet_family"])
def test_every_figure_has_a_text_and_every_task_an_answer(name):
    notebook = read(HERE / f"{name}.ipynb")
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(figures) >= 5
    assert all(len(figure.metadata["image/png"]["alt"]) > 40 for figure in figures)
    (last,) = (cell.source for cell in notebook.cells if "**Try.**" in cell.source)
    tasks = re.findall(r"^\d+\. ", last.partition("**Try.**")[2], re.MULTILINE)
    assert len(tasks) == last.count("<summary>Answer</summary>") == last.count("</details>") >= 3
    assert "**You need** " in notebook.cells[0].source and "](README.md)" in notebook.cells[-1].source
