"""What stands around a forward sees what goes through, and is gone afterwards."""

import numpy as np
import pytest

from minifer.layers import Linear, ReLU, Sequential
from minifer.layers.around import around_forward


def small():
    rng = np.random.default_rng(0)
    return Sequential(first=Linear(3, 4, rng=rng), relu=ReLU(), last=Linear(4, 2, rng=rng))


def test_it_sees_every_layer_and_changes_no_answer():
    model, x, seen = small(), np.ones((1, 3), np.float32), []

    def note(path, forward, *inputs, **how):
        seen.append((path, how))
        return forward(*inputs, **how)

    expected = model.forward(x)
    with around_forward(model.walk(), note):
        np.testing.assert_array_equal(model.forward(x, training=True), expected)
    assert [path for path, _ in seen] == ["", "first", "relu", "last"]
    assert all(how == {"training": True} for _, how in seen)


@pytest.mark.parametrize("fails", [False, True])
def test_afterwards_the_layers_are_as_they_were(fails):
    model = small()
    model.layers["relu"].forward = own = lambda x, training=False: x

    def broken(path, forward, *inputs, **how):
        if fails:
            raise ZeroDivisionError
        return forward(*inputs, **how)

    try:
        with around_forward([*model.walk(), *model.walk()], broken):
            model.forward(np.ones((1, 3), np.float32))
    except ZeroDivisionError:
        assert fails
    assert model.layers["relu"].forward is own
    assert not [path for path, layer in model.walk() if path != "relu" and "forward" in vars(layer)]
