"""Temperature scaling."""

import numpy as np
import pytest

from minifer import calibration, checkpoint, config
from minifer.data import synthetic
from minifer.errors import ConfigError
from minifer.evaluation import evaluate_weights, predict
from minifer.layers import GlobalAveragePool, Layer, Linear, ReLU, Sequential, SqueezeExcitation
from minifer.losses import probabilities
from minifer.report.text import format_report
from minifer.trained import load_weights
from minifer.training import Observer, Training


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_of_made_up_labels_is_found(temperature):
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 3, (20000, 5))
    honest = probabilities(logits)
    labels = (honest.cumsum(axis=1) < rng.random((len(logits), 1))).sum(axis=1)
    shown = probabilities(logits * temperature)
    assert calibration.fit_temperature(shown, labels) == pytest.approx(temperature, rel=0.05)
    np.testing.assert_allclose(calibration.tempered(shown, temperature), honest, atol=1e-9)


def test_an_answer_that_softmax_rounds_to_zero_counts_as_the_least_of_its_dtype():
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 3, (1000, 3))
    labels = (probabilities(logits / 3).cumsum(axis=1) < rng.random((len(logits), 1))).sum(axis=1)
    logits[:3] = [95, 0, 0]  # three sure mistakes; as float32, 0 of probability
    labels[:3] = 1
    exact, shown = (calibration.fit_temperature(probabilities(logits.astype(dtype)), labels) for dtype in ("d", "f"))
    assert shown == pytest.approx(exact, rel=0.1)


class OtherOrder(Layer):
    """A network of one's own that names its last layer first."""

    def __init__(self, rng):
        self.classifier, self.squeeze = Linear(4, 3, rng=rng), SqueezeExcitation(4, 2, rng=rng)

    def forward(self, x, training=False):
        return self.classifier.forward(self.squeeze.forward(x, training=training).mean(axis=(1, 2)), training=training)


def test_the_last_layer_takes_it_up(rng):
    pool = GlobalAveragePool()
    straight = Sequential(pool=pool, hidden=Linear(4, 6, rng=rng), relu=ReLU(), last=Linear(6, 3, rng=rng))
    for model, path in ((straight, "last"), (OtherOrder(rng), "classifier")):
        x = rng.standard_normal((5, 6, 6, 4)).astype(np.float32)
        logits, state = model.forward(x), {path: array.copy() for path, array in model.state().items()}
        assert calibration.last_linear(model, (6, 6, 4)) == path
        calibration.take_up(state, path, 2.0)
        model.load_state(state)
        np.testing.assert_allclose(model.forward(x), logits / 2, rtol=1e-5)


def test_a_network_that_cannot_take_it_up_is_refused_before_it_trains(rng):
    splits = synthetic.load(seed=2, train=16, val=16)
    settings = config.TrainConfig(epochs=1, calibrate=True)
    net = Sequential(pool=GlobalAveragePool(), last=Linear(1, 7, rng=rng), relu=ReLU())
    with pytest.raises(ConfigError, match="calibrate needs a network that ends in a Linear layer"):
        Training(settings, splits["train"], splits["val"], net)


def test_a_calibrated_run_saves_and_says_it(tmp_path):
    splits = synthetic.load(seed=2, train=42, val=70)
    settings = config.TrainConfig(model="skip", alpha=1 / 16, epochs=2, average=0.9, calibrate=True, keep="last")
    training = Training(settings, splits["train"], splits["val"])
    training.run(Observer())
    training.save(tmp_path)
    model, meta = load_weights(tmp_path / "best.npz")
    probs = predict(model, splits["val"].images)
    assert meta["epoch"] == 2 and meta["temperature"] == training.temperature != 1
    assert calibration.fit_temperature(probs, splits["val"].labels) == pytest.approx(1, abs=1e-3)
    result, _ = evaluate_weights(tmp_path / "best.npz", splits["val"], "val")
    assert result["temperature"] == meta["temperature"]
    assert f"divided by {meta['temperature']:.3f}" in format_report(result)
    again = Training(settings, splits["train"], splits["val"])
    again.restore(tmp_path)
    assert again.temperature == training.temperature
    arrays, _ = checkpoint.load(tmp_path / "last.npz")
    assert {name for name in arrays if name.startswith("best/")}
