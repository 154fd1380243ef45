"""Optimizers against arithmetic by hand and against PyTorch; flat memory; exact resume; the weight average."""

import numpy as np
import pytest

from minifer.averaging import Average
from minifer.errors import CheckpointError, ConfigError, DtypeError, TrainingError
from minifer.kernels.twin import use_backend
from minifer.layers.base import Layer, Parameter, Statistic
from minifer.optimizers import SGD, Adam, Flat

SHAPES = {"stem.bias": (5,), "stem.weight": (3, 3, 2, 5), "norm.scale": (5,), "head.weight": (5, 7)}


class Toy(Layer):
    def __init__(self, dtype=np.float64):
        rng = np.random.default_rng(0)
        self.bias = Parameter(rng.normal(size=3).astype(dtype))
        self.weight = Parameter(rng.normal(size=(2, 3)).astype(dtype))
        self.mean = Statistic(rng.normal(size=3).astype(dtype))


def parameters(dtype=np.float64, shapes=SHAPES):
    rng = np.random.default_rng(1)
    return {path: Parameter(rng.normal(size=shape).astype(dtype)) for path, shape in shapes.items()}


def set_gradients(params, rng):
    for parameter in params.values():
        parameter.grad = rng.normal(size=parameter.value.shape).astype(parameter.value.dtype)


def train(optimizer, params, steps, seed=2):
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        set_gradients(params, rng)
        optimizer.step()


# Flat memory


def test_flat_makes_views_with_decayed_parameters_first():
    params = parameters()
    before = {path: p.value.copy() for path, p in params.items()}
    params["norm.scale"].grad = np.arange(5.0)
    flat = Flat(params)
    assert list(flat.parameters) == ["stem.weight", "head.weight", "stem.bias", "norm.scale"]
    assert flat.decayed == 3 * 3 * 2 * 5 + 5 * 7
    for path, parameter in params.items():
        np.testing.assert_array_equal(parameter.value, before[path])
        assert np.shares_memory(parameter.value, flat.value)
        assert np.shares_memory(parameter.grad, flat.grad)
    np.testing.assert_array_equal(flat.grad[-5:], np.arange(5.0))  # a gradient from before is kept


def test_an_assigned_gradient_lands_in_flat_memory():
    params = parameters()
    flat = Flat(params)
    params["head.weight"].grad = np.full((5, 7), 2.0)
    assert flat.grad.sum() == 70
    flat.check()


def test_flat_refuses_nothing_and_mixed_dtypes():
    with pytest.raises(ConfigError, match="nothing to train"):
        Flat({})
    params = parameters()
    params["head.weight"].value = params["head.weight"].value.astype(np.float32)
    with pytest.raises(DtypeError, match=r"head\.weight is float32"):
        Flat(params)


@pytest.mark.parametrize("spoil", ["value", "grad"])
def test_a_step_notices_a_parameter_that_moved_away(spoil):
    params = parameters()
    optimizer = Adam(params)
    if spoil == "value":
        params["stem.weight"].value = params["stem.weight"].value.astype(np.float32)
    else:
        params["stem.weight"].grad = np.zeros((2, 2))
    with pytest.raises(TrainingError, match=r"stem\.weight .* make the optimizer last"):
        optimizer.step()


# By hand


def test_two_steps_of_adam_by_hand():
    p = Parameter(np.array([1.0]))
    optimizer = Adam({"p": p}, learning_rate=0.1, beta1=0.5, beta2=0.75, eps=1e-12)
    p.grad = np.array([2.0])
    optimizer.step()  # m = 1, s = 1, m_hat = 2, s_hat = 4: the step is 0.1 * 2/2
    np.testing.assert_allclose(p.value, [0.9])
    p.grad = np.array([-1.0])
    optimizer.step()  # m = 0, whatever s is: no step
    np.testing.assert_allclose(p.value, [0.9])


