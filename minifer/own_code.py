"""Code of one's own, named on the command line: my_layer.py:MyLayer, my_module:my_network or package.module:name.

It is found, imported and called here, and whatever goes wrong in it is told in one line with its file and line.
"""

import contextlib
import importlib
import importlib.util
import inspect
import linecache
import sys
import sysconfig
import traceback
from importlib.machinery import PathFinder
from pathlib import Path

from minifer.errors import LayerError

PACKAGE = Path(__file__).resolve().parent
STDLIB = sysconfig.get_path("stdlib")
ANY = inspect.signature(lambda *arguments: None)


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
        problem = f"has nothing called {name!r}" if name else f"needs the name of a {kind}"
        raise LayerError(f"{where} {problem}: it {_offer(module, wanted, none)}; write {where}:NAME")
    return thing


def _offer(module, wanted, none):
    """Return what a module defines of some kind, or else what it has from other files, and a library from others."""
    found = {key: value for key, value in vars(module).items() if not key.startswith("_") and wanted(value)}
    home = is_library_file(getattr(module, "__file__", None) or "")
    own, others = [], []
    for key, value in found.items():
        source = sys.modules.get(getattr(value, "__module__", None))
        if source is module:
            own.append(key)
        elif is_library_file(getattr(source, "__file__", None) or "") == home:
            others.append(key)
    return f"defines {', '.join(own) or none}" if own or not others else f"has {', '.join(others)}"


def call(thing, target, positional, keywords, seed, hint=""):
    """Return what a class or function gives for some arguments; a parameter `rng` is filled in if it is not given.

    hint        a format for the name of a parameter: how to give one that is missing
    Raises      LayerError when it does not take them, or fails
    """
    import numpy as np

    signature = signature_of(thing)
    if "rng" in signature.parameters and "rng" not in keywords:
        keywords = {**keywords, "rng": np.random.default_rng(seed)}
    try:
        signature.bind(*positional, **keywords)
    except TypeError as error:
        name, first = target.rpartition(":")[2], next(iter(signature.parameters), "name")
        raise LayerError(f"{name}{signature}: {error}{hint.format(first)}") from error
    try:
        return thing(*positional, **keywords)
    except BaseException as error:
        raise LayerError(f"{target} cannot be made: {trouble(error)}") from error


def signature_of(thing):
    """Return the signature of a class or function; of one that does not tell it, such as int, one that takes all."""
    try:
        return inspect.signature(thing)
    except ValueError:
        return ANY


def trouble(error):
    """Return "KeyError: 'x' (my_layer.py, line 12: source)" of whatever one's own code has raised, be it sys.exit().

    For a handler of BaseException: Ctrl-C is raised again.
    """
    if isinstance(error, KeyboardInterrupt):
        raise error
    kind, text, place = type(error).__name__, str(error).strip().partition("\n")[0], own_line(error)
    said = f"{kind}: {text}" if text else kind
    if not isinstance(error, Exception):
        said += ", which would end the program: raise an Exception instead"
    return f"{said} ({place})" if place else said


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
    folder = path.resolve().parent
    with Beside(folder).finding(FOUND.setdefault(folder, {})):
        _import(lambda: spec.loader.exec_module(module), path)
    return module


class Beside:
    """Finds what a file of one's own imports from its folder, while it is imported: two students both have a utils.py.

    It comes before the current folder, and after Python and the libraries, which minifer itself needs. Modules of the
    same names are put aside meanwhile, whoever they belong to; what was found is kept for other files of the folder.
    """

    def __init__(self, folder):
        self.folder, self.found = folder, set()

    def find_spec(self, name, path=None, target=None):
        """Return where a module is, or None: what Python asks of a finder."""
        if path is not None or name in sys.stdlib_module_names:  # in a package; Python's own
            return None
        spec = PathFinder.find_spec(name, [str(self.folder)])
        other = spec and PathFinder.find_spec(name)
        if spec is None or (other and is_library_file(other.origin or "")):
            return None
        self.found.add(name)
        return spec

    @contextlib.contextmanager
    def finding(self, kept):
        """Find in the body of a with statement; kept is {name: module} that was found in this folder before."""
        aside = {name: sys.modules.pop(name) for name in list(sys.modules) if self._may_be_here(name)}
        self.found.update(name.partition(".")[0] for name in kept)
        sys.modules.update(kept)
        sys.meta_path.insert(0, self)
        try:
            yield
        finally:
            sys.meta_path.remove(self)
            kept.update(
                {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in self.found}
            )
            sys.modules.update(aside)
            if str(self.folder) not in sys.path:
                sys.path.append(str(self.folder))  # for what is imported when a function runs

    def _may_be_here(self, name):
        """Whether a loaded module is called like a file or folder here, and is no library's."""
        first, file = name.partition(".")[0], getattr(sys.modules[name], "__file__", None)
        here = (self.folder / f"{first}.py").is_file() or (self.folder / first).is_dir()
        return bool(file) and here and first != "__main__" and not is_library_file(file)


FOUND = {}  # {folder: {name: module}}, of files of one's own that were imported


def _load_module(name):
    if not all(part.isidentifier() for part in name.split(".")):
        raise LayerError(f"{name!r} is neither a file nor a module: write path/to/file.py:NAME")
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
    except BaseException as error:
        raise LayerError(f"{what} cannot be imported: {trouble(error)}") from error
