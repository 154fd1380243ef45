"""Is a backward pass right, and if not, what is the likely mistake?

load.py         finds a student's layer: file.py:Class
functions.py    functions in place of a layer: affine_forward with affine_backward, softmax_loss
subject.py      any object with forward and backward, a student's own included, in one form
state.py        every array and number that it holds, wherever
outputs.py      several outputs seen as one
names.py        which array is called the gradient of which
survey.py       what is there to check: which arrays and numbers are trained, and where their gradients are
experiment.py   what can be measured on it: central differences, the Jacobian, the same with something changed
check.py        compare_gradients and check_gradients: the comparison, and a second pass
report.py       the comparison as text
explain.py      the likely mistake: which change of the result, of dy, of what is read, or of the formula it is
changes.py      the one table of changes
vocabulary.py   gradients read as sums of usual terms
attention.py    those of attention, also inside a layer
term.py         the one term of many that is wrong
nonlinear.py    gradients that are not proportional to dy
where.py        in which places a gradient is wrong, where nothing explains it
evidence.py     what an explanation may look at, and when it holds
"""

from minifer.gradcheck.check import TOLERANCE, check_gradients, compare_gradients
from minifer.gradcheck.experiment import numeric_gradient

__all__ = ["TOLERANCE", "check_gradients", "compare_gradients", "numeric_gradient"]