def test_two_steps_of_sgd_by_hand():
    plain, nesterov = Parameter(np.array([1.0])), Parameter(np.array([1.0]))
    optimizers = SGD({"p": plain}, 0.1, 0.5, nesterov=False), SGD({"p": nesterov}, 0.1, 0.5)
    for gradient in (2.0, 1.0):  # velocities 2, then 0.5*2 + 1 = 2
        plain.grad, nesterov.grad = np.array([gradient]), np.array([gradient])
        for optimizer in optimizers:
            optimizer.step()
    np.testing.assert_allclose(plain.value, [1 - 0.1 * 2 - 0.1 * 2])
    np.testing.assert_allclose(nesterov.value, [1 - 0.1 * (2 + 0.5 * 2) - 0.1 * (1 + 0.5 * 2)])


def test_weight_decay_by_hand_spares_vectors():
    matrix, vector = Parameter(np.ones((2, 2))), Parameter(np.ones(2))
    optimizer = Adam({"v": vector, "m": matrix}, learning_rate=0.1, weight_decay=0.5)
    optimizer.step()  # gradients are zero: only decay acts, by 1 - 0.1 * 0.5
    np.testing.assert_allclose(matrix.value, np.full((2, 2), 0.95))
    np.testing.assert_array_equal(vector.value, np.ones(2))


@pytest.mark.parametrize("make", [Adam, SGD])
def test_both_minimise_a_quadratic(make):
    p = Parameter(np.array([3.0, -2.0]))
    optimizer = make({"p": p}, learning_rate=0.05)
    for _ in range(300):
        p.grad = np.array([1.0, 4.0]) * p.value
        optimizer.step()
    assert np.abs(p.value).max() < 1e-2


@pytest.mark.parametrize(
    "make",
    [
        lambda p: Adam(p, learning_rate=-1),
        lambda p: Adam(p, beta1=1.0),
        lambda p: Adam(p, eps=0),
        lambda p: Adam(p, weight_decay=-0.1),
        lambda p: SGD(p, momentum=1.0),
        lambda p: Adam(p, eps=1e-46),  # zero in float32
    ],
)
def test_settings_that_cannot_work(make):
    with pytest.raises(ConfigError):
        make(parameters())


# Against PyTorch

TORCH_CASES = {
    "adam": (dict(learning_rate=0.01), "Adam", dict(lr=0.01)),
    "adam, betas": (
        dict(learning_rate=0.02, beta1=0.8, beta2=0.95, eps=1e-3),
        "Adam",
        dict(lr=0.02, betas=(0.8, 0.95), eps=1e-3),
    ),
    "adamw": (dict(learning_rate=0.01, weight_decay=0.1), "AdamW", dict(lr=0.01, weight_decay=0.1)),
    "sgd": (dict(learning_rate=0.01, momentum=0.0, nesterov=False), "SGD", dict(lr=0.01)),
    "sgd, momentum": (dict(learning_rate=0.01, nesterov=False), "SGD", dict(lr=0.01, momentum=0.9)),
    "sgd, nesterov": (
        dict(learning_rate=0.01, weight_decay=0.1),
        "SGD",
        dict(lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.1),
    ),
}


