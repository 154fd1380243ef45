"""Every kernel twice: a NumPy reference to read and a Numba twin to run; this switches between them."""

from contextlib import contextmanager

BACKENDS = ("numba", "numpy")
_active = "numba"
_stand_ins = {}  # name of a kernel: the function that runs in its place
TWINS = []


class Twin:
    """A kernel's NumPy reference and its compiled twin, called as one function.

    The two take the same arguments in the same order and return the same values up to rounding. Every Twin registers
    itself in TWINS, which the tests enumerate: a twin nobody compares with its reference rots.
    """

    def __init__(self, reference, compiled):
        self.reference, self.compiled = reference, compiled
        self.name = reference.__name__.removesuffix("_numpy")
        self.__doc__ = reference.__doc__
        TWINS.append(self)

    def __call__(self, *args):
        function = _stand_ins.get(self.name) or (self.compiled if _active == "numba" else self.reference)
        return function(*args)

    def __repr__(self):
        return f"Twin({self.name})"


@contextmanager
def use_backend(name):
    """Run the body of a with statement on the "numpy" references or the "numba" twins."""
    global _active
    if name not in BACKENDS:
        raise ValueError(f"unknown backend {name!r}: choose one of {', '.join(BACKENDS)}")
    before, _active = _active, name
    try:
        yield
    finally:
        _active = before


@contextmanager
def use_kernels(stand_ins):
    """Run the body of a with statement on other functions in the place of some kernels: {name of the Twin: function}.

    minifer/counting.py does, with loops that count what they do.
    """
    global _stand_ins
    unknown = sorted(set(stand_ins) - {twin.name for twin in TWINS})
    if unknown:
        raise ValueError(f"no kernel is called {unknown[0]!r}")
    before, _stand_ins = _stand_ins, dict(stand_ins)
    try:
        yield
    finally:
        _stand_ins = before
