"""Is a backward pass right, and if not, what is the likely mistake?

subject.py     any object with forward and backward, a student's own included, in one form
experiment.py  what can be measured on it: central differences, the Jacobian, the same with something changed
check.py       compare_gradients and check_gradients: the comparison, a second pass, what must not be changed
report.py      the comparison as text
mistakes.py    the usual mistakes, most specific first; each is a function in one of
               scale.py, places.py, upstream.py, weights.py, terms.py, formulas.py
"""

from minifer.gradcheck.check import TOLERANCE, check_gradients, compare_gradients
from minifer.gradcheck.experiment import numeric_gradient

__all__ = ["TOLERANCE", "check_gradients", "compare_gradients", "numeric_gradient"]
