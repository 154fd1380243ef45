"""Whatever a layer keeps its parts in, they are trained, saved, frozen and counted; or it is refused."""

import copy
from collections import OrderedDict, deque, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from minifer import layers
from minifer.cost import count
from minifer.errors import BackwardError, ConfigError
from minifer.inference import InferenceNetwork
from minifer.layers.base import Layer, Parameter, Statistic
from minifer.optimizers import Adam


def linear(seed=0):
    return layers.Linear(3, 3, rng=np.random.default_rng(seed))


class Chain(Layer):
    """Layers one after another, found through self.parts() in whatever they are kept."""

    def __init__(self, kept, order=list):
        self.blocks, self.order = kept, order

    def forward(self, x, training=False):
        for layer in self.order(self.blocks):
            x = layer.forward(x, training=training)
        return x

    def backward(self, dy):
        for layer in reversed(self.order(self.blocks)):
            dy = layer.backward(dy)
        return dy


Pair = namedtuple("Pair", "first second")
KEPT = {
    "list": (lambda: [linear(), linear(1)], list, ["blocks.0", "blocks.1"]),
    "tuple": (lambda: (linear(), linear(1)), list, ["blocks.0", "blocks.1"]),
    "named tuple": (lambda: Pair(linear(), linear(1)), list, ["blocks.0", "blocks.1"]),
    "dict": (lambda: {"a": linear(), 2: linear(1)}, lambda kept: list(kept.values()), ["blocks.a", "blocks.2"]),
    "ordered": (lambda: OrderedDict(b=linear(), a=linear(1)), lambda kept: [*kept.values()], ["blocks.b", "blocks.a"]),
    "nested": (
        lambda: [{"left": [linear()]}, (linear(1), None, "text", 3)],
        lambda kept: [kept[0]["left"][0], kept[1][0]],
        ["blocks.0.left.0", "blocks.1.0"],
    ),
}


@pytest.mark.parametrize("kind", KEPT)
def test_layers_in_containers_are_found(kind, rng):
    make, order, paths = KEPT[kind]
    net = Chain(make(), order)
    assert [path for path, _ in net.walk()] == ["", *paths]
    names = [f"{path}.{name}" for path in paths for name in ("weight", "bias")]
    assert list(net.parameters()) == list(net.state()) == names
    x = rng.standard_normal((4, 3)).astype(np.float32)

    before, optimizer = net.state() and {k: v.copy() for k, v in net.state().items()}, Adam(net.parameters())
    net.backward(np.ones_like(net.forward(x, training=True)))
    optimizer.step()
    assert all((net.state()[name] != before[name]).any() for name in names), "trained"

    other = Chain(make(), order)
    other.load_state(net.state())
    np.testing.assert_array_equal(other.forward(x), net.forward(x))
    assert count(net, (3,)).parameters == count(net, (3,)).trainable_parameters == 24

    assert net.astype(np.float64).forward(x.astype(np.float64)).dtype == np.float64
    assert not net.freeze().trains() and net.input_gradient and net.has_backward()
    net.require_input_gradient(False)
    assert not net.has_backward()


def test_a_chain_at_the_start_of_a_network_is_trained(rng):
    """With nobody reading its dx, a layer whose parameters were not found would be skipped."""
    net = layers.Sequential(Chain([linear()]), linear(1))
    net.require_input_gradient(False)
    net.backward(np.ones_like(net.forward(np.ones((2, 3), np.float32), training=True)))
    assert all(parameter.grad is not None for parameter in net.parameters().values()) and len(net.parameters()) == 4


class Bag(Layer):
    """Holds whatever it is given."""

    def __init__(self, **things):
        vars(self).update(things)


class Slotted(Layer):
    __slots__ = ("__private", "blocks", "weight")

    def __init__(self):
        self.weight, self.blocks, self.__private = Parameter(np.ones(2)), [linear()], Statistic(np.zeros(1))


@dataclass(slots=True)
class SlottedData(Layer):
    weight: Parameter
    extra: list


class OfTheClass(Layer):
    shared = Parameter(np.ones(2))
    blocks = [linear()]  # noqa: RUF012

    @property
    def expensive(self):
        raise AssertionError("a property is not looked at")


