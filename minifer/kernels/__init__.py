"""The computations themselves: functions on bare arrays, each as a NumPy reference and a Numba twin."""

from minifer.kernels import threads  # noqa: F401  (sets how threads wait, before the first kernel runs)
from minifer.kernels.cache import find_cache
from minifer.kernels.memory import keep_freed_pages

keep_freed_pages()
TEMPORARY_CACHE = find_cache()
