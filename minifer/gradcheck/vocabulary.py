"""Gradients read as formulas: sums of a few usual terms, found by least squares for the right gradient and the given.

    right   y*dy - y*sum(y*dy, axis 1)
    here    y*(1 - y)*dy

A term is a word of a Vocabulary, and a word is what is printed: an expression in dy and arrays of the layer. One full
fit rejects a vocabulary that cannot say the right gradient.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable
from itertools import combinations, product

import numpy as np

from minifer.gradcheck.evidence import close, fits, name_axes, subsets_of_axes

OTHER = "other terms than the right ones"
MOST_TERMS = 4
MOST_SUBSETS = 2000
EPS = 1e-5, 1e-3, 1e-8, 1e-6, 1e-7, 1e-12, 1e-4, 1e-2, 0.0  # usual ones in a normalization
AXES = r"ax[ei]s [0-9][0-9, and]*"
FACTOR = r"(?:^|(?<=[*( ]))((?:[\w.]+\*\(1 - [\w.]+\)|\([^()]*\)|[\w.]+(?:\([^()]*\))?)(?:\^\d)?)(?=\*)"
TREATED = (
    "; what is averaged or summed there is treated as a constant",
    "; the mean and the variance are treated as constants",
)


def softmax(x):
    """Return the softmax over the last axis."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


FUNCTIONS = {
    "exp": np.exp, "tanh": np.tanh, "sin": np.sin, "cos": np.cos, "sign": np.sign, "softmax": softmax,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "mean": functools.partial(np.mean, keepdims=True),
    "sum": functools.partial(np.sum, keepdims=True), "total": np.sum,
}  # fmt: skip

