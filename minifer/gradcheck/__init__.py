"""Is a backward pass right, and if not, what is the likely mistake?

load.py         finds a student's layer: file.py:Class
subject.py      any object with forward and backward, a student's own included, in one form
state.py        every array and number that it holds, wherever
outputs.py      several outputs seen as one
names.py        which array is called the gradient of which
survey.py       what is there to check: which arrays and numbers are trained, and where their gradients are
experiment.py   what can be measured on it: central differences, the Jacobian, the same with something changed
check.py        compare_gradients and check_gradients: the comparison, and a second pass
report.py       the comparison as text
mistakes.py     the usual mistakes, most specific first; each is a function of the Evidence (evidence.py) in
                scale.py (factors and signs), places.py (order and indices), upstream.py (the use of dy),
                weights.py (the use of a parameter), masks.py, terms.py, and, for layers that are recognized,
                formulas.py, normalization.py, attention.py
"""

from minifer.gradcheck.check import TOLERANCE, check_gradients, compare_gradients
from minifer.gradcheck.experiment import numeric_gradient

__all__ = ["TOLERANCE", "check_gradients", "compare_gradients", "numeric_gradient"]
