"""What the likely mistake is: which change, of what, turns the right gradient into the given one.

The right gradient is J^T dy, and J is measured. A mistake changes one of four things:

    the result    given = T(J^T dy)            what was read    given = J'^T dy, J' that of a layer with T(weight)
    the upstream  given = J^T T(dy)            the formula      both gradients are sums of a few terms: vocabulary.py

T is a row of the table in changes.py. In a sum of many terms one alone may be wrong: term.py. What explains a gradient
does so for several dy (Evidence.factor), exactly or but for a constant factor. If nothing does, where.py says in which
places it is wrong. A wrong guess is worse than none.
"""

import math
from dataclasses import dataclass
from itertools import chain, permutations, product

import numpy as np

from minifer.errors import MiniferError
from minifer.gradcheck import attention, changes, where
from minifer.gradcheck.evidence import Evidence, close, fits, name_axes, same, subsets_of_axes
from minifer.gradcheck.nonlinear import NOT_LINEAR, is_linear, nonlinear
from minifer.gradcheck.term import term
from minifer.gradcheck.vocabulary import OTHER, VOCABULARIES, difference, merged, written

DIGITS = 1e5  # as many as explanations compare: a gradient of so many times its rounding is known well enough
MOST_READINGS = 5  # of a constant factor; with more, none is said


@dataclass(frozen=True)
class Guess:
    """A likely mistake: what kind it is, a sentence, and if both gradients can be read, the two formulas."""

    mistake: str
    text: str
    formulas: tuple = ()

    @property
    def unknown(self):
        """Whether nothing explains the gradient."""
        return self.mistake == "unknown"

    def as_json(self):
        """Return the same as text and lists."""
        return {"mistake": self.mistake, "text": self.text, "formulas": list(self.formulas)}

    def __str__(self):
        first = f"{'no guess' if self.unknown else 'likely'}: {self.text}"
        return "\n".join([first, *(f"        {line}" for line in self.formulas)])


def guess(e):
    """Return the Guess about a wrong gradient."""
    vague = None
    with np.errstate(all="ignore"):  # a change may divide by zero
        linear = is_linear(e)
        more = OF_LINEAR if linear else OF_OTHERS
        for kind in (plain, result, *(more if e.small else ())):
            found = kind(e)
            found = Guess(kind.__name__, found) if isinstance(found, str) else found
            if found and not found.text.startswith(OTHER):
                return found
            vague = vague or found
        place = where.places(e) if linear else NOT_LINEAR
    right = f"none of the usual mistakes; {np.mean(~e.wrong):.0%} of the entries are right"
    return vague or Guess(*(("places", place) if place else ("unknown", right)))


def guess_of_shape(e):
    """Return "; likely: ..." for a gradient of another shape than its array, or an empty string."""
    shape, texts = e.numeric.shape, []
    for axes in permutations(range(e.given.ndim)):
        if close(e.given.transpose(axes), e.numeric):
            texts.append(f"transposed: right after .transpose{axes}")
    if e.given.size == e.numeric.size and close(e.given.reshape(shape), e.numeric):
        texts.append(f"the numbers are right: .reshape{shape} (keepdims, or a lost axis)")
    for axes in subsets_of_axes(e.given.ndim):
        for way in (np.sum, np.mean):
            total = way(e.given, axis=axes)
            if total.size == e.numeric.size and close(total.reshape(shape), e.numeric):
                again = e.small and e.given.shape not in (e.x.shape, e.y.shape)
                also = " of this too" if again else ", the batch" if axes == (0,) else ""
                texts.append(f"not summed{' enough' * again}: take the {way.__name__} over {name_axes(axes)}{also}")
    if not texts and e.small and e.multiplier is not None:
        texts = [text for text, total in other_axes(e) if close(total.ravel(), e.given.ravel())]
    return f"; likely: {texts[0]}" if texts else ""


