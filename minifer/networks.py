"""The network that settings describe: a MobileNet of some version, or one of one's own.

One's own is a function of (input_shape, classes, rng) that returns a Layer, given as itself or by its name, such as
file.py:function or package.module:function; from Python also a Layer that is there already. Settings and weights files
keep only the name. Whoever loads such weights names it again: what was downloaded must not choose which code runs.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from minifer.errors import ConfigError, LayerError, MiniferError
from minifer.layers import Layer, Parameter, holding
from minifer.layers.around import around_forward
from minifer.models import MobileNet, block_table, mobilenet, mobilenet_v2, mobilenet_v3
from minifer.own_code import call, find, is_target, trouble

Own = str | Callable | Layer
LATER = {"v2": mobilenet_v2, "v3": partial(mobilenet_v3, "large"), "v3-small": partial(mobilenet_v3, "small")}


def build_model(settings, input_shape, classes, own=None, outline=False):
    """Return the network that a TrainConfig describes, for pictures (H, W, C).

    own        a network of one's own, which the settings name
    outline    as in mobilenet; a network of one's own is made whole
    Raises     ConfigError when one of both names a network of one's own and the other does not; LayerError when it
               cannot be made
    """
    if is_target(settings.model):
        if own is None:
            raise ConfigError(
                f"the network is one of your own, {settings.model}: give it again with --model {settings.model} "
                "(model= in Python), since a file does not choose which code runs"
            )
        name = own if isinstance(own, str) else settings.model
        return build_own(own, input_shape, classes, settings.seed, name)
    if own is not None and own != settings.model:
        raise ConfigError(f"the network is MobileNet {settings.model}: leave the model {own_name(own)} out")
    common = {
        "alpha": settings.alpha,
        "input_shape": input_shape,
        "classes": classes,
        "stem_stride": settings.stem_stride,
        "padding": settings.padding,
        "bn_eps": settings.bn_eps,
        "dropout": settings.dropout,
        "seed": settings.seed,
        "outline": outline,
    }
    if settings.model in LATER:
        return LATER[settings.model](**common)
    return mobilenet(
        settings.model,
        attention_blocks=settings.attention_blocks if settings.model == "mha" else None,
        heads=settings.heads,
        head_units=settings.head_units,
        attention_positions=settings.attention_positions,
        blocks=block_table(settings.blocks),
        linear=settings.linear,
        **common,
    )


def build_own(own, input_shape, classes, seed=0, name=None):
    """Return the Layer that a function, or the name of one, makes of (input_shape, classes, rng); or the Layer given.

    It is called `name` in errors. A parameter `rng` gets a Generator of the seed, and may be left out.

    Raises     LayerError when it makes none
    """
    name, thing = name or own_name(own), own
    if isinstance(own, str):
        thing = find_network(own)
    network = thing
    if not isinstance(thing, Layer):
        if not callable(thing):
            raise LayerError(f"{name} is neither a function that makes a network nor a layer")
        network = call(thing, name, (tuple(input_shape), classes), {}, seed, "; it takes (input_shape, classes, rng)")
    if not isinstance(network, Layer):
        raise LayerError(
            f"{name} made a {type(network).__name__}, no minifer.layers.Layer: return a Sequential of layers, "
            "or a class of your own that is a Layer"
        )
    if not network.parameters():
        raise LayerError(f"{name} made a network without a Parameter: there is nothing to train")
    return network


def check_output(network, name, input_shape, classes):
    """Raise LayerError, which names the layer, unless a network makes one logit for each class of a blank picture."""
    inside = []  # the paths of the layers that run, also of those that have failed

    def note(path, forward, *inputs, **how):
        inside.append(path)
        y = forward(*inputs, **how)
        inside.pop()
        return y

    try:
        with around_forward(network.walk(), note):
            y = network.forward(np.zeros((1, *input_shape), np.float32))
    except BaseException as error:
        where = f"its layer {inside[-1]}: " if inside and inside[-1] else ""
        why = error if isinstance(error, MiniferError) else trouble(error)
        height, width, channels = input_shape
        raise LayerError(
            f"{name} cannot read a picture of {height}x{width} with {channels} channel{'s'[: channels != 1]}: "
            f"{where}{why}"
        ) from error
    shape = getattr(y, "shape", type(y).__name__)
    if shape != (1, classes):
        made = f"{shape[1]} numbers" if len(shape) == 2 and shape[0] == 1 else f"{shape}"
        raise LayerError(
            f"{name} makes {made} of a picture, and the data has {classes} classes: give its last layer as many "
            "outputs as its argument `classes` says"
        )


def find_network(target):
    """Return the function that a name such as file.py:function means."""
    return find(target, callable, "function", "no function that makes a network")


def own_name(own):
    """Return the name under which settings keep a network of one's own: module:function, or module:Class of a Layer."""
    if isinstance(own, str):
        return own
    thing = type(own) if isinstance(own, Layer) else own
    return f"{getattr(thing, '__module__', 'python')}:{getattr(thing, '__qualname__', type(thing).__name__)}"


def freeze_body(model):
    """Freeze what transfer learning keeps: MobileNet's stem and blocks, of another network all but its last layer."""
    if isinstance(model, MobileNet):
        model.freeze("extraction")
        return
    # Also a layer of layers may hold a Parameter itself, such as attention its positions.
    holders = [
        layer
        for _, layer, things in holding.walk(model, kinds=(Parameter,))
        if any(isinstance(thing, Parameter) for _, thing, _ in things)
    ]
    for layer in holders[:-1]:
        layer.frozen = True
