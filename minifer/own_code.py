"""Code of one's own, named on the command line: my_layer.py:MyLayer, my_module:my_network or package.module:name.

It is found, imported and called here, and whatever goes wrong in it is told in one line with its file and line.
"""

import importlib
import importlib.util
import inspect
import linecache
import sys
import sysconfig
import traceback
from pathlib import Path

import numpy as np

from minifer.errors import LayerError

PACKAGE = Path(__file__).resolve().parent
STDLIB = sysconfig.get_path("stdlib")


def is_target(name):
    """Whether a name means a file or module of one's own, not something of minifer's."""
    return ":" in name or name.endswith(".py")


def find(target, wanted, kind, none):
    """Return the thing that a target names.

    target      file.py:Name or module:Name; a module is looked for in the current folder first
    wanted      a function: whether a thing in the module is of the kind that is looked for
    kind, none  what that kind is called, and how to say that the module has none
    Raises      LayerError when there is no such file, module or name; it says what is there
    """
    where, _, name = target.rpartition(":") if not target.endswith(".py") else (target, "", "")
    module = _load_file(where) if where.endswith(".py") else _load_module(where)
    thing = getattr(module, name, None) if name else None
    if thing is None:
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        known = ", ".join(key for key in own if wanted(vars(module)[key])) or none
        problem = f"has nothing called {name!r}" if name else f"needs the name of a {kind}"
        raise LayerError(f"{where} {problem}: it defines {known}; write {where}:NAME")
    return thing


def call(thing, target, positional, keywords, seed, hint=""):
    """Return what a class or function gives for some arguments; a parameter `rng` is filled in if it is not given.

    hint        a format for the name of a parameter: how to give one that is missing
    Raises      LayerError when it does not take them, or fails
    """
    try:
        signature = inspect.signature(thing)
        if "rng" in signature.parameters and "rng" not in keywords:
            keywords = {**keywords, "rng": np.random.default_rng(seed)}
        signature.bind(*positional, **keywords)
    except TypeError as error:
        first = next(iter(signature.parameters), "name")
        raise LayerError(f"{thing.__name__}{signature}: {error}{hint.format(first)}") from error
    try:
        return thing(*positional, **keywords)
    except Exception as error:
        raise LayerError(f"{target} cannot be made: {type(error).__name__}: {error} ({own_line(error)})") from error


def own_line(error):
    """Return "file.py, line 12: source" of the innermost line outside minifer and the libraries, or an empty string."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = frame.f_code.co_filename
        if not file.startswith("<") and not is_library_file(file):
            return f"{Path(file).name}, line {line}: {linecache.getline(file, line).strip()}"
    return ""


def is_library_file(file):
    """Whether a file is minifer's, Python's or an installed library's."""
    installed = not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)
    return installed or file.startswith((str(PACKAGE), STDLIB, "<frozen", "<__array"))


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
