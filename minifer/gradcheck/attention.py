"""Vocabularies of attention, probs = softmax(query @ key.T / sqrt(D)), y = probs @ value: alone, or inside a layer.

Inside a layer the arrays are found among those that forward has saved, by what they have to do with each other.
"""

import dataclasses
from collections.abc import Callable
from itertools import permutations, product

import numpy as np

from minifer.gradcheck.evidence import close
from minifer.gradcheck.vocabulary import Vocabulary, in_rows, rows_and_weights, softmax, split

TABLES = (
    "probs*dprobs; probs*sum(probs*dprobs, K); dprobs; probs^2*dprobs; probs*sum(probs*dprobs, Q); "
    "probs*sum(dprobs, K); sum(probs*dprobs, K) + 0*dprobs"
)


def alone(e):
    """Scaled dot-product attention: three inputs of one shape; probs = softmax(query @ key.T / sqrt(D))."""
    inputs = list(e.inputs.values())
    if not e.of_input or len(inputs) != 3 or any(x.shape != e.y.shape for x in inputs) or e.y.ndim < 2:
        return
    which = list(e.inputs).index(e.name)
    words = ["probs.T @ dy", "probs @ dy", "scores.T @ dy", "scores @ dy"]
    if which < 2:
        rows, turns = ("key", ("", ".T")) if which == 0 else ("query", (".T", ""))
        words = [f"({word}){turn} @ {rows}" for turn in turns for word in split(TABLES)]
    for tokens, scale in product(range(e.y.ndim - 1), (e.y.shape[-1] ** -0.5, 1.0)):
        query, key, value = (np.moveaxis(x, tokens, -2) for x in inputs)
        scores = query @ key.mT * scale
        arrays = {"query": query, "key": key, "probs": softmax(scores), "scores": scores}
        names = {name: (name, array) for name, array in arrays.items()}
        names |= {"K": ("over keys", -1), "Q": ("over queries", -2)}

        def of_dy(dy, tokens=tokens, value=value):
            dy = np.moveaxis(dy, tokens, -2)
            return {"dy": dy, "dprobs": dy @ value.mT}

        yield Vocabulary(words[: (2, 2, 1)[which]], words, e.y.shape, names, of_dy, tokens)


@dataclasses.dataclass(frozen=True)
class Parts:
    """An attention inside a layer: {role: (name, array)} for query, key, value and probs; and dy where it ends.

    before(dy)    the gradient of probs @ value, from that of y
    """

    arrays: dict
    before: Callable


def inside(e):
    """The weights that make query, key and value of a layer's input: a.T @ merge(the gradient of the query)."""
    if e.of_input or e.value.ndim != 2 or e.y.ndim < 3:
        return
    rows, weights = rows_and_weights(e)
    for parts in found(e, [w for _, w in weights.values()]):
        for role, (name, x), turned in product(("query", "key", "value"), rows.values(), (False, True)):
            made, w = in_tokens(parts.arrays[role][1]), e.value.T if turned else e.value
            if (x.shape[1], made.shape[1]) == w.shape and is_shifted(x @ w, made):
                yield of_projection(e.value.shape, parts, role, (name, x), turned)


def of_projection(shape, parts, role, a, turned):
    """Return the Vocabulary of the weights of one projection of a: (name, rows)."""
    if role == "value":
        right, more = ["probs.T @ dheads"], ["probs @ dheads"]
    else:
        other, turns = ("key", ("", ".T")) if role == "query" else ("query", (".T", ""))
        right, more = ([f"({word}){turn} @ {other}" for word in split(TABLES)] for turn in turns)
    form = "{0}({1}).T @ a" if turned else "a.T @ {0}({1})"
    right, *more = [[form.format(way, word) for word in some] for way in ("merge", "reshape") for some in (right, more)]
    probs, value = parts.arrays["probs"], parts.arrays["value"][1]
    names = parts.arrays | {"a": a, "K": ("over keys", -1), "Q": ("over queries", -2), "merge": ("merge", in_tokens)}
    names |= {"reshape": ("reshape", lambda heads: heads.reshape(len(a[1]), -1))}
    names |= {"dheads": ("dheads", None), "dprobs": (f"d{probs[0]}", None)}

    def of_dy(dy):
        dheads = parts.before(dy)
        return {"dheads": dheads, "dprobs": dheads @ value.mT}

    return Vocabulary(right, [word for some in more for word in some], shape, names, of_dy)


def found(e, weights):
    """Yield the Parts of each attention whose arrays the layer has saved under any names."""
    known = {name: array for name, array in e.known.items() if array.ndim in (3, 4)}
    for name, probs in known.items():
        if probs.min() < 0 or not np.allclose(probs.sum(axis=-1), 1):
            continue
        beside = {other: a for other, a in known.items() if a.ndim == probs.ndim and a.shape[:-2] == probs.shape[:-2]}
        for q, k in permutations(beside, 2):
            query, key = beside[q], beside[k]
            if (query.shape[-2], key.shape[-2]) != probs.shape[-2:] or query.shape[-1] != key.shape[-1]:
                continue
            for v in beside if is_softmax(probs, query @ key.mT) else ():
                before = beside[v].shape[-2] == probs.shape[-1] and way_back(e, probs @ beside[v], weights)
                if before:
                    roles = {"query": q, "key": k, "value": v, "probs": name}
                    yield Parts({role: (one, known[one]) for role, one in roles.items()}, before)


def is_softmax(probs, scores):
    """Whether probs are the softmax of scores times some number, where they are not masked."""
    seen = probs > 1e-12
    logs, scores = (
        np.where(seen, a - (a * seen).sum(-1, keepdims=True) / seen.sum(-1, keepdims=True), 0)
        for a in (np.log(np.where(seen, probs, 1)), scores)
    )
    return close(scores * np.sum(scores * logs) / max(np.sum(scores**2), 1e-300), logs, 1e-4)


def way_back(e, heads, weights):
    """Return the function from dy to the gradient of heads, if y is merge(heads), or that times a matrix, or None.

    A bias may have been added, and an array that the layer has saved, such as its input.
    """
    joined, y = in_tokens(heads), e.y.reshape(-1, e.y.shape[-1])
    bases = [0, *(array.reshape(y.shape) for array in e.known.values() if array.shape == e.y.shape)]
    for w in (np.eye(joined.shape[1]), *weights, *(w.T for w in weights)):
        if w.shape == (joined.shape[1], y.shape[1]):
            made = joined @ w
            if any(is_shifted(made, y - base) for base in bases):
                return lambda dy, w=w: parted(in_rows(dy)["dy"] @ w.T, heads.shape)
    return None


def is_shifted(rows, others):
    """Whether two matrices differ by the same row everywhere, such as a bias."""
    if np.shape(rows) != np.shape(others):
        return False
    difference = rows - others
    return np.abs(difference - difference[0]).max() <= 1e-6 * np.abs(rows).max()


def in_tokens(heads):
    """Return heads (N,H,T,D), or rows (N,T,D) of one head, as a matrix: a row for each token."""
    if heads.ndim == 3:
        return in_rows(heads)["dy"]
    return np.moveaxis(heads, 1, 2).reshape(-1, heads.shape[1] * heads.shape[3])


def parted(rows, shape):
    """Return such a matrix as heads of a shape again."""
    if len(shape) == 3:
        return rows.reshape(shape)
    n, heads, tokens, channels = shape
    return np.moveaxis(rows.reshape(n, tokens, heads, channels), 2, 1)
