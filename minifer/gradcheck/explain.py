"""What the likely mistake is: which change, of what, turns the right gradient into the given one.

The right gradient is J^T dy, and J is measured. A mistake changes one of four things:

    the result    given = T(J^T dy)            what was read    given = J'^T dy, J' that of a layer with T(weight)
    the upstream  given = J^T T(dy)            the formula      both gradients are sums of a few terms: vocabulary.py

T is a row of the table in changes.py. What explains the gradient does so for several dy (Evidence.factor), exactly or but
for a constant factor. If nothing does, where.py says in which places the gradient is wrong. A wrong guess is worse than none.
"""

import math
from dataclasses import dataclass
from itertools import chain, permutations

import numpy as np

from minifer.gradcheck import changes, where
from minifer.gradcheck.evidence import Evidence, close, fits, name_axes, same, subsets_of_axes
from minifer.gradcheck.vocabulary import OTHER, VOCABULARIES, difference, merged, written

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

    def __str__(self):
        first = f"{'no guess' if self.unknown else 'likely'}: {self.text}"
        return "\n".join([first, *(f"        {line}" for line in self.formulas)])


def guess(e):
    """Return the Guess about a wrong gradient."""
    with np.errstate(all="ignore"):  # a change may divide by zero
        measured = [activation, formula, upstream, reading] if e.small else []
        # A loss has no mask of its own, but its targets may look like one: masks last.
        kinds = [plain, result, *measured, mask] if e.small and not e.y.ndim else [plain, result, mask, *measured]
        vague = None
        for kind in kinds:
            found = kind(e)
            if isinstance(found, Guess) and found.text.startswith(OTHER):
                vague = found
            elif found:
                return found if isinstance(found, Guess) else Guess(kind.__name__, found)
        found = vague or where.places(e)
    right = f"none of the usual mistakes; {np.mean(~e.wrong):.0%} of the entries are right"
    return found if isinstance(found, Guess) else Guess("places", found) if found else Guess("unknown", right)


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
                if e.small and e.given.shape not in (e.x.shape, e.y.shape):
                    texts.append(f"not summed enough: take the {way.__name__} over {name_axes(axes)} of this too")
                batch = ", the batch" if axes == (0,) else ""
                texts.append(f"not summed: take the {way.__name__} over {name_axes(axes)}{batch}")
    if not texts and e.small and e.multiplier is not None:
        texts += [text for text, total in other_axes(e) if close(total.ravel(), e.given.ravel())]
    return f"; likely: {texts[0]}" if texts else ""


# What is plain to see.


def plain(e):
    """Nothing, nan, a kink, an array that y does not depend on."""
    if not np.isfinite(e.given).all():
        return (
            "nan or inf: a division by zero, the root or logarithm of a number that is not positive, or memory of "
            "np.empty that was never written"
        )
    if not e.given.any() and e.numeric.any():
        return "all zeros: never computed, or two terms cancel"
    if e.small:
        largest = max(np.abs(numeric).max(initial=0) for numeric in e.numerics.values())
        if (e.bend[e.wrong] > 1e-2 * largest).all():
            return "perhaps nothing: the input lies on a kink, where there is no derivative; try another --seed"
        if np.abs(e.numeric).max() < 1e-7 * max(largest, 1e-3):
            return "this array does not change y: its gradient is zero (a mask, or a sum that cancels, is missing)"
        passed = None if e.reaching.all() else e.rerun(e.dy * e.reaching)
        if close(passed, e.numeric) and not e.elementwise:
            return "the mask of the outputs is missing: dy passes where forward blocks y (multiply dy by it first)"
        before = None if e.of_input else e.experiment.subject.gradient(e.name)
        if before is not None and np.shape(before) == e.given.shape and close(e.given - before, e.numeric):
            return "added to the gradient that was there before: overwrite it (= instead of +=)"
    return None


# The result.


def result(e):
    """given = T(numeric), T of the table or that of another array; or a factor; or another mask."""
    factor = e.factor(lambda draw: draw.numeric) if e.small else factor_of_one(e)
    if factor:
        return "the sign is flipped" if abs(factor + 1) < 1e-5 else amount(e, factor)
    for name, numeric in e.numerics.items():
        theirs = e.experiment and e.experiment.gradients[name]
        if name != e.name and close(e.given, numeric) and not close(theirs, numeric):
            return f"this is what belongs to {name}: the two are swapped"
    shape, thing = e.given.shape, "the gradient" if e.experiment else "the result"
    rows = chain(changes.rearrangements(shape), changes.reorderings(shape), changes.shifts(shape))
    found = first_exact(e, rows, lambda change: lambda draw: change(draw.numeric), thing)
    if found or not e.small:
        return found
    rows = changes.factors(e.known, shape)
    return next((text for text, change in rows if e.factor(lambda draw, f=change: f(draw.numeric)) == 1), None)


def mask(e):
    """given is right where it is not zero."""
    return where.masks(e)


