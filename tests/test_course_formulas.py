"""The formulas that the course's notebooks claim, computed again in another way: by trying, by drawing, by counting.

A test is called after the number of its notebook. The costs of single layers are proved in test_counting.py.
"""

import math

import numpy as np
import pytest
from run_notebooks import HERE, read

from minifer.cost import count
from minifer.layers import Conv2D, DepthwiseConv2D, MultiHeadSelfAttention, PointwiseConv2D, Residual
from minifer.metrics import evaluate
from minifer.models import BLOCKS, mobilenet
from minifer.reproduce.printed import binary_accuracy, top1_range


def multiply_adds(layer, *shape):
    return count(layer, shape).multiply_adds


def central(f, x, h=1e-5):
    """Return the Jacobian of f at x, flattened: a row for each entry of f(x), a column for each of x."""
    columns = []
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = h
        columns.append(np.ravel(f(x + step) - f(x - step)) / (2 * h))
    return np.stack(columns, axis=1)


def text_of(name):
    """Return the text of a notebook."""
    return "\n".join(cell.source for cell in read(HERE / name).cells)


# Notebook 1


def test_1_sizes():
    for size in range(3, 12):
        for kernel, stride, padding in ((3, 1, 0), (3, 2, 0), (3, 2, 1), (2, 1, 1)):
            places = [start for start in range(0, size + 2 * padding, stride) if start + kernel <= size + 2 * padding]
            assert len(places) == (size + 2 * padding - kernel) // stride + 1
    assert 24 - 12 * 2 == 0, "twelve layers of 3 x 3 use up a map of 24"
    sizes = [48]
    for _ in range(5):
        sizes.append(math.ceil(sizes[-1] / 2))
    assert sizes == [48, 24, 12, 6, 3, 2]


# Notebook 2


