"""Every kernel twice: a NumPy reference to read and a Numba twin to run; this switches between them."""

from contextlib import contextmanager

BACKENDS = ("numba", "numpy")
_active = "numba"
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
        return (self.compiled if _active == "numba" else self.reference)(*args)

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