def factor_of_one(e):
    """Return the factor between two arrays of which nothing else is known."""
    factor = float(np.sum(e.given * e.numeric) / np.sum(e.numeric**2)) if e.numeric.any() else 0
    return factor if e.given.size > 1 and close(e.given, factor * e.numeric) else None


def first_exact(e, rows, candidate, thing):
    """Return the sentence of the first row that explains the gradient exactly; if none, but for a factor."""
    loose = None
    for text, change in rows:
        factor = e.factor(candidate(change))
        if factor == 1:
            return text.format(*[thing] * 2)
        if factor and not loose:
            loose = text.format(*[thing] * 2), factor
    return f"{loose[0]}; besides, {amount(e, loose[1])}" if loose else None


def amount(e, factor):
    """Return a constant factor in words, with all that it may come from."""
    size = abs(factor)
    if abs(size - 1) < 1e-5:
        return "the sign is flipped"
    text = f"{size:.4g} times too large" if size > 1 else f"{1 / size:.4g} times too small"
    return f"{text}{' and of the wrong sign' if factor < 0 else ''}, a constant factor{origin(e, size)}"


def origin(e, factor):
    """Return where a factor may come from: all readings, or none where they are many."""
    if e.experiment is None:
        return ""
    size, large = max(factor, 1 / factor), factor > 1
    found = list(dict.fromkeys(name for number, name in numbers(e) if math.isclose(size, number, rel_tol=1e-5)))
    if found and len(found) <= MOST_READINGS:
        mean = " (a sum where a mean belongs?)" if large else " (a mean where a sum belongs?)"
        sizes = mean if any("the size of ax" in name for name in found) else ""
        return f": {'divide' if large else 'multiply'} by {', or by '.join(found)}{sizes}"
    for right, used in permutations(sorted({*e.x.shape, *e.y.shape}), 2) if not found else ():
        if math.isclose(factor, right / used, rel_tol=1e-5):
            return f": a mean over {used} where {right} belong"
    return ""


def numbers(e):
    """Yield (number > 1, its name) for sizes of the arrays and numbers of the layer, the likeliest first."""
    arrays = {"the input and y": e.x} if e.x.shape == e.y.shape else {"the input": e.x, "y": e.y}
    for name, array in arrays.items():
        for axes in subsets_of_axes(array.ndim):
            size = math.prod(array.shape[axis] for axis in axes)
            if size > 1 and axes[-1] - axes[0] == len(axes) - 1:  # neighbours only
                if name == "y" and axes[0] == 0 and e.x.shape[: len(axes)] == e.y.shape[: len(axes)]:
                    continue
                yield size, f"{size}, the size of {name_axes(axes)}{', the batch,' * (axes == (0,))} of {name}"
    if e.of_input and e.small:
        inputs = int((np.abs(e.jacobian.reshape(e.y.size, -1)) > 1e-9).sum(axis=1).max(initial=0))
        if inputs > 1 and inputs not in [size for size in e.x.shape]:
            yield inputs, f"{inputs}, the number of inputs that an output depends on (the size of a window?)"
    yield 2, "2, as in the derivative of a square"
    for array, name in {id(array): (array, name) for array, name in ((e.x, "the input"), (e.value, e.name))}.values():
        last = array.shape[-1] if array.ndim else 1
        if last > 1:
            yield math.sqrt(last), f"the root of {last}, the size of the last axis of {name} (1 / sqrt(D)?)"
    for name in e.experiment.subject.leaves:
        number = e.experiment.subject.get(name)
        if number.size == 1 and math.isfinite(number := number.item()):
            for form, one in {name: number, f"{name}^2": number**2, f"(1 - {name})": 1 - number}.items():
                if one > 0 and one != 1:
                    yield (one, form) if one > 1 else (1 / one, f"1 / {form}")


# The formula.


def formula(e):
    """Both gradients are sums of a few usual terms, which say what is wrong."""
    if e.equations < 6:
        return None
    for vocabulary in chain.from_iterable(vocabularies(e) for vocabularies in VOCABULARIES):
        right = vocabulary.read(vocabulary.right, e.draws, lambda draw: draw.numeric)
        here = right and vocabulary.read([*vocabulary.right, *vocabulary.more], e.draws, lambda draw: draw.given)
        if here:
            right, here = vocabulary.named(right), vocabulary.named(here)
            if len(merged(right)) == 1:
                right, here = merged(right), merged(here)
            if right.keys() == here.keys() and written(right) == written(here):
                continue
            lines = f"right   {written(right)}", f"here    {written(here)}"
            return Guess(vocabulary.kind, difference(right, here), lines)
    return None


# The upstream gradient.


def upstream_rows(e):
    """Yield the rows of the table for dy."""
    shape, known = e.dy.shape, e.known
    yield from changes.powers()
    yield from changes.factors(known, shape)
    if e.multiplier is not None and not any(
        fits(a, shape) and close(a * np.ones(shape), e.multiplier) for a in known.values()
    ):
        times = {"what forward multiplies it with (x, x_hat?)": e.multiplier}
        yield from changes.factors(times, shape)
    yield "only where {} > 0: the mask is that of {}", lambda a: a * (a > 0)
    for rows in (changes.reductions, changes.rearrangements, changes.reorderings, changes.shifts):
        yield from rows(shape)