def plain(e):
    """What is plain to see: nothing, nan, a kink, random numbers, an array that y does not depend on."""
    if not np.isfinite(e.given).all():
        return (
            "nan or inf: a division by zero, the root or logarithm of a number that is not positive, or memory of "
            "np.empty that was never written"
        )
    if not e.given.any() and e.numeric.any():
        return "all zeros: never computed, or two terms cancel"
    if e.experiment is None:
        return None
    if not e.repeats:
        return (
            "backward is no function of dy and of what forward saved: called again, it gives another gradient, as with "
            "a mask that is drawn anew; keep forward's in self"
        )
    largest = max(np.abs(numeric).max(initial=0) for numeric in e.numerics.values())
    if np.abs(e.numeric).max() < 1e-7 * max(largest, 1e-3) and not e.changes_y:
        return "this array does not change y: its gradient is zero (a mask, or a sum that cancels, is missing)"
    if np.abs(e.numeric).max() < DIGITS * e.experiment.rounding:
        return Guess("unknown", "y depends on it so little that its rounding hides what the right gradient is")
    if not e.small:
        return None
    if e.wrong.any() and (e.bend[e.wrong] > 1e-2 * largest).all():
        return "perhaps nothing: the input lies on a kink, where there is no derivative; try another --seed"
    if not e.reaching.all() and not e.elementwise and close(e.rerun(e.dy * e.reaching), e.numeric):
        return "the mask of the outputs is missing: dy passes where forward blocks y (multiply dy by it first)"
    before = e.experiment.subject.gradient(e.name) if e.name in e.experiment.paths else None
    if np.shape(before) == e.given.shape and before is not None and close(e.given - before, e.numeric):
        return "added to the gradient that was there before: overwrite it (= instead of +=)"
    return None


def first_exact(e, rows, candidate, thing):
    """Return the sentence of the first row that explains the gradient; if none does exactly, but for a factor."""
    loose = None
    for text, change in rows:
        factor = e.factor(lambda draw, change=change: candidate(change, draw))
        if factor == 1:
            return text.format(thing)
        if factor and not loose:
            loose = f"{text.format(thing)}; besides, {amount(e, factor)}"
    return loose


def result(e):
    """given = T(numeric); or a multiple of it; or what belongs to another array."""
    factor = e.factor(lambda draw: draw.numeric)
    if factor:
        return amount(e, factor)
    for name, numeric in e.numerics.items():
        theirs = e.experiment and e.experiment.gradients[name]
        if name != e.name and close(e.given, numeric) and not close(theirs, numeric):
            return f"this is what belongs to {name}: the two are swapped"
    shape = e.given.shape
    rows = chain(changes.rearrangements(shape), changes.reorderings(shape), changes.shifts(shape))
    return first_exact(e, rows, lambda change, draw: change(draw.numeric), "the gradient")


def amount(e, factor):
    """Return a constant factor in words, with all that it may come from."""
    size, large = abs(factor), abs(factor) > 1
    if abs(size - 1) < 1e-5:
        return "the sign is flipped"
    text = f"{size:.4g} times too large" if large else f"{1 / size:.4g} times too small"
    text += f"{' and of the wrong sign' if factor < 0 else ''}, a constant factor"
    if e.experiment is None:
        return text
    factor = max(size, 1 / size)
    factor = round(factor) if math.isclose(factor, round(factor), rel_tol=1e-5) else factor
    found = list(readings_of(e, factor))
    if not found:
        pairs = permutations(sorted({*e.x.shape, *e.y.shape}), 2)
        means = [f": a mean over {b} where {a} belong" for a, b in pairs if math.isclose(size, a / b, rel_tol=1e-5)]
        return text + (means[0] if len(means) == 1 else "")
    if sum(count for count, _ in found) > MOST_READINGS:
        return text
    mean = "a sum where a mean belongs?" if large else "a mean where a sum belongs?"
    sizes = f" ({mean})" if any("the size of ax" in name and "window" not in name for _, name in found) else ""
    return f"{text}: {'divide' if large else 'multiply'} by {', or by '.join(name for _, name in found)}{sizes}"


def readings_of(e, factor):
    """Yield (how many readings, text) of what a factor > 1 may be: sizes of the arrays, numbers of the layer."""
    for name, array in {"the input": e.x, "y": e.y}.items():
        if name == "y" and array.shape == e.x.shape:
            continue
        found = [some for some in usual_axes(e, array.ndim) if math.prod(array.shape[axis] for axis in some) == factor]
        found = [some for some in found if all(array.shape[axis] > 1 for axis in some)]
        if name == "y":  # the axes that it shares with the input, such as the batch, were named there
            found = [some for some in found if e.x.shape[: some[-1] + 1] != array.shape[: some[-1] + 1]]
        if found:
            batch = ", the batch," if found == [(0,)] else ""
            yield len(found), f"{factor:g}, the size of {' or '.join(map(name_axes, found))}{batch} of {name}"
    for number, name in numbers(e):
        if math.isclose(factor, number, rel_tol=1e-5):
            yield 1, name