# Words are separated by semicolons; A stands for the axes of the right gradient, B for any.
SMOOTH = (
    "y*dy; y^2*dy; dy; x*dy; x^2*dy; x^3*dy; x*y*dy; exp(x)*dy; sigmoid(x)*dy; y*sigmoid(x)*dy; sigmoid(x)^2*dy; "
    "x*sigmoid(x)*dy; tanh(x)*dy; tanh(x)^2*dy; cos(x)*dy; sin(x)*dy; 1/x*dy; 1/y*dy"
)
BRANCHES = (
    "(x > 0)*dy; (x <= 0)*dy; (x <= 0)*y*dy; (x > 0)*y*dy; (x > 0)*x*dy; (x <= 0)*exp(x)*dy; x*dy; dy; sign(x)*dy"
)
SOFTMAX, LOG_SOFTMAX, CENTRED = "y*dy; y*mean(y*dy, A)", "dy; exp(y)*mean(dy, A)", "dy; mean(dy, A)"
COUPLED = (
    "y^2*dy; x*dy; dy; y*dy; exp(y)*dy; mean(dy, B); y*mean(dy, B); mean(y*dy, B); y*mean(y*dy, B); y*mean(x*dy, B); "
    "x*mean(y*dy, B); x*mean(x*dy, B); exp(y)*mean(dy, B); exp(y)*mean(exp(y)*dy, B)"
)
NORMALIZED = "inv_std*g*dy; inv_std*mean(g*dy, A); inv_std*x_hat*mean(x_hat*g*dy, A)"
ROOT_MEAN_SQUARE = "inv_std*g*dy; inv_std*x_hat*mean(x_hat*g*dy, A)"
UNIT = "inv_norm*dy; inv_norm*y*mean(y*dy, A)"  # y = x / norm
OF_A_UNIT = "dy; y*mean(y*dy, A); inv_norm^2*dy; inv_norm^2*y*mean(y*dy, A); y*dy; inv_norm*mean(y*dy, A)"
OF_A_NORM = (  # after inv_std, its square, or neither; with and without gamma, g
    "g*dy; mean(g*dy, A); x_hat*mean(x_hat*g*dy, A); x*mean(x*g*dy, A); x_hat*mean(g*dy, A); mean(x_hat*g*dy, A); "
    "(x - mean(x, A))*mean((x - mean(x, A))*g*dy, A)"
)
OF_GROUPS = (
    "g*dy; mean(g*dy, A); x_hat*mean(x_hat*g*dy, A); inv_std*x_hat*mean(g*dy, A); inv_std^2*x_hat*mean(x_hat*g*dy, A); "
    "inv_std*dy; inv_std*mean(dy, A); inv_std*x_hat*mean(x_hat*dy, A)"
)
OVER_OTHERS = "inv_std*mean(g*dy, B); inv_std*x_hat*mean(x_hat*g*dy, B)"
AFTER = "", "{0}*", "{0}^2*", "({0} > 0)*"  # before a product: what was multiplied by an array
LOSS = "1; x; softmax(x); sigmoid(x); tanh(x); 1/x; 1/(1 - x); x^2; sign(x)"
TARGET = "t; t/x; (1 - t)/(1 - x); t/softmax(x); t*softmax(x); t*(x*t < 1); sign(x - t); (x > t)"


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Words of the right gradient, more words that people write, and what the names in them stand for.

    names    {name in a word: (name in print, array or axes)}; of_dy(dy) returns the values that depend on dy
    tokens   the axis that is the last but one in words
    view     the shape that the arrays in words have, if it is another than that of the gradient
    """

    right: list
    more: list
    shape: tuple
    names: dict
    of_dy: Callable = lambda dy: {"dy": dy}
    tokens: int = -2
    view: tuple = ()

    def value(self, word, dy):
        """Return a word's value for a dy."""
        code = compiled(word.replace("^", "**").replace(".T", ".mT"))
        result = eval(code, FUNCTIONS | {name: value for name, (_, value) in self.names.items()} | self.of_dy(dy))
        if self.tokens != -2:
            result = np.moveaxis(result, -2, self.tokens)
        if self.view:
            result = np.broadcast_to(result, self.view)
        same_size = np.size(result) == np.prod(self.shape)
        return np.reshape(result, self.shape) if same_size else np.broadcast_to(result, self.shape)

    def count(self, word):
        """Return how many entries the mean in a word is over; 1 where there is none."""
        axes = re.search(r"mean\(.*, (\w+)\)$", word)
        return int(np.prod([(self.view or self.shape)[axis] for axis in self.names[axes[1]][1]])) if axes else 1

    def named(self, formula):
        """Return {word in print: coefficient}; a mean is called a sum where this makes its coefficient 1."""
        terms = {}
        for word, factor in formula.items():
            count = self.count(word)
            is_sum = count > 1 and abs(abs(factor) - 1) > 1e-4 > abs(abs(factor) / count - 1)
            text = re.sub(r"[A-Za-z_]\w*", lambda name: self.names.get(name[0], name)[0], word).replace(
                "total(", "sum("
            )
            text = tidy(text.replace("mean(", "sum(") if is_sum else text)
            terms[text] = factor / (count if is_sum else 1)
        return terms

    def columns(self, words, draws):
        """Return the values of words for all draws, a column each."""
        with np.errstate(all="ignore"):
            return np.stack([np.concatenate([np.ravel(self.value(w, d.dy)) for d in draws]) for w in words], axis=1)

    def misses(self, draws):
        """Return which part of the right gradient these words cannot say."""
        matrix, wanted = self.columns(self.right, draws), np.concatenate([np.ravel(draw.numeric) for draw in draws])
        if not np.isfinite(matrix).all():
            return np.inf
        return np.abs(matrix @ np.linalg.lstsq(matrix, wanted, rcond=None)[0] - wanted).max() / np.abs(wanted).max()

    def read(self, words, draws, target):
        """Return {word: coefficient} of a function `target` of the draws, or None where these words cannot say it."""
        matrix, wanted = self.columns(words, draws), np.concatenate([np.ravel(target(draw)) for draw in draws])
        usable = np.flatnonzero(np.isfinite(matrix).all(axis=0) & (np.abs(matrix).max(axis=0) > 1e-12))
        if not len(usable):
            return None
        matrix = matrix[:, usable]

        def fit(chosen):
            """Return {index of a column: coefficient}, or None."""
            chosen = list(chosen)
            factors = np.linalg.lstsq(matrix[:, chosen], wanted, rcond=None)[0]
            return dict(zip(chosen, factors, strict=True)) if close(matrix[:, chosen] @ factors, wanted) else None

        def in_words(found):
            return found and {words[usable[k]]: float(c) for k, c in found.items()}

        def sparse(counts):
            for count in counts:
                few = math.comb(len(usable), count) <= MOST_SUBSETS and len(wanted) > count + 3
                for chosen in combinations(range(len(usable)), count) if few else ():
                    found = fit(chosen)
                    if found and min(abs(c) * sizes[k] for k, c in found.items()) > 1e-4:
                        return found
            return None

        sizes = np.linalg.norm(matrix, axis=0) / np.linalg.norm(wanted)
        if len(usable) >= len(wanted):  # many words can say anything
            return in_words(sparse((1, 2, 3)))
        scaled = matrix / sizes
        ridge = 1e-12 * np.sum(wanted**2) * np.eye(len(usable))  # some words may say the same
        rough = scaled @ np.linalg.solve(scaled.T @ scaled + ridge, scaled.T @ wanted)
        if not close(rough, wanted, 1e-3):
            return None
        found = sparse((1, 2))
        if not found:
            corner = np.abs(np.diag(np.linalg.qr(scaled, mode="r")))
            free = np.flatnonzero(corner > 1e-6 * corner[0])  # the words that earlier ones cannot say
            full = fit(free) or {}
            needed = [k for k, c in full.items() if abs(c) * sizes[k] > 1e-4]
            found = fit(needed) if 0 < len(needed) <= MOST_TERMS and len(free) < len(wanted) - 2 else None
            found = found or sparse((3,))
        return in_words(found)