def test_parameters_in_containers_in_slots_and_in_the_class_are_found():
    p, s = Parameter(np.ones(2)), Statistic(np.zeros(1))
    assert Bag(weights=[p, {"k": s}]).state().keys() == {"weights.0", "weights.1.k"}
    assert Slotted().state().keys() == {"_Slotted__private", "blocks.0.weight", "weight", "blocks.0.bias"}
    assert SlottedData(p, [linear()]).state().keys() == {"weight", "extra.0.weight", "extra.0.bias"}
    assert OfTheClass().parameters().keys() == {"shared", "blocks.0.weight", "blocks.0.bias"}
    rng = np.random.default_rng(0)
    assert Bag(rngs=[rng], drop=layers.Dropout(0.5, rng=rng)).generators() == {"rngs.0": rng}


def test_a_sequential_with_layers_of_its_own_beside_those_in_line():
    net = layers.Sequential(linear(), linear(1))
    net.extra, net.heads = linear(2), [linear(3)]
    assert [path for path, _ in net.walk()] == ["", "0", "1", "extra", "heads.0"]


def test_what_is_shared_is_counted_once_and_cycles_end():
    one, p = linear(), Parameter(np.ones(5))
    net = Bag(a=one, b=[one, one], first=Bag(weight=p), second=Bag(weight=p))
    net.first.parent = net.second.parent = net
    net.loop = [net]
    net.loop.append(net.loop)
    assert net.parameters().keys() == {"a.weight", "a.bias", "first.weight"}
    assert [path for path, _ in net.walk()] == ["", "a", "first", "second"]
    assert sum(array.size for array in net.state().values()) == 17
    assert count(layers.Sequential(one, one), (3,)).parameters == 12
    twin = copy.deepcopy(net)
    assert twin.a is twin.b[0] and twin.parameters().keys() == net.parameters().keys()
    net.first.freeze()  # through its parent this freezes all
    assert not net.trains()


def test_a_parameter_of_a_frozen_layer_stays_even_if_another_layer_shares_it():
    p = Parameter(np.ones(5))
    net = Bag(free=Bag(weight=p, own=Parameter(np.ones(1))), kept=Bag(weight=p))
    net.kept.freeze()
    assert net.parameters(trainable_only=True).keys() == {"free.own"}
    assert net.parameters().keys() == {"free.weight", "free.own"}


def test_a_layer_used_twice_says_so(rng):
    one = linear()
    net = layers.Sequential(one, one)
    dy = np.ones_like(net.forward(np.ones((2, 3), np.float32), training=True))
    with pytest.raises(BackwardError, match="used twice must be two layers"):
        net.backward(dy)


class Plain:
    def __init__(self, thing):
        self.thing = thing


@pytest.mark.parametrize(
    "hide",
    [
        lambda thing: {thing},
        lambda thing: frozenset([thing]),
        lambda thing: deque([thing]),
        lambda thing: np.array([thing, None], dtype=object),
        lambda thing: SimpleNamespace(thing=thing),
        lambda thing: [{"k": Plain(thing)}],
    ],
    ids=["set", "frozenset", "deque", "array", "namespace", "object in a list"],
)
@pytest.mark.parametrize("make", [linear, lambda: Parameter(np.ones(2))], ids=["layer", "parameter"])
def test_what_would_be_missed_is_refused(hide, make):
    thing = make()
    with pytest.raises(ConfigError, match=r"the (Linear|Parameter) in 0\.odd.* would not be found"):
        layers.Sequential(Bag(odd=hide(thing))).parameters()
    assert Bag(odd=hide(thing), found=thing).parameters(), "what is found elsewhere is not missed"


def test_two_things_of_one_name_are_refused():
    with pytest.raises(ConfigError, match=r"two different things by the name 'blocks\.0\.weight'"):
        Bag(blocks={0: linear(), "0": linear(1)}).parameters()


class Doubled(layers.Sequential):
    def forward(self, x, training=False):
        return 2 * super().forward(x, training=training)


def test_inference_refuses_what_it_does_not_know():
    with pytest.raises(ConfigError, match="no step for Chain"):
        InferenceNetwork(layers.Sequential(Chain([linear()])), (1, 1, 3))
    with pytest.raises(ConfigError, match="no step for Doubled"):
        InferenceNetwork(Doubled(linear()), (1, 1, 3))
