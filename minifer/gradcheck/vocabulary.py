"""Gradients read as formulas: sums of a few usual terms, found by least squares for the right gradient and the given one.

    right   + y*dy - y*sum(y*dy, axis 1)
    here    + y*dy - y^2*dy

A vocabulary is a list of Words, each linear in dy. One full fit rejects a vocabulary that cannot say the right gradient.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from minifer.gradcheck.evidence import close, fits, name_axes, subsets_of_axes

MOST_TERMS = 4
AXES = r"ax[ei]s [0-9][0-9, and]*"
FACTOR = r"(?:^|(?<=[*( ]))((?:[\w.]+\*\(1 - [\w.]+\)|\([^()]*\)|[\w.]+(?:\([^()]*\))?)(?:\^\d)?)(?=\*)"
TREATED = (
    "; what is averaged or summed there is treated as a constant",
    "; the mean and the variance are treated as constants",
)
MOST_SUBSETS = 2000
EPS = 1e-5, 1e-3, 1e-8, 1e-6, 1e-7, 1e-12, 1e-4, 1e-2, 0.0  # usual ones in a normalization


@dataclass(frozen=True)
class Word:
    """One term: its name, in which "mean" may be a sum over `count` entries, and its value for a dy."""

    name: str
    of: Callable
    count: int = 1


def read(words, draws, target):
    """Return {Word: coefficient} for a function `target` of the draws, or None where these words cannot say it."""
    with np.errstate(all="ignore"):
        columns = [np.concatenate([np.ravel(word.of(draw.dy)) for draw in draws]) for word in words]
    wanted = np.concatenate([np.ravel(target(draw)) for draw in draws])
    usable = [i for i, column in enumerate(columns) if np.isfinite(column).all() and np.abs(column).max() > 1e-12]
    if not usable or not np.isfinite(wanted).all():
        return None
    matrix = np.stack([columns[i] for i in usable], axis=1)
    sizes = np.linalg.norm(matrix, axis=0)
    corner = np.linalg.qr(matrix / sizes, mode="r")
    free = [k for k in range(min(corner.shape)) if abs(corner[k, k]) > 1e-6]

    def fit(chosen):
        factors = np.linalg.lstsq(matrix[:, chosen], wanted, rcond=None)[0]
        return factors if close(matrix[:, chosen] @ factors, wanted) else None

    def formula(chosen, factors):
        return {words[usable[k]]: float(factor) for k, factor in zip(chosen, factors, strict=True)}

    if fit(free) is None:
        return None

    def sparse(most):
        for count in range(1, most + 1):
            subsets = list(combinations(range(len(usable)), count))
            for chosen in map(list, subsets if len(subsets) <= MOST_SUBSETS and len(wanted) > count + 3 else ()):
                factors = fit(chosen)
                if factors is not None and np.abs(factors * sizes[chosen]).min() > 1e-4 * np.linalg.norm(wanted):
                    return formula(chosen, factors)
        return None

    simple = sparse(2)
    if simple:
        return simple
    sizable = np.abs(fit(free) * sizes[free]) > 1e-4 * np.linalg.norm(wanted)
    needed = [k for k, large in zip(free, sizable, strict=True) if large]
    if len(needed) <= MOST_TERMS and len(free) < len(wanted) - 2 and fit(needed) is not None:
        return formula(needed, fit(needed))
    return sparse(3)


def named(formula):
    """Return {name: coefficient} of a {Word: coefficient}; a mean is called a sum where this makes its coefficient 1."""
    terms = {}
    for word, factor in formula.items():
        is_sum = word.count > 1 and abs(abs(factor) - 1) > 1e-4 > abs(abs(factor) / word.count - 1)
        terms[word.name.replace("mean(", "sum(") if is_sum else word.name] = factor / (word.count if is_sum else 1)
    return terms


def merged(terms):
    """Return y*dy - y^2*dy as the one term y*(1 - y)*dy, and dy - y^2*dy as (1 - y^2)*dy; other terms as they are."""
    for name, factor in terms.items():
        square = re.search(r"([\w.]+)\^2\*", name)
        for stem, text in ((f"{square[1]}*", "{0}*(1 - {0})*"), ("", "(1 - {0}^2)*")) if square else ():
            other = name.replace(square[0], stem, 1)
            if other in terms and abs(terms[other] + factor) < 1e-4 * abs(factor):
                return {name.replace(square[0], text.format(square[1]), 1): terms[other]}
    return terms


def written(terms):
    """Return {name: coefficient} as text."""
    parts = [
        ("- " if c < 0 else "+ ") + (f"{abs(c):.4g}*" if abs(abs(c) - 1) > 1e-4 else "") + n for n, c in terms.items()
    ]
    return " ".join(parts).removeprefix("+ ")


def difference(right, here):
    """Return in words what is wrong with a formula {name: coefficient}, given the right one."""
    missing, extra = ([name for name in one if name not in other] for one, other in ((right, here), (here, right)))
    odd = [here[name] / right[name] for name in right if name in here and abs(here[name] / right[name] - 1) > 1e-4]
    number = ("no", "one", "two", "three", "four")
    also = ", and a factor is wrong" if odd else ""
    if odd and not missing and not extra:
        what = "sign" if all(abs(ratio + 1) < 1e-4 for ratio in odd) else "factor"
        return f"the {what} of {number[len(odd)]} of {number[len(right)]} terms is wrong"
    if missing and not extra:
        why = TREATED[len(missing) - 1] if all(re.search(r"mean\(|sum\(", name) for name in missing) else ""
        which = f"is missing: {missing[0]}" if len(missing) == 1 else "are missing"
        return f"{number[len(missing)]} of {number[len(right)]} terms {which}{why}{also}".replace(
            "terms is", "terms is", 1
        )
    if extra and not missing:
        return f"a term too many: {extra[0]}{also}"
    return f"{substituted(missing, extra)}{also}"


def substituted(missing, extra):
    """Return what has to be put where in the terms `extra` to get the terms `missing`."""

    def key(names, pattern=" ", put=""):
        return sorted(re.sub("[() ]", "", re.sub(pattern, lambda _: put, name)) for name in names)

    axes = [re.findall(AXES, name)[:1] for name in (missing[0], extra[0])]
    if key(missing, AXES) == key(extra, AXES):
        way = "averaged" if "mean(" in extra[0] else "summed"
        return f"{way} over {axes[1][0]}, where {axes[0][0]} belongs"
    if key(missing, r"\.T") == key(extra, r"\.T"):
        return f"transposed (or not, where it should be): {extra[0]} stands where {missing[0]} belongs"
    for one, other, what in ((missing, extra, "is missing"), (extra, missing, "does not belong there")):
        for factor in sorted({factor for name in one for factor in re.findall(FACTOR, name)}, key=len, reverse=True):
            if key(one, re.escape(f"{factor}*")) == key(other):
                return f"the factor {factor} {what}"
    words = [{w for name in some for pattern in (FACTOR, r"[\w.]+(?:\^\d)?") for w in re.findall(pattern, name)}
             for some in (missing, extra)]  # fmt: skip
    for one, other in product(*map(sorted, words)):
        if key(missing, rf"(?<![\w.]){re.escape(one)}(?![\w.^])", other) == key(extra):
            article = "a " if {one, other} == {"sum", "mean"} else ""
            return f"{article}{other} stands where {article}{one} belongs"
    if len(missing) == len(extra) == 1:
        return f"{extra[0]} stands where {missing[0]} belongs"
    return "other terms than the right ones"


# The vocabularies: functions of the Evidence that yield (words of the right gradient, more words that people write).


def pointwise(e):
    """Activations: dy times a function of x and y."""
    if not e.elementwise:
        return
    x, y, name = e.value, e.y, e.name[1:]
    with np.errstate(all="ignore"):
        gate = 1 / (1 + np.exp(-x))
        smooth = {
            "y": y, "y^2": y**2, "": 1, "{x}": x, "{x}^2": x**2, "exp({x})": np.exp(x), "sigmoid({x})": gate,
            "{x}*y": x * y, "y*sigmoid({x})": y * gate, "sigmoid({x})^2": gate**2, "{x}*sigmoid({x})": x * gate,
            "tanh({x})": np.tanh(x), "tanh({x})^2": np.tanh(x) ** 2, "cos({x})": np.cos(x), "sin({x})": np.sin(x),
            "1/{x}": 1 / x, "1/y": 1 / y, "{x}^3": x**3,
        }  # fmt: skip
        branches = {"({x} > 0)": x > 0, "({x} <= 0)": x <= 0, "({x} <= 0)*y": (x <= 0) * y, "({x} > 0)*y": (x > 0) * y}
        branches |= {"({x} > 0)*{x}": (x > 0) * x, "({x} <= 0)*exp({x})": (x <= 0) * np.exp(x), "{x}": x, "": 1}
    for functions in (smooth, branches):
        words = [
            Word(f"{f'{text}*' * bool(text)}dy".format(x=name), lambda dy, f=f: f * dy) for text, f in functions.items()
        ]
        yield words, []


def coupled(e):
    """Softmax, log-softmax and their like: terms with a mean or sum of dy over some axes."""
    if e.value.shape != e.y.shape or not e.of_input:
        return
    x, y, name = e.value, e.y, e.name[1:]

    def means(pairs, axes):
        return [
            _mean(f"{a}*" * bool(a), f"{b}*" * bool(b), "dy", axes, y.shape, lambda dy, f=f, g=g: (f, g * dy))
            for (a, f), (b, g) in pairs
        ]

    one, by_y, by_x, p = ("", 1.0), ("y", y), (name, x), ("exp(y)", np.exp(np.minimum(y, 50)))
    softmax = [Word("y*dy", lambda dy: y * dy)], [(by_y, by_y)]
    log_softmax = [Word("dy", lambda dy: dy)], [(p, one)]
    others = [Word("y^2*dy", lambda dy: y**2 * dy), Word(f"{name}*dy", lambda dy: x * dy)]
    others += [Word("dy", lambda dy: dy), Word("y*dy", lambda dy: y * dy), Word("exp(y)*dy", lambda dy: p[1] * dy)]
    choices = [(one, one), (by_y, one), (one, by_y), (by_y, by_y), (by_y, by_x), (by_x, by_y), (by_x, by_x)]
    for plain, pairs in (softmax, log_softmax, ([Word("dy", lambda dy: dy)], [(one, one)])):
        for axes in _axes(y.shape):
            right = [*plain, *means(pairs, axes)]
            more = [*others, *means([*choices, (p, one), (p, p)], axes)]
            yield right, more + [word for other in _axes(y.shape) for word in means(pairs, other)]


def normalized(e):
    """Normalization by mean and variance, or by the root of the mean square, over some axes, with or without gamma."""
    if e.value.shape != e.y.shape or not e.of_input or e.elementwise:
        return
    gammas = {"": 1.0} | {path: e.experiment.values[path] for path in e.experiment.paths}
    own = [e.experiment.subject.get(name) for name in e.experiment.subject.leaves]
    epsilons = [float(one) for one in own if one.size == 1 and 0 < one < 0.1] + list(EPS)
    for axes in _axes(e.value.shape):
        for centred in (True, False):
            for path, gamma in gammas.items():
                if fits(gamma, e.y.shape) and (not path or np.size(gamma) > 1):
                    yield from _normalized(e, axes, centred, path, gamma, epsilons)


def _normalized(e, axes, centred, path, gamma, epsilons):
    x, name = e.value, e.name[1:]
    centre = x - x.mean(axis=axes, keepdims=True) if centred else x
    variance = (centre**2).mean(axis=axes, keepdims=True)
    g = f"{path}*dy" if path else "dy"
    for eps in epsilons:
        s = 1 / np.sqrt(variance + eps)
        hat, z = centre * s, gamma * e.reaching

        def mean(a, b, f, h, by=z, axes=axes, g=g):
            return _mean(a, b, g, axes, x.shape, lambda dy: (f, h * dy * by))

        right = [Word(f"inv_std*{g}", lambda dy, s=s, z=z: s * dy * z)]
        right += [mean("inv_std*", "", s, 1)] * centred + [mean("inv_std*x_hat*", "x_hat*", s * hat, hat)]
        wanted = np.concatenate([np.ravel(draw.numeric) for draw in e.draws])
        columns = np.stack([np.concatenate([np.ravel(w.of(d.dy)) for d in e.draws]) for w in right], axis=1)
        fitted = columns @ np.linalg.lstsq(columns, wanted, rcond=None)[0]
        if not close(fitted, wanted, 0.05):
            return
        if not close(fitted, wanted):
            continue
        more = []
        for text, by in ((g, z), *((("dy", e.reaching),) if path else ())):
            for p, f in (("inv_std*", s), ("", 1.0), ("inv_std^2*", s**2)):
                more.append(Word(f"{p}{text}", lambda dy, f=f, by=by: f * dy * by))
                for a, b, q, r in (
                    ("", "", 1.0, 1.0), ("x_hat*", "x_hat*", hat, hat), (f"{name}*", f"{name}*", x, x),
                    ("x_hat*", "", hat, 1.0), ("", "x_hat*", 1.0, hat), (f"({name} - mean)*",) * 2 + (centre, centre),
                ):  # fmt: skip
                    more.append(mean(f"{p}{a}", b, f * q, r, by, axes, text))
        for other in _axes(x.shape):
            more += [mean("inv_std*", "", s, 1, z, other), mean("inv_std*x_hat*", "x_hat*", s * hat, hat, z, other)]
        yield right, more
        return


def losses(e):
    """A loss, one number: sums of functions of its inputs, which meet entry by entry or in a softmax over the last axis."""
    if e.y.size != 1 or not e.of_input or e.value.ndim == 0:
        return
    x, name = e.value, e.name[1:]
    inputs = dict(zip(e.experiment.input_names, e.experiment.inputs, strict=True))
    others = {key[1:]: other for key, other in inputs.items() if other is not x}
    with np.errstate(all="ignore"):
        softmax = np.exp(x - x.max(axis=-1, keepdims=True))
        softmax = softmax / softmax.sum(axis=-1, keepdims=True)
        functions = {
            name: x,
            "1": np.ones_like(x),
            f"softmax({name})": softmax,
            f"sigmoid({name})": 1 / (1 + np.exp(-x)),
        }
        functions |= {
            f"tanh({name})": np.tanh(x),
            f"1/{name}": 1 / x,
            f"1/(1 - {name})": 1 / (1 - x),
            f"{name}^2": x**2,
        }
        functions |= {f"sign({name})": np.sign(x)}
        for key, t in others.items():
            label = t.dtype.kind in "iu" and t.ndim == x.ndim - 1 and 0 <= t.min() and t.max() < x.shape[-1]
            t = np.eye(x.shape[-1])[t] if label else t
            key = f"one_hot({key})" if label else key
            if t.shape == x.shape:
                functions |= {key: t, f"{key}/{name}": t / x, f"(1 - {key})/(1 - {name})": (1 - t) / (1 - x)}
                functions |= {f"{key}/softmax({name})": t / softmax, f"sign({name} - {key})": np.sign(x - t)}
                functions |= {f"({name} > {key})": x > t}
    words = [Word(text, lambda dy, f=f: f * dy) for text, f in functions.items()]
    yield words, []


def sums(e):
    """The gradient of a parameter that is added or multiplied: a sum of dy times something over some axes."""
    if e.of_input or e.multiplier is None or e.value.size < 2:
        return
    y, ones = e.y, np.ones(e.y.shape)
    known = {"": ones} | {name: a * ones for name, a in e.known.items() if fits(a, y.shape)}
    for axes in _axes(y.shape) if e.x.dtype.kind == "f" and e.x.shape == y.shape else ():
        known |= {f"x_hat over {name_axes(axes)}": hat for hat in hats(e.x, axes) if close(hat, e.multiplier, 0.01)}
    x = known.get("x", ones)
    after = {
        "": 1,
        "(x > 0)": x > 0,
        "(x <= 0)": x <= 0,
        "(y > 0)": y > 0,
        "(1 - y^2)": 1 - y**2,
        "y*(1 - y)": y - y**2,
    }
    factors = {"*".join(filter(None, (a, b))): f * g for b, g in after.items() for a, f in known.items()}
    if not any(close(a, e.multiplier) for a in factors.values()):
        factors |= {"what forward multiplies it with": e.multiplier}

    def words(factors, axes):
        return [
            Word(f"sum({f'{name}*' * bool(name)}dy, {name_axes(axes)})",
                 lambda dy, f=f: np.reshape((dy * f).sum(axis=axes), e.value.shape))
            for name, f in factors.items()
        ]  # fmt: skip

    for axes in _axes(y.shape):
        if np.prod([n for i, n in enumerate(y.shape) if i not in axes]) == e.value.size:
            yield words(factors, axes), []


def products(e):
    """Matrix products with activations between, x.T @ d, d @ weight.T and sum(d), with or without a hidden layer."""
    y, lead = e.y, e.y.shape[:-1]
    if y.ndim < 2:
        return
    known = {name: a for name, a in e.known.items() if a.shape[:-1] == lead and a.ndim == y.ndim}
    weights = {path: e.experiment.values[path] for path in e.experiment.paths}
    weights = {path: w for path, w in weights.items() if w.ndim == 2}

    def after(name, a, text, back):
        """Return {text: d} of what may stand for dy before an activation that gave a."""
        functions = {f"{name}*": a, f"{name}^2*": a**2, f"({name} > 0)*": a > 0}
        inner = f"({text})" if "@" in text else text
        return {inner: back} | {f"({f}{inner})": lambda dy, f=g: f * back(dy) for f, g in functions.items()}

    deltas = [(y.shape[-1], after("y", y, "dy", lambda dy: dy))]
    for path, w in weights.items():
        ways = {f"{path}.T": w.T} | ({path: w} if w.shape[0] == w.shape[1] else {})
        found = {}
        for name, h in known.items() if w.shape[1] == y.shape[-1] else ():
            for way, m in ways.items() if h.shape[-1] == len(w) and h is not e.x else ():
                found |= after(name, h, f"dy @ {way}", lambda dy, m=m: dy @ m)
        deltas.append((len(w), found))
    for width, some in deltas:
        words = []
        if e.of_input and e.value.shape[:-1] == lead:
            for path, w in weights.items():
                ways = {f"{path}.T": w.T} | ({path: w} if w.shape[0] == w.shape[1] else {})
                for way, m in ways.items() if w.shape == (e.value.shape[-1], width) else ():
                    words += [Word(f"{text} @ {way}", lambda dy, d=d, m=m: d(dy) @ m) for text, d in some.items()]
        elif e.value.shape == (width,):
            words = [
                Word(
                    f"sum({text.removeprefix('(').removesuffix(')')})",
                    lambda dy, d=d: d(dy).reshape(-1, width).sum(axis=0),
                )
                for text, d in some.items()
            ]
        elif not e.of_input and e.value.ndim == 2 and e.value.shape[1] == width:
            rows = {name: a.reshape(-1, len(e.value)) for name, a in known.items() if a.shape[-1] == len(e.value)}
            words = [
                Word(f"{name}.T @ {text}", lambda dy, a=a, d=d: a.T @ d(dy).reshape(-1, width))
                for name, a in rows.items() for text, d in some.items()
            ]  # fmt: skip
        if words:
            yield words, []


def attention(e):
    """Scaled dot-product attention: three inputs of one shape; probs = softmax(query @ key.T / sqrt(D))."""
    inputs = list(e.inputs.values())
    if not e.of_input or len(inputs) != 3 or any(x.shape != e.y.shape for x in inputs) or e.y.ndim < 2:
        return
    which = list(e.inputs).index(e.name)
    for tokens in range(e.y.ndim - 1):
        q, k, v = (np.moveaxis(x, tokens, -2) for x in inputs)
        for scale in (q.shape[-1] ** -0.5, 1.0):
            scores = q @ k.swapaxes(-1, -2) * scale
            probs = np.exp(scores - scores.max(axis=-1, keepdims=True))
            probs /= probs.sum(axis=-1, keepdims=True)
            yield _attention(which, tokens, k, q, v, scores, probs)


def _attention(which, tokens, k, q, v, scores, probs):
    def word(name, table):
        def of(dy):
            dy = np.moveaxis(dy, tokens, -2)
            rows = (k, q, dy)[which]
            return np.moveaxis(table(dy @ v.swapaxes(-1, -2)) @ rows, -2, tokens)

        return Word(f"{name} @ {('key', 'query', 'dy')[which]}", of)

    def turned(table):
        return table.swapaxes(-1, -2)

    if which == 2:
        return [word("probs.T", lambda _: turned(probs))], [
            word("probs", lambda _: probs), word("scores.T", lambda _: turned(scores)), word("scores", lambda _: scores),
        ]  # fmt: skip
    tables = {
        "probs*dprobs": lambda d: probs * d,
        "probs*sum(probs*dprobs, over keys)": lambda d: probs * (probs * d).sum(-1, keepdims=True),
        "dprobs": lambda d: d,
        "probs^2*dprobs": lambda d: probs**2 * d,
        "probs*sum(probs*dprobs, over queries)": lambda d: probs * (probs * d).sum(-2, keepdims=True),
        "probs*sum(dprobs, over keys)": lambda d: probs * d.sum(-1, keepdims=True),
        "sum(probs*dprobs, over keys)": lambda d: 0 * d + (probs * d).sum(-1, keepdims=True),
    }
    ways = [
        word(f"({name}){'.T' * flip}", (lambda d, f=f: turned(f(d))) if flip else f)
        for flip in (which == 1, which == 0)
        for name, f in tables.items()
    ]
    return ways[:2], ways[2:]


def _mean(before, inside, g, axes, shape, parts):
    """Return the Word before*mean(inside*g, axes); parts(dy) are what stands before and what is averaged."""

    def of(dy):
        f, inner = parts(dy)
        return np.broadcast_to(f * np.mean(inner * np.ones(shape), axis=axes, keepdims=True), shape)

    count = int(np.prod([shape[axis] for axis in axes]))
    return Word(f"{before}mean({inside}{g}, {name_axes(axes)})", of, count)


def hats(x, axes):
    """Return x normalized over some axes, with a mean and without."""
    centres = x - x.mean(axis=axes, keepdims=True), x
    return [centre / np.sqrt((centre**2).mean(axis=axes, keepdims=True) + EPS[0]) for centre in centres]


def _axes(shape):
    """Return the choices of axes with more than one entry each."""
    return [axes for axes in subsets_of_axes(len(shape)) if min(shape[axis] for axis in axes) > 1]


VOCABULARIES = (pointwise, coupled, normalized, losses, sums, products, attention)