@functools.cache
def compiled(expression):
    """Return an expression as code."""
    return compile(expression, "word", "eval")


def tidy(text):
    """Return an expression without brackets around one name, and without double ones."""
    return re.sub(r"\((\([^()]*\))\)", r"\1", re.sub(r"(?<!\w)\((\w+)\)", r"\1", text))


def merged(terms):
    """Return y*dy - y^2*dy as the one term y*(1 - y)*dy, dy - y^2*dy as (1 - y^2)*dy; other terms as they are."""
    for name, factor in terms.items():
        for found in re.finditer(FACTOR, name):
            base, squared = found[1].removesuffix("^2"), found[1].endswith("^2")
            if "*" in base or "1 - " in base:
                continue
            if squared:
                stems = {f"{base}*": f"{base}*(1 - {base})*", "": f"(1 - {base}^2)*"}
            else:
                stems = {"": f"{base.replace('> 0', '<= 0')}*" if "> 0" in base else f"(1 - {base})*"}
            for stem, text in stems.items():
                before, after = name[: found.start()], name[found.end() + 1 :]
                other = tidy(before + stem + after)
                if other in terms and abs(terms[other] + factor) < 1e-4 * abs(factor):
                    rest = {term: c for term, c in terms.items() if term not in (name, other)}
                    return rest | {before + text + after: terms[other]}
    return terms


def written(terms):
    """Return {name: coefficient} as text."""
    parts = [
        ("- " if c < 0 else "+ ") + (f"{abs(c):.4g}*" if abs(abs(c) - 1) > 1e-4 else "") + n for n, c in terms.items()
    ]
    return " ".join(parts).removeprefix("+ ")


