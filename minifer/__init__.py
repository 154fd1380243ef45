"""minifer: a MobileNet with skip connections and multi-head attention, from scratch in NumPy and Numba, for teaching.

The letters used everywhere:

    N  pictures in a batch        H W    rows and columns of a map       C  channels in     F  channels out
    KH KW  rows and columns of a convolution kernel                      OH OW  rows and columns of an output map
    T  tokens (positions H*W)     D  width of a token                    A  attention heads
    loops: n i j u v c f          s  stride

    dy is the gradient that comes in from above, dx the one that goes out.
"""

__version__ = "0.1.0"

from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules

_LAZY = {  # public name -> where it lives; imported on first use, so that `minifer --help` answers at once
    "Recognizer": "minifer.recognizer",
    "use_backend": "minifer.kernels.twin",
    "threads": "minifer.kernels.threads",
}
__all__ = ["Recognizer", "__version__", "threads", "use_backend"]


def __getattr__(name):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if not name.startswith("_") and find_spec(f"minifer.{name}"):  # minifer.training, without an import of its own
        return import_module(f"minifer.{name}")
    raise AttributeError(f"module 'minifer' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__, *(module.name for module in iter_modules(__path__))})