def test_2_six_blocks_give_maps_a_sixteenth_as_wide():
    side, sides = 112, []
    for _, stride in BLOCKS:
        side = math.ceil(side / stride)
        sides.append(side)
    assert sides.count(224 // 16) == 6
    assert "six of the thirteen blocks give maps a sixteenth as wide" in text_of("02_depthwise_separable.ipynb")


@pytest.mark.parametrize(("channels", "filters", "kernel", "stride"), [(64, 128, 3, 1), (5, 2, 3, 2), (16, 32, 5, 1)])
def test_2_the_pair_costs_this_fraction(channels, filters, kernel, stride, rng):
    shape = (12, 10, channels)
    pair = multiply_adds(DepthwiseConv2D(channels, kernel, stride, rng=rng), *shape) + multiply_adds(
        PointwiseConv2D(channels, filters, rng=rng), -(-12 // stride), -(-10 // stride), channels
    )
    ordinary = multiply_adds(Conv2D(channels, filters, kernel, stride, rng=rng), *shape)
    assert pair / ordinary == pytest.approx(1 / filters + 1 / kernel**2, rel=1e-12)


@pytest.mark.parametrize(
    ("side", "channels", "printed"), [(24, 64, 31.6), (12, 128, 57.6), (6, 256, 67.8), (3, 512, 31.6)]
)
def test_2_intensity_of_a_pointwise_layer(side, channels, printed, rng):
    positions = 4 * side**2
    layer = PointwiseConv2D(channels, channels, rng=rng)
    work = 4 * multiply_adds(layer, side, side, channels)
    moved = 2 * positions * channels + layer.weight.value.size
    assert work / moved == pytest.approx(positions * channels / (2 * positions + channels))
    assert round(work / moved, 1) == printed < channels / 2
    depthwise = 4 * multiply_adds(DepthwiseConv2D(channels, rng=rng), side, side, channels)
    assert depthwise / (2 * positions * channels) == 4.5


def test_2_the_ratio_with_prices():
    p, c, k, rho, kappa = 144, 128, 3, 4.6, 27.8
    pair, ordinary = rho * p * k**2 * c + p * c * c, p * k**2 * c * c + kappa * p * k**2 * c
    assert pair / ordinary == pytest.approx((rho / c + 1 / k**2) / (1 + kappa / c))


# Notebook 3


def test_3_the_variance_and_batchnorm(rng):
    x, eps = rng.standard_normal((7, 1)), 1e-3
    s = np.sqrt(x.var() + eps)
    x_hat, m = (x - x.mean()) / s, len(x)
    np.testing.assert_allclose(central(np.var, x).ravel(), 2 / m * (x - x.mean()).ravel(), atol=1e-9)
    np.testing.assert_allclose(central(lambda x: np.sqrt(x.var() + eps), x).ravel(), x_hat.ravel() / m, atol=1e-9)
    slopes = (np.eye(m) - 1 / m - x_hat @ x_hat.T / m) / s
    np.testing.assert_allclose(central(lambda x: (x - x.mean()) / np.sqrt(x.var() + eps), x), slopes, atol=1e-8)
    dy = rng.standard_normal((m, 1))
    np.testing.assert_allclose(slopes.T @ dy, (dy - dy.mean() - x_hat * (dy * x_hat).mean()) / s, atol=1e-12)


def test_3_the_best_step():
    steps = np.logspace(-9, -2, 300)
    slopes = (np.sin(0.7 + steps) ** 3 - np.sin(0.7 - steps) ** 3) / (2 * steps)
    error = np.abs(slopes - 3 * np.sin(0.7) ** 2 * np.cos(0.7))
    third = (27 * np.cos(2.1) - 3 * np.cos(0.7)) / 4  # of sin(x)^3 = (3 sin x - sin 3x) / 4
    large = steps > 1e-4
    np.testing.assert_allclose(error[large], steps[large] ** 2 / 6 * abs(third), rtol=0.02)
    smoothed = np.exp(np.convolve(np.log(error + 1e-16), np.ones(25) / 25, mode="valid"))
    best = steps[12:-12][smoothed.argmin()]
    assert 0.1 < best / np.finfo(float).eps ** (1 / 3) < 10


# Notebook 6


def test_5_powers_and_projections():
    assert 0.7**26 == pytest.approx(1e-4, rel=0.1) and 1.2**26 == pytest.approx(110, rel=0.05)
    blocks = [layer for layer in mobilenet("skip", 0.5).layers.values() if isinstance(layer, Residual)]
    projected = [number for number, layer in enumerate(blocks, start=1) if layer.projection is not None]
    assert projected == [1, 2, 4, 6, 12]


def test_5_the_gradient_through_residual_blocks_in_a_row(rng):
    jacobians = 0.3 * rng.standard_normal((3, 4, 4))
    x, dy = rng.standard_normal(4), rng.standard_normal(4)

    def forward(x):
        for jacobian in jacobians:
            x = x + jacobian @ x
        return x

    product = dy
    for jacobian in reversed(jacobians):
        product = (np.eye(4) + jacobian).T @ product
    np.testing.assert_allclose(central(forward, x).T @ dy, product, atol=1e-8)
    paths = sum(
        np.linalg.multi_dot([np.eye(4), *[j.T for j, taken in zip(jacobians, chosen, strict=True) if taken], np.eye(4)])
        for chosen in np.ndindex(2, 2, 2)
    )
    np.testing.assert_allclose(paths @ dy, product, atol=1e-12)


def test_5_he_keeps_the_mean_square(rng):
    x = rng.standard_normal((500, 300))
    for _ in range(6):
        x = np.maximum(x @ rng.normal(0, np.sqrt(2 / 300), (300, 300)), 0)
    assert np.mean(x**2) == pytest.approx(1, rel=0.35)


def test_5_what_the_border_leaves_of_the_signal(rng):
    layer, left, side = DepthwiseConv2D(1, rng=rng), 1.0, 24
    fractions = {}
    for _, stride in BLOCKS:
        layer.stride = stride
        layer.weight.value[...] = 1
        taps = layer.forward(np.ones((1, side, side, 1), np.float32)).mean() / 9  # that meet a pixel, not a zero
        fractions[side, stride] = taps
        left, side = left * np.sqrt(taps), -(-side // stride)
    assert fractions[3, 1] == pytest.approx(49 / 81) and fractions[2, 1] == pytest.approx(4 / 9)
    assert round(float(left), 2) == 0.08


def test_5_the_gradient_grows_by_pi_over_pi_minus_one(rng):
    x = np.maximum(rng.standard_normal(400_000), 0)
    assert x.mean() == pytest.approx(1 / np.sqrt(2 * np.pi), rel=0.01)
    assert x.var() == pytest.approx((np.pi - 1) / (2 * np.pi), rel=0.01)
    assert 1 / (2 * x.var()) == pytest.approx(np.pi / (np.pi - 1), rel=0.01)
    saved, x = [], np.maximum(rng.standard_normal((512, 256)), 0)
    for _ in range(6):
        w = 7 * rng.standard_normal((256, 256))
        z = x @ w
        s = z.std(axis=0)
        u = (z - z.mean(axis=0)) / s
        saved.append((w, s, u))
        x = np.maximum(u, 0)
    dy = rng.standard_normal(x.shape)
    start = np.sum(dy**2)
    for w, s, u in reversed(saved):
        du = dy * (u > 0)
        dy = (du - du.mean(axis=0) - u * (du * u).mean(axis=0)) / s @ w.T
    assert (np.sum(dy**2) / start) ** (1 / 6) == pytest.approx(np.pi / (np.pi - 1), rel=0.04)


# Notebook 8


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def test_6_softmax_and_the_variance_of_scores(rng):
    scores = rng.standard_normal(5)
    p = softmax(scores)
    np.testing.assert_allclose(central(softmax, scores), np.diag(p) - np.outer(p, p), atol=1e-9)
    dp = rng.standard_normal(5)
    np.testing.assert_allclose(central(softmax, scores).T @ dp, p * (dp - np.sum(dp * p)), atol=1e-8)
    products = rng.standard_normal((20_000, 64)) * rng.standard_normal((20_000, 64))
    assert products.sum(axis=1).var() == pytest.approx(64, rel=0.05)


def test_6_costs(rng):
    channels, heads, units = 64, 8, 64
    layer = MultiHeadSelfAttention(channels, heads=heads, head_units=units, rng=rng)
    for side in (6, 12):
        tokens = side**2
        squared = multiply_adds(layer.attention, tokens, heads, units)
        assert squared == 2 * tokens**2 * heads * units
        assert multiply_adds(layer, side, side, channels) - squared == 4 * tokens * channels * heads * units
    tokens = 2 * channels
    assert 4 * tokens * channels * heads * units == 2 * tokens**2 * heads * units
    same = [MultiHeadSelfAttention(512, *split, rng=rng) for split in ((8, 64), (1, 512))]
    assert count(same[0], (6, 6, 512)).multiply_adds == count(same[1], (6, 6, 512)).multiply_adds
    x = rng.standard_normal((1, 6, 6, 512)).astype(np.float32)
    assert [layer.probabilities(x).size for layer in same] == [8 * 36**2, 36**2], "A matrices of T^2"


# Notebook 9


def test_7_recalls():
    counts = np.array([3995, 436, 4097, 7215, 4830, 3171, 4965])
    frequent = counts / counts.sum()
    happy, all_but = np.eye(7)[3], 1 - np.eye(7)[1]
    assert happy.mean() == pytest.approx(0.143, abs=5e-4) and happy @ frequent == pytest.approx(0.251, abs=5e-4)
    assert all_but.mean() == pytest.approx(0.857, abs=5e-4) and all_but @ frequent == pytest.approx(0.985, abs=5e-4)
    assert counts[3] / counts[1] == pytest.approx(16, abs=1) and 821 / 1437 == pytest.approx(0.57, abs=0.005)


# Notebook 11


def test_9_binary_accuracy(rng):
    labels = rng.integers(7, size=400)
    said = np.where(rng.random(400) < 0.7, labels, rng.integers(7, size=400))
    result = evaluate(np.eye(7)[said], labels, [str(k) for k in range(7)])
    assert result["binary_accuracy"] == pytest.approx((5 + 2 * result["top1"]) / 7)
    silent = evaluate(np.full((400, 7), 1 / 7), labels, [str(k) for k in range(7)])
    assert silent["binary_accuracy"] == pytest.approx(6 / 7)


def test_9_what_recall_and_precision_say(rng):
    labels = rng.integers(7, size=3000)
    logits = rng.standard_normal((3000, 7))
    logits[np.arange(3000), labels] += 1.5
    result = evaluate(softmax(1.5 * logits), labels, [str(k) for k in range(7)])
    recall, precision = result["binary_recall"], result["binary_precision"]
    assert binary_accuracy(recall, precision) == pytest.approx(result["binary_accuracy"])
    low, high = top1_range(recall, precision)
    assert low <= result["top1"] <= high and low == recall and high == pytest.approx(1 - (recall / precision - recall))
    assert binary_accuracy(0.8169, 0.8703) == pytest.approx(0.9565, abs=5e-5)


def test_9_luck(rng):
    assert rng.standard_normal((20_000, 20)).max(axis=1).mean() == pytest.approx(1.87, abs=0.02)
    sigma = 100 * math.sqrt(0.65 * 0.35 / 3589)
    assert sigma == pytest.approx(0.8, abs=0.01) and 1.96 * sigma == pytest.approx(1.6, abs=0.05)
    assert 1.87 * sigma == pytest.approx(1.5, abs=0.05)
    assert 0.8 * 25 + 0.2 * 99 == pytest.approx(40, abs=0.5)


# Notebook 12, with a pencil


def test_10_pencil():
    assert 2 * 23 + 3 == 49
    ordinary, pair = 36 * 9 * 128 * 256, 36 * 9 * 128 + 36 * 128 * 256
    assert (ordinary, pair) == (10_616_832, 1_221_120)
    assert pair / ordinary == pytest.approx(1 / 256 + 1 / 9)
    logits = np.log([1.0, 2.0, 5.0])
    p = softmax(logits)
    np.testing.assert_allclose(p, [1 / 8, 2 / 8, 5 / 8])
    np.testing.assert_allclose(central(lambda z: -np.log(softmax(z)[1]), logits)[0], p - np.eye(3)[1], atol=1e-9)
    assert -math.log(p[1]) == pytest.approx(1.39, abs=0.005)
    pair = np.array([5.0, 2.0])
    np.testing.assert_allclose((pair - pair.mean()) / pair.std(), [1, -1])
    assert (7 * 0.93 - 5) / 2 == pytest.approx(0.755)
    one = 100 * math.sqrt(0.665 * 0.335 / 3589)
    assert one == pytest.approx(0.79, abs=0.005) and math.sqrt(2) * one == pytest.approx(1.1, abs=0.02)
    first = (1 - 0.9) / math.sqrt(1 - 0.999)
    assert first == pytest.approx(3.2, abs=0.05), "Adam's first step without corrections"