def difference(right, here, shape):
    """Return in words what is wrong with a formula {name: coefficient} for a y of this shape, given the right one."""
    missing, extra = ([name for name in one if name not in other] for one, other in ((right, here), (here, right)))
    odd = [here[name] / right[name] for name in right if name in here and abs(here[name] / right[name] - 1) > 1e-4]
    number = ("no", "one", "two", "three", "four")
    also = ", and a factor is wrong" if odd else ""
    if odd and not missing and not extra:
        what = "sign" if all(abs(ratio + 1) < 1e-4 for ratio in odd) else "factor"
        less = one_less(odd[0], shape) if len(odd) == 1 else ""
        return f"the {what} of {number[len(odd)]} of {number[len(right)]} terms is wrong{less}"
    if missing == ["dy"] and not extra and shape and close(right["dy"], 1.0):  # a loss has no skip connection
        return f"dy itself, as of a skip connection, is missing{also}"
    if missing and not extra:
        means = all(re.search(r"mean\(|sum\(", name) for name in missing)
        why = TREATED[len(missing) == 2 and "x_hat" in missing[1]] if means else ""
        which = f"is missing: {missing[0]}" if len(missing) == 1 else "are missing"
        return f"{number[len(missing)]} of {number[len(right)]} terms {which}{why}{also}"
    if extra and not missing:
        return f"a term too many: {extra[0]}{also}"
    if len(missing) == len(extra) == 1 and abs(abs(here[extra[0]] / right[missing[0]]) - 1) > 1e-4:
        also = ", and a factor is wrong"
    return f"{substituted(missing, extra)}{also}"


def one_less(ratio, shape):
    """Return what it means that a term is N / (N - 1) times what it should be, N the size of some axes, or nothing."""
    for axes in subsets_of_axes(len(shape)):
        n = math.prod(shape[axis] for axis in axes)
        if n > 2 and math.isclose(max(ratio, 1 / ratio), n / (n - 1), rel_tol=1e-4):
            return f", by {n}/{n - 1}: a variance over {n} in forward or backward, over {n - 1} in the other"
    return ""


def substituted(missing, extra):
    """Return what has to be put where in the terms `extra` to get the terms `missing`."""

    def key(names, pattern=" ", put=""):
        return sorted(re.sub("[() ]", "", re.sub(pattern, lambda _: put, name)) for name in names)

    if key(missing, AXES) == key(extra, AXES):
        way = "averaged" if any("mean(" in name for name in extra) else "summed"
        axes, right = (re.search(AXES, some[0])[0] for some in (extra, missing))
        return f"{way} over {axes}, where {right} {'belong' if 'axes' in right else 'belongs'}"
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
    return OTHER


# The vocabularies: functions of the Evidence that yield each Vocabulary to try.


def split(words, axes=(), **names):
    """Return the words in a text, with other names put in; those with B once for each name of axes."""
    for old, new in names.items():
        words = re.sub(rf"\b{old}\b", new, words)
    return [re.sub(r"\bB\b", each, word) for word in words.split("; ") for each in (axes if " B)" in word else ("",))]


def pointwise(e):
    """Activations: dy times a function of x and y."""
    for words in (SMOOTH, BRANCHES) if e.elementwise else ():
        yield Vocabulary(split(words), [], e.y.shape, {"x": (e.name[1:], e.value), "y": ("y", e.y)})


