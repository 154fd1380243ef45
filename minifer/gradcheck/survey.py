"""What is there to check: which arrays and numbers that a layer holds are trained, and where their gradients are.

The rule: what forward reads, and neither an input nor a constant is, has a gradient or the check fails. What forward
reads is found by moving it and watching y. Of the rest

    made by forward   what forward sets anew each time (self.x, a mask, running statistics, a state) is no weight;
                      what the first forward makes and the next one reads is a weight made late
    constants         declared: the class attribute constants = ("table",), the argument `constants` or --constant;
                      taken as such: arrays called mask or running_..., entries too large for a weight, CAPITALS in the
                      class, what y depends on in jumps (an index), and numbers: an eps and a learned slope look alike
    numbers           are weights if they have a gradient, if the class speaks of one that is never set, if something
                      beside them has one and they are no tiny eps, or if `required` or --require names them

A gradient is looked for by its name (names.py), then among all that backward left or returned beside dx, by its value.
"""

import contextlib
import re

import numpy as np

from minifer.errors import ConfigError, GradientError, LayerError, MiniferError
from minifer.gradcheck.experiment import MOVE, Experiment, other_draws, require_tiny
from minifer.gradcheck.names import clean, mentions_gradient, owners, plain
from minifer.gradcheck.outputs import POSITIONAL, floats_in, is_several, ways
from minifer.gradcheck.state import is_number
from minifer.gradcheck.subject import ArgumentsError

CONSTANT = re.compile(r"(.*_)?masks?|(running|moving|ema)_.*")
TOO_LARGE = 1e6  # for a weight: an additive mask has -1e9 or -inf
TINY = 1e-3  # an eps, not a weight


def survey(subject, inputs, rng, constants=(), required=()):
    """Return (the Subject with its `trained` filled in, [what was taken for no weight, a line each]).

    Raises   ConfigError when the layer has neither an input nor anything else of a name in constants or required
    """
    subject = with_outputs(subject, inputs, tuple(constants))
    subject = with_late_weights(subject, inputs, rng)
    for name, leaf in subject.leaves.items():
        if not leaf.fixed and isinstance(subject.at(name), np.ndarray):
            make_float(subject, name, inputs)
    return Survey(subject, inputs, rng, required).done()


def with_outputs(subject, inputs, constants):
    """Return the Subject with the way in which backward takes a gradient for each output, if there are several."""
    subject.constants = constants
    require_tiny(subject, inputs)
    first, backward = subject.copy(), subject.signatures["backward"]
    result = first.run(*[x.copy() for x in inputs])
    needed = [p.name for p in backward.parameters.values() if p.kind in POSITIONAL and p.default is p.empty]
    if is_several(result):
        if not any(True for _ in floats_in(result)):
            raise first.no_numbers()
        return with_a_way(subject, inputs, result, needed)
    if len(needed) > 1:
        more = ", ".join(needed[1:])
        raise LayerError(
            f"{subject.called('forward')} returned one result, and {subject.called('backward')}{backward} needs more "
            f"than its gradient: return y, {more}{'' if subject.is_function() else f', or keep {more} in self'}"
        )
    return subject


def with_a_way(subject, inputs, result, needed):
    """Return the Subject with the first way in which backward runs and gives gradients of the right shapes.

    result    what forward returned
    needed    names of what backward cannot do without
    """
    backward, ran, failed = subject.signatures["backward"], [], []
    for outputs in ways(result, backward):
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
    for error in failed:
        # Backward has taken what forward returned, and something else is wrong.
        if isinstance(error, GradientError) or (len(needed) > 1 and not isinstance(error, ArgumentsError)):
            raise error
    raise LayerError(
        f"{subject.called('forward')} returned {len(result)} results, and {subject.called('backward')}"
        f"{backward} takes no gradients for them: return one array y and keep the cache in self, or let backward take "
        f"a gradient of every output, as backward(self, dh, dc) does ({failed[0]})"
    ) from failed[0]


