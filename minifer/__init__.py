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

_LAZY = {  # public name -> where it lives; imported on first use, so that `minifer --help` answers at once
    "layers": "minifer.layers",
    "models": "minifer.models",
    "faces": "minifer.faces",
    "gradcheck": "minifer.gradcheck",
    "cost": "minifer.cost",
    "counting": "minifer.counting",
    "use_backend": "minifer.kernels.twin",
    "threads": "minifer.kernels.threads",
}


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module 'minifer' has no attribute {name!r}")
    module = import_module(_LAZY[name])
    return getattr(module, name, module)


def __dir__():
    return [*globals(), *_LAZY]