def coupled(e):
    """Softmax, log-softmax, normalizations and their like: terms with a mean of dy over some axes."""
    if e.value.shape != e.y.shape or not e.of_input or e.elementwise:
        return
    x, shape = e.value, e.y.shape
    axes = [some for some in subsets_of_axes(x.ndim) if min(shape[axis] for axis in some) > 1]
    axes = {f"A{i}": (name_axes(some), some) for i, some in enumerate(axes)}
    names = {"x": (e.name[1:], x), "y": ("y", e.y)} | axes
    for words, a in product((SOFTMAX, LOG_SOFTMAX, CENTRED), axes):
        yield Vocabulary(split(words, A=a), split(COUPLED, axes), shape, names)
    for a, (_, some) in axes.items():
        inv_norm = 1 / np.sqrt((x**2).sum(axis=some, keepdims=True))
        if close(x * inv_norm, e.y, 1e-4):
            of_x = {"inv_norm": ("inv_norm", inv_norm)}
            yield Vocabulary(split(UNIT, A=a), split(OF_A_UNIT, A=a), shape, names | of_x)
    gammas = {path: weight for path, weight in e.weights.items() if weight.size > 1 and fits(weight, shape)}
    own = [e.experiment.subject.get(name) for name in e.experiment.subject.leaves]
    epsilons = [float(one) for one in own if one.size == 1 and 0 < one < 0.1] + list(EPS)
    before = product(("", "inv_std*", "inv_std^2*"), split(OF_A_NORM))
    others = "; ".join([OVER_OTHERS, *(f"{factor}{word}" for factor, word in before)])
    others = f"{others}; {others.replace('g*', '')}"
    for a, words, (path, gamma) in product(axes, (NORMALIZED, ROOT_MEAN_SQUARE), [("", 1.0), *gammas.items()]):
        centre = x - x.mean(axis=axes[a][1], keepdims=True) if words is NORMALIZED else x
        right, more = (split(text if path else text.replace("g*", ""), axes, A=a) for text in (words, others))
        for eps in epsilons:
            inv_std = 1 / np.sqrt((centre**2).mean(axis=axes[a][1], keepdims=True) + eps)
            of_x = {"inv_std": ("inv_std", inv_std), "x_hat": ("x_hat", centre * inv_std), "g": (path, gamma)}
            found = Vocabulary(right, more, shape, names | of_x, lambda dy: {"dy": dy * e.reaching})
            missing = found.misses(e.draws)
            if missing < 1e-5:
                yield found
                yield from over_other_axes(found, words, a, axes, x, eps)
            if not 1e-5 < missing < 0.05:
                break


def over_other_axes(right, words, a, axes, x, eps):
    """The same normalization, its mean and variance over other axes, in all of backward or in inv_std alone."""
    for b, (name, some) in axes.items():
        if b != a:
            centre = x - x.mean(axis=some, keepdims=True) if words is NORMALIZED else x
            inv_std = 1 / np.sqrt((centre**2).mean(axis=some, keepdims=True) + eps)
            names = {one: (f"{one}({axes[a][0]})", right.names[one][1]) for one in ("inv_std", "x_hat")}
            names |= {"inv_std2": (f"inv_std({name})", inv_std), "x_hat2": (f"x_hat({name})", centre * inv_std)}
            alone = [word.replace("inv_std", "inv_std2") for word in right.right]
            all_ = [word.replace("x_hat", "x_hat2").replace(f", {a})", f", {b})") for word in alone]
            yield dataclasses.replace(right, more=list(dict.fromkeys(alone + all_)), names=right.names | names)


