"""Find a student's layer: my_layer.py:MyLayer, my_module:MyLayer or package.module:make_layer, and build it."""

import ast
import inspect
import math
import re

import numpy as np

from minifer.errors import ConfigError, LayerError
from minifer.gradcheck.experiment import MOST_HELD
from minifer.gradcheck.functions import is_function, layer_of
from minifer.gradcheck.subject import is_layer
from minifer.own_code import call, find, signature_of

INPUT = re.compile(r"(\d{1,9}(?:x\d{1,9}){0,7})(?::(\d{1,9}))?")  # what is longer is a slip, and no array has it


def load_layer(target, arguments="", seed=0, input_shape=None):
    """Return a layer: the class or function that a target names, called with arguments; or the object it names.

    target         file.py:Name or module:Name; a module is looked for in the current folder first; or functions:
                   file.py:relu_forward is used with relu_backward beside it, file.py:hinge_loss gives both itself
    arguments      what goes between the brackets, such as "3, stride=2"; a parameter `rng` is filled in if it is not
                   given
    input_shape    without the batch: a function of (input_shape, classes) that makes a network gets it, and 3 classes

    Raises      LayerError when there is no such file, module or name, when it is no layer, or when making it fails;
                ConfigError when the arguments cannot be read, or are not needed
    """
    thing = find(target, _makes_layers, "class", "no class with forward and backward")
    if is_layer(thing) and arguments:
        raise ConfigError(f"{target} is a layer already, not a class: leave out --with {arguments!r}")
    positional, keywords = parse_arguments(arguments)
    if is_function(thing, positional, keywords):
        return layer_of(thing, positional, keywords)
    layer = thing
    if callable(thing) and not is_layer(thing):
        if not arguments and list(signature_of(thing).parameters)[:2] == ["input_shape", "classes"]:
            positional = (input_shape, 3)
        layer = call(thing, target, positional, keywords, seed, "; give arguments such as --with {}=3")
    if not is_layer(layer):
        missing = "forward(x)" if not callable(getattr(layer, "forward", None)) else "backward(dy)"
        raise LayerError(f"{target} is not a layer: {type(layer).__name__} has no method {missing}")
    return layer


def parse_arguments(text):
    """Return (positional, keyword) arguments of a text such as "3, stride=2, activation=relu"; only plain values.

    Raises    ConfigError when it is not a list of numbers, words, tuples and the like
    """
    try:
        call = ast.parse(f"call({text})", mode="eval").body
        if call.func.id != "call":  # raises AttributeError for the brackets of "3)("
            raise ValueError
        positional = [_value(node) for node in call.args]
        keywords = [(keyword.arg, _value(keyword.value)) for keyword in call.keywords]
    except (SyntaxError, ValueError, AttributeError, TypeError):  # TypeError: {[1]}, which Python cannot make
        raise ConfigError(f"--with {text!r} cannot be read: write it like 'channels=3, stride=2'") from None
    if len(dict(keywords)) < len(keywords):
        raise ConfigError(f"--with {text!r} gives an argument twice: leave one out")
    return positional, dict(keywords)


def parse_input(text, rng):
    """Return a random array for a text: 2x5x4x3 is a shape, 4:10 are four integers from 0 to 9, such as labels.

    Entries are kept 0.05 away from 0, where a ReLU has a kink.   Raises ConfigError when it is neither, or too large
    """
    match = INPUT.fullmatch(text)
    shape = tuple(int(length) for length in match[1].split("x")) if match else ()
    if not match or 0 in shape or match[2] == "0":
        raise ConfigError(
            f"--input {text!r} is not a shape: write 2x5x4x3, or 4:10 for four labels from 0 to 9, and --input again "
            "for a second input"
        )
    if math.prod(shape) > MOST_HELD:
        raise ConfigError(f"--input {text} is {math.prod(shape):,} numbers: check it on a tiny shape such as 2x5x4x3")
    if match[2]:
        return rng.integers(int(match[2]), size=shape)
    x = rng.standard_normal(shape)
    return np.where(np.abs(x) < 0.05, np.copysign(0.1, x), x)


def _makes_layers(thing):
    return inspect.isclass(thing) and all(hasattr(thing, method) for method in ("forward", "backward"))


def _value(node):
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)
