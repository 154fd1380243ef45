"""Schedules against tables worked by hand and against PyTorch's own schedulers; stopping; state through JSON."""

import json

import numpy as np
import pytest

from minifer.errors import ConfigError, TrainingError
from minifer.layers.base import Layer, Parameter
from minifer.schedules import Constant, Cosine, EarlyStopping, ReduceOnPlateau


def rates(schedule, metrics):
    """The rate that each epoch's end leaves."""
    out = []
    for metric in metrics:
        schedule.end_epoch(metric)
        out.append(schedule.learning_rate(0))
    return out


def test_constant():
    schedule = Constant(0.1)
    schedule.end_epoch(float("nan"))
    schedule.load_state(schedule.state())
    assert schedule.learning_rate(0) == schedule.learning_rate(10**6) == 0.1


# Plateau: Keras, by its documented algorithm worked by hand (patience counts the epochs until the reduction; the
# cooldown counter falls at the start of an epoch, which counts as soon as it has reached zero)


def test_keras_table_with_cooldown():
    """Keras: factor=0.5, patience=2, min_delta=0.01, cooldown=3, mode="max"."""
    table = [
        # metric, rate after the epoch    best, wait, cooldown counter
        (0.500, 1.0),  #                  0.50, 0, 0   the first epoch is the best so far
        (0.505, 1.0),  #                  0.50, 1, 0   better, but not by more than min_delta
        (0.509, 0.5),  #                  0.50, 0, 3   wait reached patience
        (0.400, 0.5),  #                  0.50, 0, 2   cooling
        (0.400, 0.5),  #                  0.50, 0, 1   cooling
        (0.400, 0.5),  #                  0.50, 1, 0   counted again
        (0.400, 0.25),  #                 0.50, 0, 3
        (0.600, 0.25),  #                 0.60, 0, 2   a better epoch while cooling still counts as the best
        (0.400, 0.25),  #                 0.60, 0, 1
        (0.400, 0.25),  #                 0.60, 1, 0
        (0.605, 0.125),  #                0.60, 0, 3
    ]
    schedule = ReduceOnPlateau(1.0, factor=0.5, patience=2, min_delta=0.01, cooldown=2)
    assert rates(schedule, [metric for metric, _ in table]) == [rate for _, rate in table]


def test_keras_table_in_mode_min_with_floor():
    """Keras: factor=0.5, patience=1, min_delta=0, cooldown=0 or 1 (the same), min_lr=0.3, mode="min"."""
    schedule = ReduceOnPlateau(1.0, patience=1, mode="min", min_delta=0.0, min_learning_rate=0.3)
    assert rates(schedule, [1.0, 1.0, 0.5, 0.5, 0.5, 0.6]) == [1.0, 0.5, 0.5, 0.3, 0.3, 0.3]


def test_the_papers_recipe():
    """Rate 0.001, halved twice on a plateau: 0.00025 is where the paper ends."""
    schedule = ReduceOnPlateau(0.001, patience=3, min_learning_rate=0.00025)
    assert rates(schedule, [0.6] * 20)[-1] == 0.00025
    assert rates(ReduceOnPlateau(0.001, patience=3), [0.6] * 7) == [0.001] * 3 + [0.0005] * 3 + [0.00025]


def test_nan_is_never_an_improvement():
    assert rates(ReduceOnPlateau(1.0, patience=2), [float("nan")] * 4) == [1.0, 0.5, 0.5, 0.25]


def test_epsilon_ignores_tiny_reductions():
    assert rates(ReduceOnPlateau(1e-8, patience=1, eps=1e-8), [1, 1, 1]) == [1e-8] * 3
    assert rates(ReduceOnPlateau(1e-8, patience=1, eps=0), [1, 1, 1]) == [1e-8, 5e-9, 2.5e-9]


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("threshold_mode", ["absolute", "relative"])
def test_plateau_rates_equal_pytorch(mode, threshold_mode):
    torch = pytest.importorskip("torch", reason="PyTorch's scheduler is the peer here")
    rng = np.random.default_rng(7)
    for _ in range(60):
        patience, cooldown = int(rng.integers(1, 6)), int(rng.integers(0, 4))
        factor, min_delta, floor = rng.uniform(0.1, 0.9), rng.choice([0.0, 1e-4, 0.05]), rng.choice([0.0, 1e-3])
        peer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            peer,
            mode=mode,
            factor=factor,
            patience=patience - 1,
            threshold=min_delta,
            threshold_mode=threshold_mode[:3],
            cooldown=cooldown,
            min_lr=floor,
        )
        schedule = ReduceOnPlateau(0.1, factor, patience, mode, threshold_mode, min_delta, cooldown, floor)
        for metric in np.round(rng.normal(0.5, 0.3, size=80), 2):
            scheduler.step(metric)
            schedule.end_epoch(metric)
            assert schedule.learning_rate(0) == peer.param_groups[0]["lr"]


