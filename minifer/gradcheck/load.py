"""Find a student's layer: my_layer.py:MyLayer, my_module:MyLayer or package.module:make_layer, and build it."""

import ast
import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path

import numpy as np

from minifer.errors import ConfigError, LayerError
from minifer.gradcheck.subject import is_layer, own_line


def is_target(name):
    """Whether a name on the command line means a file or module of one's own, not one of minifer's cases."""
    return ":" in name or name.endswith(".py")


def load_layer(target, arguments="", seed=0):
    """Return a layer: the class or function that a target names, called with arguments; or the object it names.

    target      file.py:Name or module:Name; a module is looked for in the current folder first
    arguments   what goes between the brackets, such as "3, stride=2"; a parameter `rng` is filled in if it is not given

    Raises      LayerError when there is no such file, module or name, when it is no layer, or when making it fails;
                ConfigError when the arguments cannot be read, or are not needed
    """
    where, _, name = target.rpartition(":") if not target.endswith(".py") else (target, "", "")
    module = _load_file(where) if where.endswith(".py") else _load_module(where)
    thing = getattr(module, name, None) if name else None
    if thing is None:
        layers = ", ".join(_layers_of(module)) or "no class with forward and backward"
        what = f"has nothing called {name!r}" if name else "needs the name of a class"
        raise LayerError(f"{where} {what}: it defines {layers}; write {where}:NAME")
    if is_layer(thing) and arguments:
        raise ConfigError(f"{target} is a layer already, not a class: leave out --with {arguments!r}")
    layer = thing if is_layer(thing) else _make(thing, target, *parse_arguments(arguments), seed)
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
        return positional, {keyword.arg: _value(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, AttributeError):
        raise ConfigError(f"--with {text!r} cannot be read: write it like 'channels=3, stride=2'") from None


def parse_input(text, rng):
    """Return a random array for a text: 2x5x4x3 is a shape, 4:10 are four integers from 0 to 9, such as labels.

    Entries are kept 0.05 away from 0, where a ReLU has a kink.   Raises ConfigError when it is neither
    """
    match = re.fullmatch(r"(\d+(?:x\d+)*)(?::(\d+))?", text)
    shape = tuple(int(length) for length in match[1].split("x")) if match else ()
    if not match or 0 in shape or match[2] == "0":
        raise ConfigError(f"--input {text!r} is not a shape: write 2x5x4x3, or 4:10 for four labels from 0 to 9")
    if match[2]:
        return rng.integers(int(match[2]), size=shape)
    x = rng.standard_normal(shape)
    return np.where(np.abs(x) < 0.05, np.copysign(0.1, x), x)


def _value(node):
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


def _load_file(path):
    path = Path(path)
    if not path.is_file():
        raise LayerError(f"there is no file {path}")
    # Not its own name: a student's copy.py or random.py must not take the place of Python's.
    spec = importlib.util.spec_from_file_location(f"checked_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.append(str(path.resolve().parent))  # at the end, for the same reason; for imports beside the file
    _import(lambda: spec.loader.exec_module(module), path)
    return module


def _load_module(name):
    file = Path(*name.split(".")).with_suffix(".py")
    if "." not in name and file.is_file():
        return _load_file(file)
    sys.path.insert(0, "")
    try:
        return _import(lambda: importlib.import_module(name), name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise LayerError(
                f"there is no module {error.name!r}: go to the folder of {file}, or write path/to/{file.name}:NAME"
            ) from None
        raise LayerError(f"{name} cannot be imported: {error}") from error
    finally:
        sys.path.remove("")


def _import(load, what):
    try:
        return load()
    except ModuleNotFoundError as error:
        if own_line(error):
            raise LayerError(f"{what} cannot be imported: {error} ({own_line(error)})") from error
        raise
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise LayerError(f"{what} is not Python: {error.msg} (line {error.lineno}: {line})") from None
    except (Exception, SystemExit) as error:
        raise LayerError(f"{what} cannot be imported: {type(error).__name__}: {error} ({own_line(error)})") from error


def _make(thing, target, positional, keywords, seed):
    if not callable(thing):
        return thing
    try:
        signature = inspect.signature(thing)
        if "rng" in signature.parameters and "rng" not in keywords:
            keywords = {**keywords, "rng": np.random.default_rng(seed)}
        signature.bind(*positional, **keywords)
    except TypeError as error:
        first = next(iter(signature.parameters), "name")
        raise LayerError(f"{thing.__name__}{signature}: {error}; give arguments such as --with {first}=3") from error
    try:
        return thing(*positional, **keywords)
    except Exception as error:
        raise LayerError(f"{target} cannot be made: {type(error).__name__}: {error} ({own_line(error)})") from error


def _layers_of(module):
    return [
        name
        for name, thing in vars(module).items()
        if inspect.isclass(thing)
        and thing.__module__ == module.__name__
        and all(hasattr(thing, method) for method in ("forward", "backward"))
    ]