def with_late_weights(subject, inputs, rng):
    """Return the Subject, after its first forward if that made arrays which the next one reads."""
    after = subject.copy()
    after.forward(*[x.copy() for x in inputs])
    after.look_around()
    late = [name for name in after.leaves.keys() - subject.leaves.keys() if not after.leaves[name].fixed]
    late = [name for name in late if after.holds_floats(name)]
    with contextlib.suppress(Exception):  # of a second forward, which may be too many
        return after if late and reads(Experiment(after, inputs, rng), late) else subject
    return subject


def make_float(subject, name, inputs):
    """Make a weight of integers one of floats, unless forward needs the integers, as for an index; return whether."""
    if subject.holds_floats(name):
        return True
    other, floats = subject.copy(), subject.get(name)
    other.replace(name, floats if isinstance(subject.at(name), np.ndarray) else floats.tolist())
    state = other.copy().state
    with contextlib.suppress(Exception):  # such as that of range(3.0) or x[:, 2.0]
        if np.array_equal(other.forward(*inputs), subject.copy().forward(*inputs)):
            subject.state = state
            return True
    return False


def reads(experiment, names):
    """Return those of some names that y depends on, found by halves: most often it is none."""
    if not names or not changes(experiment, names):
        return []
    if len(names) == 1:
        return [name for name in names if changes(experiment, names, unless_it_fails=True)]
    half = len(names) // 2
    return reads(experiment, names[:half]) + reads(experiment, names[half:])


def changes(experiment, names, unless_it_fails=False):
    """Whether y changes with some arrays and numbers, or forward fails with others."""
    y = with_steps(experiment, names, 1)
    if y is None or y.shape != experiment.y.shape:
        return not unless_it_fails
    return experiment.differs(y)


def with_steps(experiment, names, steps):
    """Return y with some arrays and numbers moved, or None where forward fails with them, as with another length."""
    moved, subject = {}, experiment.subject
    for seed, name in enumerate(names):
        direction = np.random.default_rng(seed).uniform(0.5, 1, subject.get(name).shape)
        moved[name] = subject.get(name) + steps * (MOVE * direction if subject.holds_floats(name) else 1)
    with contextlib.suppress(Exception), np.errstate(all="ignore"):
        return experiment.output(moved)