def usual_axes(e, ndim):
    """Return the axes that a mean is usually over: some in a row, all but one, or some that this gradient sums over."""
    summed = set(summed_axes(e)) if e.small and e.multiplier is not None and e.y.ndim == ndim else set()
    return [
        axes
        for axes in subsets_of_axes(ndim)
        if axes[-1] - axes[0] == len(axes) - 1 or len(axes) == ndim - 1 or set(axes) <= summed
    ]


def summed_axes(e):
    """Return the axes of y over which the gradient of a parameter is a sum."""
    each = e.dy * e.multiplier
    right = [axes for axes in subsets_of_axes(e.dy.ndim) if close(each.sum(axis=axes).ravel(), e.numeric.ravel())]
    return right[0] if right else ()


def numbers(e):
    """Yield (number > 1, its name) for a window, a square, a root, and numbers of the layer."""
    windows = []
    if e.of_input and e.small:
        window = int((np.abs(e.jacobian.reshape(e.y.size, -1)) > 1e-9).sum(axis=1).max(initial=0))
        if window > 1 and window not in e.x.shape:
            yield window, f"{window}, the number of inputs that an output depends on (the size of a window?)"
            windows.append(window)
    for name, weight in e.weights.items():
        if weight.ndim > 2 and (window := math.prod(weight.shape[:2])) > 1 and window not in windows:
            yield window, f"{window}, the size of axes 0 and 1 of {name} (a window?)"
    yield 2, "2, as in the derivative of a square"
    last = e.value.shape[-1] if e.value.ndim else 1
    if last > 1:
        yield math.sqrt(last), f"the root of {last}, the size of the last axis of {e.called(e.name)} (1 / sqrt(D)?)"
    for name, number in e.numbers.items():
        if math.isfinite(number):
            for form, one in {name: number, f"{name}^2": number**2, f"(1 - {name})": 1 - number}.items():
                if one > 0 and one != 1:
                    yield (one, form) if one > 1 else (1 / one, f"1 / {form}")


def formula(e):
    """Both gradients are sums of a few usual terms, which say what is wrong."""
    every = (*VOCABULARIES, attention.alone, attention.inside)
    for vocabulary in chain.from_iterable(kind(e) for kind in every) if e.equations > 5 else ():
        right = vocabulary.read(vocabulary.right, e.draws, lambda draw: draw.numeric)
        here = right and vocabulary.read([*vocabulary.right, *vocabulary.more], e.draws, lambda draw: draw.given)
        if not here:
            continue
        right, here = vocabulary.named(right), vocabulary.named(here)
        if len(merged(right)) == 1:
            right, here = merged(right), merged(here)
        if written(right) != written(here):
            lines = f"right   {written(right)}", f"here    {written(here)}"
            return Guess("formula", difference(right, here, e.y.shape), lines)
    return None


def with_dy(e):
    """Return the right gradient with dy changed, as a function of the change and a Draw."""
    return lambda change, draw: e.gradient_for(np.nan_to_num(change(draw.dy)))


def activation(e):
    """given = J^T T(dy), T is what is done wrong at an activation that ends the layer."""
    rows = changes.activations(e.y) if e.y.ndim else ()
    return next((text for text, change in rows if e.factor(lambda draw, f=change: with_dy(e)(f, draw)) == 1), None)


def upstream(e):
    """given = J^T T(dy), or the sum of J^T dy is over other axes."""
    shape, known = e.dy.shape, e.known
    for text, change in changes.factors(known, e.given.shape):  # of the result
        if e.factor(lambda draw, change=change: change(draw.numeric)) == 1:
            return text
    if not e.y.ndim:
        return None
    if e.multiplier is not None:
        found = [text for text, total in other_axes(e) if close(e.given, total)]
        if found:
            return found[0]
        if not any(fits(a, shape) and close(a * np.ones(shape), e.multiplier) for a in known.values()):
            known = known | {f"(the derivative of y by {e.called(e.name)})": e.multiplier}
    tables = (changes.reductions, changes.rearrangements, changes.reorderings, changes.shifts)
    rows = chain(changes.powers(), changes.factors(known, shape), *(table(shape) for table in tables))
    return first_exact(e, rows, with_dy(e), "dy")