# Cosine


def test_cosine_by_hand():
    schedule = Cosine(1.0, steps=12, warmup=4, min_learning_rate=0.2)
    np.testing.assert_allclose([schedule.learning_rate(s) for s in range(4)], [0.25, 0.5, 0.75, 1.0])
    half = 0.2 + 0.8 * (1 + np.cos(np.pi / 4)) / 2
    np.testing.assert_allclose([schedule.learning_rate(s) for s in (4, 6, 8, 12, 99)], [1.0, half, 0.6, 0.2, 0.2])


def test_cosine_equals_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch's scheduler is the peer here")
    peer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(peer, T_max=50, eta_min=0.01)
    schedule = Cosine(0.3, steps=50, min_learning_rate=0.01)
    for step in range(50):
        np.testing.assert_allclose(schedule.learning_rate(step), peer.param_groups[0]["lr"], rtol=1e-12)
        peer.step()
        scheduler.step()


# Early stopping


class OneWeight(Layer):
    def __init__(self):
        self.weight = Parameter(np.zeros(1))


def test_early_stopping_keeps_the_best_epoch():
    layer, stopping = OneWeight(), EarlyStopping(patience=2)
    stops = []
    for epoch, metric in enumerate([0.1, 0.5, 0.4, 0.5]):
        layer.weight.value[:] = epoch
        stops.append(stopping.end_epoch(metric, layer))
    assert stops == [False, False, False, True]
    assert (stopping.best, stopping.best_epoch) == (0.5, 1)
    stopping.restore(layer)
    assert layer.weight.value[0] == 1


def test_nothing_to_restore():
    layer, stopping = OneWeight(), EarlyStopping(patience=2)
    assert [stopping.end_epoch(float("nan"), layer) for _ in range(2)] == [False, True]
    with pytest.raises(TrainingError, match="no best weights"):
        stopping.restore(layer)


# State and settings


def resumed(old, new):
    new.load_state(json.loads(json.dumps(old.state(), allow_nan=False)))
    return new


def test_plateau_and_stopping_resume_through_json():
    metrics = np.random.default_rng(1).normal(size=40)
    layer = OneWeight()
    whole, part = (ReduceOnPlateau(1.0, patience=2, cooldown=1) for _ in range(2))
    stop_whole, stop_part = (EarlyStopping(patience=100) for _ in range(2))
    for epoch, metric in enumerate(metrics):
        if epoch in (0, 7, 20):
            part = resumed(part, ReduceOnPlateau(1.0, patience=2, cooldown=1))
            stop_part = resumed(stop_part, EarlyStopping(patience=100))
        for schedule in (whole, part):
            schedule.end_epoch(metric)
        for stopping in (stop_whole, stop_part):
            stopping.end_epoch(metric, layer)
        assert whole.state() == part.state()
        assert stop_whole.state() == stop_part.state()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constant(0),
        lambda: Constant(float("inf")),
        lambda: Cosine(1.0, steps=5, warmup=5),
        lambda: Cosine(1.0, steps=5, min_learning_rate=2.0),
        lambda: ReduceOnPlateau(1.0, factor=1.0),
        lambda: ReduceOnPlateau(1.0, patience=0),
        lambda: ReduceOnPlateau(1.0, mode="auto"),
        lambda: ReduceOnPlateau(1.0, threshold_mode="rel"),
        lambda: ReduceOnPlateau(1.0, cooldown=-1),
        lambda: EarlyStopping(0),
    ],
)
def test_settings_that_cannot_work(make):
    with pytest.raises(ConfigError):
        make()