@pytest.mark.parametrize("case", TORCH_CASES)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_equal_pytorch(case, backend, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is the peer that the numbers are compared with")
    ours, name, theirs = TORCH_CASES[case]
    params = parameters(dtype)
    twins = {path: torch.nn.Parameter(torch.tensor(p.value)) for path, p in params.items()}
    decay = theirs.get("weight_decay", 0)
    groups = [
        {"params": [t for t in twins.values() if t.ndim >= 2], "weight_decay": decay},
        {"params": [t for t in twins.values() if t.ndim < 2], "weight_decay": 0},
    ]
    peer = getattr(torch.optim, name)(groups, **theirs)
    optimizer = (SGD if name == "SGD" else Adam)(params, **ours)
    rng = np.random.default_rng(3)
    with use_backend(backend):
        for step in range(20):
            set_gradients(params, rng)
            for path, twin in twins.items():
                twin.grad = torch.tensor(params[path].grad)
            optimizer.learning_rate = ours["learning_rate"] * 0.9**step  # a schedule moves the rate
            for group in peer.param_groups:
                group["lr"] = ours["learning_rate"] * 0.9**step
            optimizer.step()
            peer.step()
    tolerance = dict(rtol=1e-11, atol=1e-12) if dtype == np.float64 else dict(rtol=2e-5, atol=2e-6)
    for path, twin in twins.items():
        np.testing.assert_allclose(params[path].value, twin.detach().numpy(), **tolerance)


# Resume


@pytest.mark.parametrize("make", [lambda p: Adam(p, weight_decay=0.1), SGD])
def test_resume_is_exact(make):
    through, first, second = (parameters(np.float32) for _ in range(3))
    whole, before, after = make(through), make(first), make(second)
    train(whole, through, 7)
    train(before, first, 3)
    saved = before.state()
    for path in first:
        second[path].value[...] = first[path].value
    train(before, first, 2)  # what state() returned stays as it was
    after.load_state(saved)
    rng = np.random.default_rng(2)
    for _ in range(3):
        set_gradients(second, rng)
    for _ in range(4):
        set_gradients(second, rng)
        after.step()
    for path in through:
        np.testing.assert_array_equal(through[path].value, second[path].value)


def test_state_of_another_model_or_optimizer_is_refused():
    optimizer = Adam(parameters())
    with pytest.raises(CheckpointError, match="another model"):
        optimizer.load_state(SGD(parameters()).state())
    state = optimizer.state()
    state["mean.head.weight"] = np.zeros((7, 5))
    with pytest.raises(CheckpointError, match=r"mean\.head\.weight has shape \(7, 5\)"):
        optimizer.load_state(state)
    for steps in (-1, 1.5):  # of which the corrections of Adam would make NaN
        with pytest.raises(CheckpointError, match=r"steps is .*, no count"):
            optimizer.load_state({**optimizer.state(), "steps": np.array(steps)})


# The average


def test_average_by_hand_follows_statistics_too():
    layer = Toy()
    start = layer.state()["mean"].copy()
    average = Average(layer, decay=0.9, warmup=False)
    layer.mean.value += 1
    average.update()
    np.testing.assert_allclose(average.arrays["mean"], start + 0.1)
    average.update()
    np.testing.assert_allclose(average.arrays["mean"], start + 0.19)


def test_average_warms_up():
    layer = Toy()
    start = layer.weight.value.copy()
    average = Average(layer, decay=0.9)
    layer.weight.value += 1
    distance = 1.0
    for t in range(100):
        average.update()
        distance *= min(0.9, (1 + t) / (10 + t))
        np.testing.assert_allclose(average.arrays["weight"], start + 1 - distance, atol=1e-12)


def test_applied_swaps_in_and_back_under_a_living_optimizer():
    layer = Toy(np.float32)
    optimizer = Adam(layer.parameters(), learning_rate=0.1)
    average = Average(layer, decay=0.5)
    train(optimizer, layer.parameters(), 3)
    average.update()
    trained = {path: array.copy() for path, array in layer.state().items()}
    with pytest.raises(KeyError), average.applied():
        for path, array in layer.state().items():
            np.testing.assert_array_equal(array, average.arrays[path])
        raise KeyError
    for path, array in layer.state().items():
        np.testing.assert_array_equal(array, trained[path])
    optimizer.step()  # the parameters still live in the optimizer's memory


def test_average_over_flat_memory_is_the_same_average():
    layer = Toy(np.float32)
    optimizer = Adam(layer.parameters(), learning_rate=0.1)
    one_by_one, at_once = Average(layer, 0.9), Average(layer, 0.9, flat=optimizer.flat)
    for _ in range(4):
        train(optimizer, layer.parameters(), 1)
        layer.mean.value += 1
        one_by_one.update()
        at_once.update()
    for path, array in one_by_one.arrays.items():
        np.testing.assert_array_equal(at_once.arrays[path], array)
    assert at_once.state().keys() == one_by_one.state().keys()


def test_average_resumes_exactly_and_refuses_another_model():
    layer = Toy(np.float32)
    average, resumed = Average(layer, 0.99), Average(layer, 0.99)
    rng = np.random.default_rng(5)
    for t in range(6):
        layer.weight.value += rng.normal(size=(2, 3)).astype(np.float32)
        average.update()
        if t == 2:
            resumed.load_state(average.state())
        if t > 2:
            resumed.update()
    for path, array in average.state().items():
        np.testing.assert_array_equal(array, resumed.state()[path])
    with pytest.raises(CheckpointError, match="another model"):
        average.load_state({"updates": np.array(1)})
    with pytest.raises(ConfigError, match="decay"):
        Average(layer, decay=1.0)