class Survey:
    """One look at a layer: `scout` is the Experiment of it, `left` what backward may have left as gradients."""

    def __init__(self, subject, inputs, rng, required):
        self.subject, self.inputs, self.rng, self.required = subject, inputs, rng, required
        self.scout = Experiment(subject, inputs, rng)
        self.scout.require_same_output()
        for name in (*subject.constants, *required):
            if f"d{name}" not in self.scout.input_names and not any(map(is_called(name), subject.leaves.values())):
                known = ", ".join(name for name, leaf in subject.leaves.items() if not leaf.fixed) or "none"
                raise ConfigError(f"{subject.name} holds no array or number called {name!r}; it holds {known}")
        self.written, self.left, self.trained = self._written(), self._left(), {}

    def done(self):
        """Return (the Subject with its `trained`, lines of what was taken for no weight)."""
        leaves, others, states = self.subject.leaves, [], []
        declared = self._declared()
        for name, leaf in leaves.items():
            if leaf.fixed or name in declared or name in self.scout.input_names:
                continue
            sources = self._named(leaf)
            if name in self.written and not leaf.parameter:
                states.append(name)
            elif sources and make_float(self.subject, name, self.inputs):
                self.trained[name] = self._chosen(name, sources)
            else:
                others.append(name)
        self._drop_namesakes()
        constants = []
        for name in self._read(others):
            sources = self._of_other_name(name)
            if sources or self._is_weight(name):
                self.trained[name] = sources
            else:
                constants.append(name)
        for name in leaves:
            if name in self.trained or not any(is_called(wanted)(leaves[name]) for wanted in self.required):
                continue
            self.trained[name] = ()
            constants = [constant for constant in constants if constant != name]
        extras, used = self.scout.after.state.returned, {path[0] for paths in self.trained.values() for path in paths}
        if extras and (".", "returned") not in used:
            wanted = [name for name in self.scout.input_names if name in self.scout.values]
            raise self.scout.wrong_number(len(wanted) + len(extras), wanted)
        self.subject.trained = {name: self.trained[name] for name in leaves if name in self.trained}
        return self.subject, self._remarks(declared, constants, reads(self.scout, states))

    # What one pass shows.

    def _declared(self):
        """Return the names of all that is declared constant, in the class that holds it or by hand."""
        names = [(*names, own) for names, thing in self.subject.state.objects() for own in declared_in(thing)]
        return [
            name
            for name, leaf in self.subject.leaves.items()
            if any(one[: len(own)] == own for own in names for one in leaf.names)
            or any(is_called(constant)(leaf) for constant in self.subject.constants)
        ]

    def _written(self):
        """Return the names of what forward makes anew or changes: another input leaves something else there."""
        second = self.scout.between.copy()
        with contextlib.suppress(Exception):
            second.forward(*[x * 0.875 if x.dtype.kind == "f" else x for x in self.inputs])
        return {name for name in self.subject.leaves if not same(self.scout.between.at(name), second.at(name))}

    def _left(self):
        """Return [(path, value, names of the arrays whose gradient it may be)] of what backward set, or left zero."""
        found, before, after = [], self.scout.between.state, self.scout.after.state
        known = [self.scout.dy, *(self.scout.gradients[name] for name in self.scout.values)]
        for leaf in after.leaves():
            path, of = leaf.paths[0], set().union(*map(owners, leaf.names))
            value = after.get(path)
            touched = path[0] == (".", "returned") or not same(before.get(path), value)
            if touched and (of or not any(same(value, gradient) for gradient in known)):
                found.append((path, value, of))
            elif of and not np.any(value):  # made ready, and never set
                found.append((path, value, of))
        return found

    # Gradients.

    def _named(self, leaf):
        """Return the paths of the gradients that are called after an array."""
        names = set(map(plain, leaf.names))
        return tuple(path for path, _, of in self.left if of & names and path not in leaf.paths)

    def _chosen(self, name, sources):
        """Return the paths whose sum is the gradient, where several are called after one array.

        Of tied weights the sum counts, or one where each holds the sum; else all have to be right.
        """
        wrong = [path for path in sources if not self._agrees(name, path)]
        if len(self.subject.leaves[name].paths) > 1 and wrong:
            return sources
        return (wrong or sources)[:1]

    def _agrees(self, name, path):
        """Whether a gradient is right along one random direction."""
        value, gradient = self.subject.get(name), self.scout.after.state.get(path)
        if np.size(gradient) != value.size or (np.shape(gradient) != value.shape and value.size > 1):
            return False
        direction = np.random.default_rng(0).standard_normal(value.shape)
        numeric = self.scout.slope(name, direction, {name: value})
        expected = float(np.sum(np.reshape(gradient, value.shape) * direction))
        return abs(numeric - expected) < 1e-5 * max(abs(numeric), abs(expected))

    def _of_other_name(self, name):
        """Return the path of a gradient of another name: one that is right, or of weights the only dW or grad."""
        shape, last = self.subject.get(name).shape, clean(self.subject.leaves[name].names[0][-1]).lower()
        taken = set().union(*self.trained.values())
        free = [(path, of) for path, value, of in self.left if path not in taken and np.shape(value) == shape]
        right = [path for path, _ in free if self._agrees(name, path)]
        short = [path for path, of in free if any(last.startswith("".join(one[-1:]).lower()) for one in of)]
        return tuple(right[:1] or (short if len(short) == 1 and shape else ()))

    def _drop_namesakes(self):
        """Of several arrays with the same gradient keep those that forward reads: the others are copies."""
        for path in set().union(*self.trained.values()):
            names = [name for name, sources in self.trained.items() if path in sources]
            read = reads(self.scout, names) if len(names) > 1 else []
            for name in names if read else []:
                if name not in read:
                    del self.trained[name]

    # Weights and constants.

    def _read(self, names):
        """Return those of the names that y depends on, for this or another draw of inputs and weights."""
        names = [name for name in names if not self._is_size(name) or self._beside_trained(name)]
        found, floats = reads(self.scout, names), [name for name in names if self.subject.holds_floats(name)]
        draws = other_draws(self.subject, self.inputs, [*self.trained, *floats], self.rng)
        for other, inputs in draws if len(found) < len(names) else ():
            with contextlib.suppress(MiniferError):
                found += reads(Experiment(other, inputs, self.rng), [name for name in names if name not in found])
        return [name for name in names if name in found]

    def _is_size(self, name):
        """Whether this is a list of integers, or an integer in a container: sizes, indices, seeds."""
        in_container = self.subject.leaves[name].paths[0][-1][0] == "["
        return not self.subject.holds_floats(name) and (in_container or not is_number(self.subject.at(name)))

    def _beside_trained(self, name):
        """Whether what holds a number holds a number with a gradient, or is a dict or list with anything trained."""
        leaves = self.subject.leaves
        holder, container = leaves[name].names[0][:-1], leaves[name].paths[0][-1][0] == "["
        beside = [other for other in self.trained if self.trained[other] and leaves[other].names[0][:-1] == holder]
        return any(container or is_number(self.subject.at(other)) for other in beside)

    def _is_weight(self, name):
        """Whether an array or number that forward reads, and that has no gradient, should have one."""
        leaf, value = self.subject.leaves[name], self.subject.get(name)
        last, size = leaf.names[0][-1], np.abs(value).max()
        if not is_number(self.subject.at(name)):
            capitals = leaf.paths[0][0] == (".", "statics") and last.isupper() and len(last) > 2
            return not (capitals or CONSTANT.fullmatch(last)) and size < TOO_LARGE and self._is_smooth(name)
        left = {path for path, _, _ in self.left}
        held = {other.names[0][-1] for other in self.subject.leaves.values() if other.paths[0] not in left}
        if mentions_gradient(self.subject.state.owner(leaf.paths[0]), last, held):  # held: self.dt beside self.t
            return True
        return self._beside_trained(name) and not 0 < size <= TINY and make_float(self.subject, name, self.inputs)

    def _is_smooth(self, name):
        """Whether y changes twice as much with twice the step: what only selects makes it jump."""
        once, twice = (with_steps(self.scout, [name], steps) for steps in (0.01, 0.02))
        if once is None or twice is None or not once.shape == twice.shape == self.scout.y.shape:
            return False
        bend = twice - 2 * once + self.scout.y
        return bool(np.linalg.norm(bend) <= 0.25 * np.linalg.norm(twice - self.scout.y))

    def _remarks(self, declared, constants, states):
        """Return a line about everything that forward reads and that was not checked."""
        given = [name[1:] for name, x in zip(self.scout.input_names, self.inputs, strict=True) if x.dtype.kind == "f"]
        given = [name for name in given if f"d{name}" not in self.scout.values]
        first = ["the first"] if self.subject.outputs and self.subject.outputs.way == "first" else []
        lines = {
            "declared constant: {}": declared,
            "taken as constants, which have no gradient: {} (--require NAME or required= asks for one)": constants,
            "taken as state, since forward itself changes it: {}": states,
            "taken as given, an input without a gradient: {}": given,
            "forward returns several results, backward takes one gradient: only {} was checked": first,
        }
        return [line.format(", ".join(names)) for line, names in lines.items() if names]


def declared_in(thing):
    """Return the names in the attribute `constants` of an object."""
    names = getattr(thing, "constants", ())
    return [name for name in names if isinstance(name, str)] if isinstance(names, list | tuple | set) else []


def is_called(name):
    """Return a function: whether a name given by hand is a Leaf's, or the beginning or the end of it."""
    parts = tuple(name.split("."))
    ends = slice(-len(parts), None), slice(None, len(parts))
    return lambda leaf: any(one[end] == parts for one in leaf.names for end in ends)


def same(one, other):
    """Whether two things are the same numbers."""
    try:
        return np.array_equal(one, other)
    except ValueError:
        return False
