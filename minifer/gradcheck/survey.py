"""What is there to check: which arrays and numbers that a layer holds are trained, and where their gradients are.

The rule: what forward reads, and neither an input nor a constant is, has a gradient or the check fails. What forward
reads is found by moving it and watching y. Of the rest

    made by forward   what forward sets anew each time (self.x, a mask, running statistics, a state) is no weight;
                      what the first forward makes and the next one reads is a weight made late
    constants         declared: the class attribute constants = ("table",), the argument `constants` or --constant;
                      taken as such: arrays called mask or running_..., entries too large for a weight, CAPITALS in the
                      class, what y depends on in jumps (an index), and numbers: an eps and a learned slope look alike
    numbers           are weights if they have a gradient, if the class speaks of one that is never set, if another
                      number beside them has one and they are no tiny eps, or if `required` or --require names them

A gradient is looked for by its name (names.py), then among all that backward left or returned beside dx, by its value.
"""

import contextlib
import re

import numpy as np

from minifer.errors import ConfigError, GradientError, LayerError, MiniferError
from minifer.gradcheck.experiment import Experiment, other_draws
from minifer.gradcheck.names import mentions_gradient, owners, plain
from minifer.gradcheck.outputs import is_several, ways

CONSTANT_NAME = re.compile(r"(.*_)?masks?|(running|moving|ema)_.*")
TOO_LARGE = 1e6  # for a weight: an additive mask has -1e9 or -inf
TINY = 1e-3  # an eps, not a weight
MOVE = 1e-3


def survey(subject, inputs, rng, constants=(), required=()):
    """Return (the Subject with its `trained` filled in, [what was taken for no weight, a line each]).

    Raises   ConfigError when a name in constants or required is none of the layer's
    """
    subject = with_outputs(subject, inputs)
    subject = with_late_weights(subject, inputs)
    for leaf in subject.leaves.values():
        if leaf.kind == "array" and not leaf.fixed:
            make_float(subject, leaf, inputs)
    return Survey(subject, inputs, rng, constants, required).done()


def with_outputs(subject, inputs):
    """Return the Subject with the way in which backward takes a gradient for each output, if there are several."""
    result = subject.copy().run(*[x.copy() for x in inputs])
    if not is_several(result):
        return subject
    ran, failed = [], []
    for outputs in ways(result, subject.signatures["backward"]):
        other = subject.copy()
        other.outputs = outputs
        try:
            trial = Experiment(other, inputs, np.random.default_rng(0))
        except Exception as error:
            failed.append(error)
            continue
        ran.append(other)
        if all(trial.gradients[name].shape == value.shape for name, value in trial.values.items()):
            return other
    if ran:
        return ran[0]
    raise LayerError(
        f"{subject.name}.forward returned {len(result)} results, and backward{subject.signatures['backward']} takes no "
        "gradients for them: return one array y and keep the cache in self, or let backward take a gradient of every "
        f"output, as backward(self, dh, dc) does ({failed[0]})"
    ) from failed[0]


def with_late_weights(subject, inputs):
    """Return the Subject, after its first forward if that made arrays which the next one reads."""
    after = subject.copy()
    after.forward(*[x.copy() for x in inputs])
    after.look_around()
    late = [name for name, leaf in after.leaves.items() if name not in subject.leaves and may_be_trained(after, leaf)]
    if not late:
        return subject

    def output(moved):
        worker = after.copy()
        for name in moved:
            worker.set(name, worker.get(name) + 1)
        try:
            return worker.forward(*[x.copy() for x in inputs])
        except Exception:
            return None

    y = output([])
    if np.array_equal(y, output(late)):
        return subject
    moved = {name: output([name]) for name in late}
    return after if any(other is not None and not np.array_equal(y, other) for other in moved.values()) else subject


def may_be_trained(subject, leaf):
    """Whether an array or number is no fixed one, and of floating point."""
    return not leaf.fixed and np.asarray(subject.state.get(leaf.paths[0])).dtype.kind == "f"


