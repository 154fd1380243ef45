"""Mistakes in the terms of a derivative: a term, a factor or the whole derivative is missing."""

import numpy as np

from minifer.gradcheck.evidence import close, name_axes, subsets_of_axes


def added_to_before(e):
    """given is right plus the gradient that was there before backward."""
    if e.of_input:
        return None
    before = e.experiment.subject.gradient(e.name)
    if before is None or np.shape(before) != e.numeric.shape:
        return None
    if close(e.given - before, e.numeric):
        return "added to the gradient that was there before: overwrite it (= instead of +=)"
    return None


def passes_dy_through(e):
    """given is dy: the derivative itself is missing."""
    return "dy is passed through: the derivative is missing" if close(e.given, e.dy) else None


def one_of_two_terms(e):
    """right = A + B for a known term A, and given holds the two with other factors: one is missing, or has a sign."""
    for name, consequence, term in known_terms(e):
        rest = e.numeric - term
        columns = np.stack([term.ravel(), rest.ravel()], axis=1)
        if np.linalg.matrix_rank(columns, tol=1e-6 * max(np.abs(columns).max(), 1e-300)) < 2:
            continue
        factors = np.linalg.lstsq(columns, e.given.ravel(), rcond=None)[0]
        if not close((columns @ factors).reshape(e.given.shape), e.given):
            continue
        first, second = (0.0 if abs(factor) < 1e-5 else factor for factor in factors)
        if np.isclose(first, 1) and second == 0:
            return f"only {name} is there: {consequence}"
        if np.isclose(second, 1) and first == 0:
            return f"{name} is missing"
        if np.isclose(second, 1):
            return f"{name} has the factor {first:.3g}, which should be 1"
        if np.isclose(first, 1):
            return f"everything but {name} has the factor {second:.3g}, which should be 1"
    return None


def known_terms(e):
    """Yield (the term's name, what is missing if it stands alone, the term)."""
    if not e.of_input:
        return
    if e.value.shape == e.dy.shape:
        yield "dy itself, as of a skip connection,", "the other path is missing", e.dy
        diagonal = np.diag(e.jacobian.reshape(e.y.size, e.value.size)).reshape(e.value.shape)
        yield (
            "dy times each entry's own derivative",
            "the layer is treated as if elementwise, but every output depends on several inputs",
            e.dy * diagonal,
        )
        yield (
            "dy * y",
            "the term with a sum over the other entries is missing (softmax: dy * y - y * sum(dy * y))",
            e.dy * e.y,
        )
        if np.abs(e.value).min() > 0:
            yield (
                "the product rule's first term, dy * y / x,",
                "what multiplies x (a gate, a norm, a std) is treated as constant, but depends on x too",
                e.dy * e.y / e.value,
            )


def missing_factor(e):
    """given times, or divided by, a known array is right."""
    for name, array in (e.known_arrays() | e.parameters).items():
        if array.shape == e.given.shape:
            if close(e.given * array, e.numeric):
                return f"the factor {name} is missing"
            if close(e.given, e.numeric * array):
                return f"the factor {name} does not belong there"
    return None


def missing_multiple(e):
    """right - given is, for each index of some axes, a number times a known array: a term with a sum is missing."""
    missing = e.numeric - e.given
    arrays = (
        ("the same number for all entries", "the derivative of a mean or a sum", np.ones_like(missing)),
        (
            f"a number times {'the input' if e.of_input else e.name}",
            "the derivative of a norm, a variance or a scale",
            e.value,
        ),
        ("a number times y", "the derivative of a sum over the outputs, as in softmax", e.y),
    )
    for what, meaning, array in arrays:
        if array.shape != missing.shape:
            continue
        for axes in subsets_of_axes(missing.ndim):
            if np.prod([missing.shape[axis] for axis in axes]) < 3:
                continue
            factor = (missing * array).sum(axis=axes, keepdims=True) / (array**2).sum(axis=axes, keepdims=True)
            if close(factor * array, missing):
                return f"a term is missing or wrong, over {name_axes(axes)} {what}: {meaning}"
    return None


def does_not_cancel(e):
    """The right gradient sums to zero over some axes, as after softmax or a normalization; given does not."""
    scale = np.abs(e.numeric).sum()
    for axes in subsets_of_axes(e.numeric.ndim):
        if e.numeric.shape and min(e.numeric.shape[axis] for axis in axes) < 2:
            continue
        right, ours = (np.abs(gradient.sum(axis=axes)).sum() for gradient in (e.numeric, e.given))
        if right < 1e-6 * scale < 1e-3 * scale < ours:
            return (
                f"the right gradient sums to zero over {name_axes(axes)}, this one does not: a term with a mean or sum "
                "is missing, or taken over other axes"
            )
    return None


def wrong_derivative(e):
    """For an elementwise layer: name a point, the derivative there, and what backward used."""
    if not e.of_input or not e.elementwise or np.abs(e.dy).min() == 0:
        return None
    place = np.unravel_index(np.argmax(np.abs(e.given - e.numeric)), e.given.shape)
    return (
        f"the layer is elementwise, and at {e.value[place]:.3g} its derivative is "
        f"{e.numeric[place] / e.dy[place]:.4g}; backward used {e.given[place] / e.dy[place]:.4g}"
    )
