"""Every kernel twice: a NumPy reference to read and a Numba twin to run; this switches between them."""

from contextlib import contextmanager, nullcontext
from contextvars import ContextVar

from numba import njit

from minifer.kernels.threads import in_turn

# How kernels are compiled: once, into the cache; x / 0 is inf as in NumPy. Never with fastmath: it reorders sums.
parallel = njit(parallel=True, cache=True, error_model="numpy")  # its prange loops share the cores
serial = njit(cache=True, error_model="numpy", nogil=True)  # starts no threads, so several may run at a time

BACKENDS = ("numba", "numpy")
TWINS = []
# What runs, for each thread by itself: a backend, and what stands in for some kernels, {name: function}.
_choice = ContextVar("kernels", default=("numba", {}))


class Twin:
    """A kernel's NumPy reference and its compiled twin, called as one function, from any thread.

    The two take the same arguments in the same order and return the same values up to rounding. Every Twin registers
    itself in TWINS, which the tests enumerate: a twin nobody compares with its reference rots.

    Compiled kernels run in turn (see threads.in_turn), except those that release Python's lock (nogil): they start no
    threads of their own.
    """

    def __init__(self, reference, compiled):
        self.reference, self.compiled = reference, compiled
        self.name = reference.__name__.removesuffix("_numpy")
        self.__doc__ = reference.__doc__
        self._turn = nullcontext() if getattr(compiled, "targetoptions", {}).get("nogil") else in_turn
        TWINS.append(self)

    def __call__(self, *args):
        _, stand_ins = _choice.get()
        return stand_ins.get(self.name, self.itself)(*args)

    def itself(self, *args):
        """Run it whatever stands in for it, so that a stand-in can leave work to it."""
        if _choice.get()[0] == "numpy":
            return self.reference(*args)
        with self._turn:
            return self.compiled(*args)

    def __repr__(self):
        return f"Twin({self.name})"


@contextmanager
def use_backend(name):
    """Run the body of a with statement on the "numpy" references or the "numba" twins, in this thread alone."""
    if name not in BACKENDS:
        raise ValueError(f"unknown backend {name!r}: choose one of {', '.join(BACKENDS)}")
    with _chosen(name, _choice.get()[1]):
        yield


@contextmanager
def use_kernels(stand_ins):
    """Run the body of a with statement on other functions in the place of some kernels: {name of the Twin: function}.

    minifer/counting.py does, with loops that count what they do, and kernels/bfloat16.py, with narrower numbers. This
    holds for the calling thread alone.
    """
    unknown = sorted(set(stand_ins) - {twin.name for twin in TWINS})
    if unknown:
        raise ValueError(f"no kernel is called {unknown[0]!r}")
    with _chosen(_choice.get()[0], dict(stand_ins)):
        yield


@contextmanager
def _chosen(*choice):
    before = _choice.set(choice)
    try:
        yield
    finally:
        _choice.reset(before)