def make_float(subject, leaf, inputs):
    """Make a weight of integers one of floats, unless forward needs the integers, as for an index; return whether."""
    value = subject.state.get(leaf.paths[0])
    if np.asarray(value).dtype.kind == "f":
        return True
    other, floats = subject.copy(), np.asarray(value, np.float64)
    try:
        other.replace(leaf, floats if leaf.kind == "array" else floats.tolist())
        same = np.array_equal(other.copy().forward(*inputs), subject.copy().forward(*inputs))
    except Exception:
        return False
    if same:
        subject.state = other.state
    return same


class Survey:
    """One look at a layer in its first pass: `scout` is the Experiment, `left` what backward left there."""

    def __init__(self, subject, inputs, rng, constants, required):
        self.subject, self.inputs, self.rng, self.required = subject, inputs, rng, required
        self.scout = Experiment(subject, inputs, rng)
        self.scout.require_same_output()
        for name in (*constants, *required):
            if not any(is_called(leaf, name) for leaf in subject.leaves.values()):
                known = ", ".join(name for name, leaf in subject.leaves.items() if not leaf.fixed) or "none"
                raise ConfigError(f"{subject.name} holds no array or number called {name!r}; it holds {known}")
        self.declared = [
            name
            for name, leaf in subject.leaves.items()
            if leaf.declared or any(is_called(leaf, constant) for constant in constants)
        ]
        self.written = self._written()
        self.left = self._left()

    def done(self):
        """Return (the Subject with its `trained`, lines of what was taken for no weight)."""
        trained, others, states = {}, [], []
        for name, leaf in self.subject.leaves.items():
            if leaf.fixed or name in self.declared or name in self.scout.input_names:
                continue
            sources = self._named(leaf)
            if name in self.written and not leaf.parameter:
                states.append(name)
            elif sources and make_float(self.subject, leaf, self.inputs):
                trained[name] = self._chosen(name, sources)
            else:
                others.append(name)
        self._drop_namesakes(trained)
        read, constants = self._read(others, trained), []
        for name in read:
            sources = self._by_value(name, trained)
            if sources or self._is_weight(name, trained):
                trained[name] = sources
            else:
                constants.append(name)
        for name, leaf in self.subject.leaves.items():
            if name not in trained and any(is_called(leaf, wanted) for wanted in self.required):
                trained[name] = ()
        constants = [name for name in constants if name not in trained]
        self._require_owners_of_extras(trained)
        self.subject.trained = {name: trained[name] for name in self.subject.leaves if name in trained}
        return self.subject, self._remarks(constants, self._read_now(self.scout, states))

    # What the first pass shows.

    def _written(self):
        """Return the names of what forward makes anew or changes: another input leaves something else there."""
        second = self.scout.between.copy()
        with contextlib.suppress(Exception):
            second.forward(*[x * 0.875 if x.dtype.kind == "f" else x for x in self.inputs])
        first = self.scout.between.state
        return {
            name
            for name, leaf in self.subject.leaves.items()
            if not same(first.get(leaf.paths[0]), second.state.get(leaf.paths[0]))
        }

    def _left(self):
        """Return [(Leaf, value, whether it has a gradient's name)] of what backward may have left as a gradient."""
        found, before = [], self.scout.between.state
        upstream = [self.scout.dy, *(self.scout.gradients[name] for name in self.scout.values)]
        for leaf in self.scout.after.state.leaves():
            value = self.scout.after.state.get(leaf.paths[0])
            touched = leaf.paths[0][0][1] == "returned" or not same(before.get(leaf.paths[0]), value)
            marked = set().union(*map(owners, leaf.names))
            if touched and any(np.array_equal(value, gradient) for gradient in upstream) and not marked:
                continue
            if touched or (marked and not np.any(value)):  # zeros: made ready, and never set
                found.append((leaf, value, marked))
        return found

    def _named(self, leaf):
        """Return [paths] of the gradients that are called after an array."""
        names = {plain(name) for name in leaf.names}
        return [left.paths[0] for left, _, marked in self.left if marked & names and left.paths != leaf.paths]

    # Gradients.

    def _chosen(self, name, sources):
        """Return the paths whose sum is the gradient, where several are called after one array.

        Of tied weights the sum counts, or each where each holds the sum; else all have to be right.
        """
        if len(sources) < 2:
            return tuple(sources)
        tied = len(self.subject.leaves[name].paths) > 1
        right = {path: self._agrees(name, self.scout.after.state.get(path)) for path in sources}
        if tied:
            return tuple(sources) if not all(right.values()) else tuple(sources[:1])
        return (next((path for path in sources if not right[path]), sources[0]),)

    def _agrees(self, name, gradient):
        """Whether a gradient is right along one random direction."""
        value = self.subject.get(name)
        if np.size(gradient) != value.size or (np.shape(gradient) != value.shape and value.size > 1):
            return False
        direction = np.random.default_rng(0).standard_normal(value.shape)
        numeric = self.scout.slope(name, direction, {name: value})
        expected = float(np.sum(np.reshape(gradient, value.shape) * direction))
        return abs(numeric - expected) < 1e-5 * max(abs(numeric), abs(expected))

    def _by_value(self, name, trained):
        """Return the path of a gradient of another name: the one that is right, or the only one of the right shape."""
        taken = set().union(*trained.values())
        shape = self.subject.get(name).shape
        free = [(leaf, value, marked) for leaf, value, marked in self.left if leaf.paths[0] not in taken]
        free = [(leaf, marked) for leaf, value, marked in free if np.shape(value) == shape and np.any(value)]
        for leaf, _ in free:
            if self._agrees(name, self.scout.after.state.get(leaf.paths[0])):
                return (leaf.paths[0],)
        allowed = {"", self.subject.leaves[name].names[0][-1][:1].lower()}  # of weight: dW, or grad alone
        alike = [
            leaf.paths[0] for leaf, owned in free if any("".join(owner[-1:])[:1].lower() in allowed for owner in owned)
        ]
        return tuple(alike) if len(alike) == 1 and shape else ()

    def _drop_namesakes(self, trained):
        """Of several arrays with the same gradient keep those that forward reads: the others are copies."""
        for path in {path for sources in trained.values() for path in sources}:
            names = [name for name, sources in trained.items() if path in sources]
            read = self._read_now(self.scout, names) if len(names) > 1 else names
            for name in names if read else []:
                if name not in read:
                    del trained[name]

    def _require_owners_of_extras(self, trained):
        used = {path for sources in trained.values() for path in sources}
        extras = len(self.scout.after.state.returned)
        if extras and not any(path[0] == (".", "returned") for path in used):
            count = len(self.scout.differentiable)
            raise GradientError(
                f"{self.subject.name}.backward returned {count + extras} gradients for {count} floating-point inputs"
            )

    # What forward reads.

    def _read(self, names, trained):
        """Return those of the names that y depends on, for this or another draw of inputs and weights."""
        names = [name for name in names if not self._is_size(name) or self._beside_a_trained_number(name, trained)]
        read = self._read_now(self.scout, names)
        weights = [*trained, *(name for name in names if self.subject.get(name).ndim)]
        draws = other_draws(self.subject, self.inputs, weights, self.rng)
        for other, inputs in draws if len(read) < len(names) else ():
            with contextlib.suppress(MiniferError):
                scout = Experiment(other, inputs, self.rng)
                read += self._read_now(scout, [name for name in names if name not in read])
        return [name for name in names if name in read]

    def _is_size(self, name):
        """Whether this is a list of integers, or an integer in a container: sizes, indices, seeds."""
        leaf = self.subject.leaves[name]
        value = np.asarray(self.subject.state.get(leaf.paths[0]))
        return value.dtype.kind != "f" and (value.ndim > 0 or leaf.paths[0][-1][0] == "[")

    def _read_now(self, scout, names):
        """Return those of the names that y depends on, by halves: most often none is read."""
        if not names or not self._changes(scout, names):
            return []
        if len(names) == 1:
            return [name for name in names if self._changes(scout, names, anything=False)]
        half = len(names) // 2
        return self._read_now(scout, names[:half]) + self._read_now(scout, names[half:])

    def _changes(self, scout, names, anything=True):
        """Whether y changes with some arrays and numbers; `anything`: or forward fails."""
        y = self._output(scout, names, 1)
        if y is None or y.shape != scout.y.shape:
            return anything
        return bool(np.abs(y - scout.y).max(initial=0) > 1e-13 * np.abs(scout.y).max(initial=0))

    def _output(self, scout, names, steps):
        changes = {}
        for name in names:
            value, kind = scout.subject.get(name), np.asarray(scout.subject.state.get(self._path(name))).dtype.kind
            direction = np.random.default_rng(len(changes)).uniform(0.5, 1, value.shape)
            changes[name] = value + steps * (MOVE * direction if kind == "f" else 1)
        try:
            with np.errstate(all="ignore"):
                return scout.output(changes)
        except Exception:
            return None

    def _path(self, name):
        return self.subject.leaves[name].paths[0]

    # Weights and constants.

    def _is_weight(self, name, trained):
        """Whether an array or number that forward reads, and that has no gradient, should have one."""
        leaf, value = self.subject.leaves[name], self.subject.get(name)
        last = leaf.names[0][-1]
        if leaf.kind != "number":
            capitals = leaf.from_class and last.isupper() and len(last) > 2
            small = np.isfinite(value).all() and np.abs(value).max() < TOO_LARGE
            return bool(small and not capitals and not CONSTANT_NAME.fullmatch(last) and self._is_smooth(name))
        leaves = self.subject.leaves.values()
        left = [leaf.paths[0] for leaf, _, _ in self.left]
        held = {leaf.names[0][-1] for leaf in leaves if leaf.paths[0] not in left}  # self.dt may be a constant too
        if mentions_gradient(self.subject.state.owner(self._path(name)), last, held):
            return True
        beside = self._beside_a_trained_number(name, trained) and not 0 < abs(value) <= TINY
        return beside and make_float(self.subject, leaf, self.inputs)

    def _beside_a_trained_number(self, name, trained):
        """Whether what holds a number holds another one that has a gradient."""
        holder = self.subject.leaves[name].names[0][:-1]
        numbers = [leaf for other, leaf in self.subject.leaves.items() if trained.get(other) and leaf.kind == "number"]
        return any(leaf.names[0][:-1] == holder for leaf in numbers)

    def _is_smooth(self, name):
        """Whether y changes twice as much with twice the step: what only selects makes it jump, or changes nothing."""
        once, twice = (self._output(self.scout, [name], steps) for steps in (0.01, 0.02))
        if once is None or twice is None or once.shape != self.scout.y.shape or twice.shape != once.shape:
            return False
        bend = twice - 2 * once + self.scout.y
        return bool(np.linalg.norm(bend) <= 0.25 * np.linalg.norm(twice - self.scout.y))

    def _remarks(self, constants, states):
        remarks = []
        if self.declared:
            remarks.append(f"declared constant: {', '.join(self.declared)}")
        if constants:
            remarks.append(
                f"taken as constants, which have no gradient: {', '.join(constants)} (--require {constants[0]}, or "
                f"required=({constants[0]!r},), asks for one)"
            )
        if states:
            remarks.append(f"taken as state, since forward itself changes it: {', '.join(states)}")
        if self.subject.outputs and self.subject.outputs.way == "first" and len(self.scout.after.result) > 1:
            remarks.append("forward returns several results, backward takes one gradient: only the first was checked")
        return remarks


def is_called(leaf, name):
    """Whether a name given by hand means this array or number: all of its dotted name, its end, or its beginning."""
    dotted = [".".join(names) for names in leaf.names]
    return any(one == name or one.endswith(f".{name}") or one.startswith(f"{name}.") for one in dotted)


def same(one, other):
    """Whether two things at a path are the same numbers."""
    try:
        return np.array_equal(one, other)
    except ValueError:
        return False