def upstream(e):
    """given = J^T T(dy)."""
    if not e.y.ndim:
        return None

    if e.multiplier is not None:
        found = next((text for text, total in other_axes(e) if close(e.given, total)), None)
        if found:
            return found
    return first_exact(e, upstream_rows(e), with_dy(e), "dy")


def activation(e):
    """given = J^T T(dy), where T is what is done wrong at an activation that ends the layer."""
    rows = changes.activations(e.y) if e.y.ndim else ()
    return next((text for text, change in rows if e.factor(with_dy(e)(change)) == 1), None)


def with_dy(e):
    """Return a function of a change of dy: the gradient with it, as a function of a draw."""
    return lambda change: lambda draw: e.gradient_for(np.nan_to_num(change(draw.dy)))


def other_axes(e):
    """Yield (what was done, the gradient of a parameter whose sum is over other axes)."""
    each, shape = e.dy * e.multiplier, e.given.shape
    right = [axes for axes in subsets_of_axes(e.dy.ndim) if close(each.sum(axis=axes).ravel(), e.numeric.ravel())]
    for axes in subsets_of_axes(e.dy.ndim):
        for way, name in ((np.sum, "summed"), (np.mean, "averaged")):
            total, kept = way(each, axis=axes), way(each, axis=axes, keepdims=True)
            text = f"{name} over {name_axes(axes)}" + (f", where {name_axes(right[0])} belongs" if right else "")
            for candidate in (total, kept):
                if fits(candidate, shape) or candidate.size == e.given.size:
                    same_size = candidate.size == e.given.size
                    yield text, candidate.reshape(shape) if same_size else np.broadcast_to(candidate, shape)
            if total.ndim == 1 and total.size >= e.given.size:  # such as its first entry, in every place
                for entry in total:
                    yield text, np.full(shape, entry)


# What was read.


def reading_rows(array):
    """Yield the rows of the table for a weight or another input."""
    yield from changes.rearrangements(array.shape)
    yield from changes.powers()
    yield "the path through {} is missing", np.zeros_like


def reading(e):
    """given = J'^T dy for a layer with another weight; or backward is right if it reads something else."""
    ours = np.array([np.sum(e.given * way) for way in e.directions])
    loose = None
    for name, array in e.experiment.values.items():
        if array.dtype.kind != "f" or (name == e.name and not e.of_input):
            continue
        short = name if name in e.experiment.paths else name[1:]
        rows = reading_rows(array) if name != e.name else ()
        others = ((f"{other} is used where {short} belongs", lambda _, b=b: b)
                  for other, b in e.known.items() if b.shape == array.shape and other not in (short, "x"))  # fmt: skip
        for text, change in chain(rows, others if name in e.inputs else ()):
            slopes = e.slopes_with({name: change(array)})
            if slopes is None or not np.isfinite(slopes).all() or not slopes.any():
                continue
            factor = float(np.sum(slopes * ours) / np.sum(slopes**2))
            if close(ours, factor * slopes, 1e-6):
                if abs(factor - 1) < 1e-5:
                    return text.format(short, short)
                loose = loose or f"{text.format(short, short)}; besides, {amount(e, factor)}"
    matrix = e.jacobian.reshape(e.y.size, e.value.size)
    if e.y.size == e.value.size and e.factor(lambda draw: np.reshape(matrix @ draw.dy.ravel(), e.given.shape)):
        return "a matrix is used where its transpose belongs (a weight without .T, attention's probabilities, a kernel)"
    if e.dy.shape == e.given.shape and e.factor(lambda draw: draw.dy) == 1:
        return "dy is passed through: the derivative is missing"
    return repaired(e) or loose


def repaired(e):
    """backward is right if what it reads, a weight or what forward saved, is changed."""
    between = e.experiment.between.copy()
    between.look_around()
    saved = {name: between.get(name) for name, leaf in between.leaves.items() if not leaf.fixed}
    saved = {name: array for name, array in saved.items() if array.size > 1 and np.isfinite(array).all()}
    for name, array in saved.items():
        rows = ((t, f) for t, f in chain(changes.rearrangements(array.shape), changes.powers()) if "divided" not in t)
        for text, change in rows:
            if "flipped" in text or "transposed" in text:
                if close(e.rerun(e.dy, {name: change(array)}), e.numeric):
                    return text.format(name, name)
        for other, belongs in saved.items():
            if belongs.shape == array.shape and not same(belongs, array):
                if close(e.rerun(e.dy, {name: belongs}), e.numeric):
                    return f"{name} is used where {other} belongs"
    return None


__all__ = ["Evidence", "Guess", "guess", "guess_of_shape"]