def grouped(e):
    """Group normalization: means over the positions and the channels of a group, channels first or last."""
    if e.value.shape != e.y.shape or not e.of_input or e.elementwise or e.value.ndim < 2:
        return
    shape = e.y.shape
    for channels, groups in product(dict.fromkeys((len(shape) - 1, 1)), range(2, max(shape))):
        if shape[channels] % groups or shape[channels] == groups:
            continue
        view = (*shape[:channels], groups, shape[channels] // groups, *shape[channels + 1 :])
        axes = tuple(axis for axis in range(1, len(view)) if axis != channels)
        centre = e.value.reshape(view)
        centre = centre - centre.mean(axis=axes, keepdims=True)
        gammas = {path: np.broadcast_to(w, shape) for path, w in e.weights.items() if w.size > 1 and fits(w, shape)}
        for path, gamma in [("", np.ones(1)), *gammas.items()]:
            right, more = (split(text if path else text.replace("g*", ""), A="A") for text in (NORMALIZED, OF_GROUPS))
            for eps in EPS:
                inv_std = 1 / np.sqrt((centre**2).mean(axis=axes, keepdims=True) + eps)
                names = {"inv_std": ("inv_std", inv_std), "x_hat": ("x_hat", centre * inv_std)}
                names |= {"A": ("each group", axes), "g": (path, gamma.reshape(view) if path else gamma)}
                found = Vocabulary(right, more, shape, names, lambda dy, v=view: {"dy": dy.reshape(v)}, view=view)
                missing = found.misses(e.draws)
                if missing < 1e-5:
                    yield found
                if not 1e-5 < missing < 0.05:
                    break


def losses(e):
    """A loss, one number: its inputs, entry by entry or in a softmax over the last axis."""
    if e.y.size != 1 or not e.of_input or e.value.ndim == 0:
        return
    x, words, names = e.value, split(LOSS), {"x": (e.name[1:], e.value)}
    for i, (name, t) in enumerate(zip(e.experiment.input_names, e.experiment.inputs, strict=True)):
        if t.dtype.kind in "iu" and t.ndim == x.ndim - 1 and 0 <= t.min() and t.max() < x.shape[-1]:
            names[f"t{i}"] = f"one_hot({name[1:]})", np.eye(x.shape[-1])[t]
        elif t is not x and t.shape == x.shape:
            names[f"t{i}"] = name[1:], t
        words += split(TARGET, t=f"t{i}") if f"t{i}" in names else []
    yield Vocabulary(["dy" if word == "1" else f"{word}*dy" for word in words], [], x.shape, names)


def sums(e):
    """The gradient of a parameter that is added or multiplied: a sum of dy times something over some axes."""
    if e.of_input or e.multiplier is None or e.value.size < 2:
        return
    y, x = e.y, e.x if e.x.shape == e.y.shape else np.full(e.y.shape, np.nan)
    known = {f"k{i}": (name, a) for i, (name, a) in enumerate(e.known.items()) if fits(a, y.shape)}
    for axes, mean in product(subsets_of_axes(y.ndim), (np.mean, np.zeros_like)):
        centre = x - (x.mean(axis=axes, keepdims=True) if mean is np.mean else 0)
        if close(centre / np.sqrt((centre**2).mean(axis=axes, keepdims=True) + EPS[0]), e.multiplier, 0.01):
            known["x_hat"] = "x_hat", e.multiplier
    after = ("", "(x > 0)*", "(x <= 0)*", "(y > 0)*", "(1 - y^2)*", "y*(1 - y)*")
    words = [f"total({k}{d}dy, A)" for d in after for k in ("", *(f"{name}*" for name in known))]
    for axes in subsets_of_axes(y.ndim):
        if np.prod([n for i, n in enumerate(y.shape) if i not in axes]) == e.value.size:
            names = known | {"x": ("x", x), "y": ("y", y), "A": (name_axes(axes), axes)}
            yield Vocabulary(words, [], e.value.shape, names)


def in_rows(dy):
    """Return dy as the matrix that words of products are written for: a row for each entry of the leading axes."""
    return {"dy": dy.reshape(-1, dy.shape[-1])}


def rows_and_weights(e):
    """Return {a0: (name, rows)} of the known arrays with y's leading axes, and {w0: (path, weight)} of all matrices."""
    known = [(name, a) for name, a in e.known.items() if a.shape[:-1] == e.y.shape[:-1] and a.ndim == e.y.ndim]
    rows = {f"a{i}": (name, a.reshape(-1, a.shape[-1])) for i, (name, a) in enumerate(known)}
    return rows, {f"w{i}": (path, w) for i, (path, w) in enumerate(e.weights.items()) if w.ndim == 2}


def sliced(weights, size):
    """Return the first and last rows, and columns, of matrices that read several arrays put beside each other."""
    found = {}
    for name, (path, w) in weights.items():
        if (rest := w.shape[0] - size) > 0:
            found |= {f"{name}a": (f"{path}[:{size}]", w[:size]), f"{name}b": (f"{path}[{rest}:]", w[rest:])}
        if (rest := w.shape[1] - size) > 0:
            found |= {
                f"{name}c": (f"{path}[:, :{size}]", w[:, :size]),
                f"{name}d": (f"{path}[:, {rest}:]", w[:, rest:]),
            }
    return found


def products(e):
    """Matrix products with activations between, a.T @ d, d @ weight.T and sum(d), with or without a hidden layer."""
    y, value, lead = e.y, e.value, e.y.shape[:-1]
    if y.ndim < 2:
        return
    rows, weights = rows_and_weights(e)
    weights |= sliced(weights, value.shape[-1]) if e.of_input else {}
    ways = [(f"{name}.T", w) for name, (_, w) in weights.items()]
    ways += [(name, w) for name, (_, w) in weights.items() if w.shape[0] == w.shape[1]]
    names = rows | weights | {"y": ("y", y.reshape(-1, y.shape[-1])), "N": (name_axes(range(y.ndim - 1)), 0)}
    deltas = [(y.shape[-1], [f"{f.format('y')}dy" for f in AFTER])]
    for (way, w), out in product(ways, ("dy", "((1 - y^2)*dy)", "(y*(1 - y)*dy)", "((y > 0)*dy)")):
        hidden = [a for a, (_, h) in rows.items() if h.shape[-1] == len(w) and w.shape[1] == y.shape[-1]]
        deltas.append((len(w), [f"{f.format(a)}({out} @ {way})" for a in hidden for f in AFTER]))
    for width, some in deltas:
        words = []
        if e.of_input and value.shape[:-1] == lead:
            words = [f"({d}) @ {way}" for way, w in ways if w.shape == (value.shape[-1], width) for d in some]
        elif value.shape == (width,):
            words = [f"total({d}, N)" for d in some]
        elif not e.of_input and value.ndim == 2 and value.shape[1] == width:
            words = [f"{a}.T @ ({d})" for a, (_, h) in rows.items() if h.shape[-1] == len(value) for d in some]
        if words:
            yield Vocabulary(words, [], value.shape, names, in_rows)


def used_twice(e):
    """A weight in the layer's last product and in one before it, such as a tied decoder: the sum of both."""
    y, value = e.y, e.value
    if e.of_input or value.ndim != 2 or y.ndim < 2:
        return
    rows, weights = rows_and_weights(e)
    sizes = {a: h.shape[-1] for a, (_, h) in rows.items()}
    words = [f"{a}.T @ dy" for a, size in sizes.items() if (size, y.shape[-1]) == value.shape]
    words += [f"dy.T @ {a}" for a, size in sizes.items() if (y.shape[-1], size) == value.shape]
    through = [way for name, (_, w) in weights.items() for way, m in ((f"{name}.T", w.T), (name, w))
               if m.shape == (y.shape[-1], value.shape[1])]  # fmt: skip
    words += [
        f"{a}.T @ ({f.format(b)}(dy @ {way}))"
        for way, a, b, f in product(through, sizes, sizes, AFTER[:3])
        if (sizes[a], sizes[b]) == value.shape
    ]
    if through and words:
        yield Vocabulary(list(dict.fromkeys(words)), [], value.shape, rows | weights, in_rows)


def gates(e):
    """A product of two arrays, one of them behind a matrix and an activation: x * sigmoid(x @ w)."""
    y, value = e.y, e.value
    if y.ndim < 2:
        return
    rows, weights = rows_and_weights(e)
    names = rows | weights
    wide = [a for a, (name, h) in rows.items() if h.shape[-1] == y.shape[-1] and name != "y"]  # y is their product
    first, second = ["", *(f"{a}*" for a in wide)], ["", *(f"{a}{p}*" for a in wide for p in ("", "^2"))]
    deltas = [f"{a}{b}dy" for a, b in product(first, second)]
    ways = [f"{name}.T" for name, (_, w) in weights.items() if w.shape == (value.shape[-1], y.shape[-1])]
    if e.of_input and value.shape[:-1] == y.shape[:-1]:
        words = [f"({d}) @ {way}" for way in ways for d in deltas]
        words += deltas if words and value.shape == y.shape else []
    else:
        left = [a for a, (_, h) in rows.items() if (h.shape[-1], y.shape[-1]) == value.shape]
        words = [f"{a}.T @ ({d})" for a in left for d in deltas]
    if words:
        yield Vocabulary(words, [], value.shape, names, in_rows)


VOCABULARIES = pointwise, coupled, grouped, losses, sums, products, used_twice, gates
