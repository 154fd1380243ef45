"""The finder of a learning rate: it finds a slope that is known, and leaves the training as it was."""

import numpy as np
import pytest
from PIL import Image
from small_runs import TINY, Silent, assert_same, everything, run

from minifer import config
from minifer.data import synthetic
from minifer.errors import ConfigError, TrainingError
from minifer.rate_finder import DIVERGED, find_rate, smoothed, suggestion
from minifer.report.figures import LiveCurves
from minifer.training import Training


@pytest.fixture(scope="module")
def faces():
    return synthetic.load(seed=3, train=53, val=30)


def test_the_smoothed_loss_has_no_pull_to_zero():
    np.testing.assert_allclose(smoothed([2.0, 2.0, 2.0]), 2.0)
    np.testing.assert_allclose(smoothed([1.0, 3.0]), [1.0, (0.9 * 0.1 + 0.3) / (1 - 0.81)])


def test_the_suggestion_is_where_a_known_curve_falls_fastest():
    rates = np.geomspace(1e-5, 1, 101)
    log = np.log10(rates)
    falling = 2 - 1.5 / (1 + np.exp(-4 * (log + 3)))  # falls fastest at 1e-3
    rising = 3 * np.maximum(log + 1, 0) ** 2  # rises from 1e-1 on
    assert suggestion(rates, falling + rising) == pytest.approx(1e-3, rel=0.06)
    with pytest.raises(TrainingError, match="the loss falls at no rate"):
        suggestion(rates, np.linspace(1, 2, 101))


def test_it_stops_where_training_diverges_and_puts_everything_back(faces):
    settings = config.replace(TINY, learning_rate=1e-3)
    plain, tried = (Training(settings, faces["train"], faces["val"]) for _ in range(2))
    ramp = find_rate(tried, 1e-5, 1e4, 60)
    assert 10 < len(ramp.rates) < 60 and 1e-4 < ramp.suggested < 1
    assert ramp.smooth[-1] > DIVERGED * ramp.smooth.min() or not np.isfinite(ramp.losses[-1])
    assert len(ramp.rates) == len(ramp.losses) == len(ramp.smooth)
    for training in (plain, tried):
        training.run(Silent())
    assert_same(everything(plain), everything(tried))


@pytest.mark.parametrize("ramp", [(1e-3, 1e-3, 50), (0, 1, 50), (1e-5, 1, 5)])
def test_a_ramp_that_does_not_rise(ramp, faces):
    with pytest.raises(ConfigError, match="it must rise, in 10 steps or more"):
        find_rate(Training(TINY, faces["train"], faces["val"]), *ramp)


def test_the_command_suggests_draws_and_trains_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ("--alpha", "0.1", "--batch-size", "16")
    code, out, err = run(capsys, "train", *flags, "--find-rate", "rate.png")
    assert code == 0 and out.startswith("--learning-rate ") and "drawn in rate.png" in err
    assert 1e-5 < float(out.split()[1].rstrip(":")) < 1
    assert Image.open("rate.png").width > 500 and not (tmp_path / "runs").exists()
    code, _, err = run(capsys, "train", "--resume", "run", "--find-rate", "rate.png")
    assert code == 2 and "--resume goes on" in err


def test_live_curves_take_the_place_of_the_last_ones(faces, monkeypatch):
    shown = []

    class Handle:
        def update(self, figure):
            shown.append(("update", len(figure.axes)))

    def display(figure, display_id):
        shown.append(("display", len(figure.axes)))
        return Handle()

    module = pytest.importorskip("IPython.display", reason="IPython is not installed")
    monkeypatch.setattr(module, "display", display)
    Training(TINY, faces["train"], faces["val"]).run(LiveCurves())
    assert shown == [("display", 3), ("update", 3), ("update", 3)]