def other_axes(e):
    """Yield (what was done, the gradient of a parameter whose sum is over other axes)."""
    each, shape, right = e.dy * e.multiplier, e.given.shape, summed_axes(e)
    belongs = f", where {name_axes(right)} {'belong' if right[1:] else 'belongs'}" if right else ""
    for axes in subsets_of_axes(e.dy.ndim):
        for way, name in ((np.sum, "summed"), (np.mean, "averaged")):
            total, text = way(each, axis=axes), f"{name} over {name_axes(axes)}{belongs}"
            if total.size == e.given.size:
                yield text, total.reshape(shape)
            yield from ((text, np.full(shape, entry)) for entry in total.ravel()[: 1 + total.size * (total.ndim == 1)])


def reading(e):
    """given = J'^T dy of a layer with T(weight), or another input; or backward is right if it reads something else."""
    ways = np.random.default_rng(0).standard_normal((3, *e.given.shape))
    ours = np.array([np.sum(e.given * way) for way in ways])
    for name, text, array in readings(e):
        try:
            slopes = np.array([e.experiment.slope(e.name, way, {name: array}) for way in ways])
        except (MiniferError, ValueError):  # forward fails with it
            continue
        if close(ours, slopes, 1e-6):
            return text
    matrix = e.jacobian.reshape(e.y.size, e.value.size)
    if e.y.size == e.value.size and e.factor(lambda draw: np.reshape(matrix @ draw.dy.ravel(), e.given.shape)):
        return "a matrix is used where its transpose belongs (a weight without .T, attention's probabilities, a kernel)"
    if e.dy.shape == e.given.shape and e.factor(lambda draw: draw.dy) == 1:
        return "dy is passed through: the derivative is missing"
    return repaired(e)


def readings(e):
    """Yield (name of an array, sentence, what it is changed to) of all weights and inputs."""
    for name, array in e.experiment.values.items():
        if name in e.inputs:
            for other, belongs in e.known.items():
                if belongs.shape == array.shape and other not in (name[1:], "x"):
                    yield name, f"{other} is used where {name[1:]} belongs", belongs
        if name != e.name:
            rows = chain(changes.rearrangements(array.shape), changes.powers())
            for text, change in chain(rows, [("the path through {} is missing", np.zeros_like)]):
                if np.isfinite(change(array)).all():
                    yield name, text.format(e.called(name)), change(array)


def repaired(e):
    """backward is right if what it reads, a weight or what forward saved, is changed or another of these."""
    saved = {name: array for name, array in e.saved.items() if np.isfinite(array).all()}
    for name, array in saved.items():
        for text, change in changes.rearrangements(array.shape):
            if close(e.rerun(e.dy, {name: change(array)}), e.numeric):
                return text.format(name)
        for other, belongs in saved.items():
            # Zeros in an array's place take a term away, whatever they are made for.
            if belongs.shape == array.shape and np.ptp(belongs) > 0 and not same(belongs, array):
                if close(e.rerun(e.dy, {name: belongs}), e.numeric):
                    return f"{name} is used where {other} belongs"
    return next((text for text, moved in one_off(saved) if close(e.rerun(e.dy, moved), e.numeric)), None)


def one_off(saved):
    """Yield (sentence, {name: array}) of saved arrays, and lists of them, moved by one place, as steps of time are."""
    lists = {}
    for name, array in saved.items():
        holder, _, index = name.rpartition(".")
        if index.isdigit():
            lists.setdefault((holder, array.shape), []).append(name)
        for axis, by in product(range(array.ndim), (1, -1)):
            which = f"{name} is read one place too {'far' if by > 0 else 'early'} along axis {axis}"
            yield which, {name: np.roll(array, by, axis)}
    for (holder, _), names in lists.items():
        for by in (1, -1):
            arrays = [saved[names[(i - by) % len(names)]] for i in range(len(names))]
            yield (
                f"{holder} is read one place too {'far' if by > 0 else 'early'}",
                dict(zip(names, arrays, strict=True)),
            )


OF_LINEAR = where.masks, activation, formula, upstream, reading, term
OF_OTHERS = nonlinear, activation, upstream

__all__ = ["Evidence", "Guess", "guess", "guess_of_shape"]
