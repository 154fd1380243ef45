"""What values a setting may have: a kind and a range, checked alike for flags, for files and for Python callers.

    Number(0, 1)   Whole(1, 64)   Choice("adam", "sgd")   Switch()   Text()   Several(Whole(1, 13), most=13)

Each has take(value), which returns the value as a plain Python object or raises ValueError, and a text that says what
is allowed. NumPy's numbers become Python's, so that JSON can hold them. A bool is no number, 3.0 is no whole one, and
NaN and infinity lie in no range.
"""

import reprlib
from itertools import islice
from numbers import Integral, Real

from minifer.errors import ConfigError


def checked(name, value, allowed, error=ConfigError):
    """Return a value as a plain object; raise an error with its name, the value and what is allowed."""
    try:
        return allowed.take(value)
    except (TypeError, ValueError, OverflowError):
        raise error(f"{name} is {shown(value)}: it must be {allowed}") from None


def shown(value):
    """Return a value as short text, whatever it is."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a number of thousands of digits"


def require(condition):
    """Raise ValueError unless a condition holds."""
    if not condition:
        raise ValueError


class Number:
    """A finite number from least to most; take returns a float."""

    kind, plain, called = Real, float, "a number"

    def __init__(self, least, most):
        self.least, self.most = least, most

    def take(self, value):
        require(isinstance(value, self.kind) and not isinstance(value, bool) and self.least <= value <= self.most)
        return self.plain(value)

    def __str__(self):
        return f"{self.called} from {self.least} to {self.most}"


class Whole(Number):
    """A whole number from least to most; take returns an int."""

    kind, plain, called = Integral, int, "a whole number"


class Choice:
    """One of a few values."""

    def __init__(self, *values):
        self.values = values

    def take(self, value):
        require(value in self.values and not isinstance(value, bool | float))
        return self.values[self.values.index(value)]

    def __str__(self):
        return f"one of {', '.join(map(str, self.values))}"


class ChoiceOrOwn(Choice):
    """One of a few values, or the name of something of one's own: file.py:name or module:name."""

    def take(self, value):
        if isinstance(value, str) and ":" in value:
            return Text().take(value)
        return super().take(value)

    def __str__(self):
        return f"{super().__str__()}, or file.py:name of your own"


class Switch:
    """True or false."""

    def take(self, value):
        require(isinstance(value, bool))
        return value

    def __str__(self):
        return "true or false"


class Text:
    """A text that can be a path or a name."""

    def __init__(self, least=0, most=4096):
        self.least, self.most = least, most

    def take(self, value):
        require(isinstance(value, str) and self.least <= len(value) <= self.most and "\0" not in value)
        return value

    def __str__(self):
        return f"a text of {self.least} to {self.most} characters"


class Several:
    """A list of values of one kind; take returns a tuple. It takes any iterable, also an endless one, but no text."""

    def __init__(self, each, least=1, most=1000):
        self.each, self.least, self.most = each, least, most

    def take(self, value):
        require(not isinstance(value, str | bytes | dict))
        values = tuple(map(self.each.take, islice(value, self.most + 1)))
        require(self.least <= len(values) <= self.most)
        return values

    def __str__(self):
        return f"a list of {self.least} to {self.most}, each {self.each}"


class Maybe:
    """None, or a value of a kind."""

    def __init__(self, kind):
        self.kind = kind

    def take(self, value):
        return None if value is None else self.kind.take(value)

    def __str__(self):
        return f"nothing, or {self.kind}"


class Record:
    """A dict in which each of some names has a value of a kind; it may have others, which take leaves out.

    A name whose kind is Maybe need not be there.
    """

    def __init__(self, **kinds):
        self.kinds = kinds

    def take(self, value):
        require(isinstance(value, dict))
        return {name: kind.take(value.get(name)) for name, kind in self.kinds.items()}

    def __str__(self):
        return "an object" + " with " * bool(self.kinds) + "; ".join(f"{n}: {kind}" for n, kind in self.kinds.items())


def like(example):
    """Return the kind of values that look like an example, such as a state that was saved; None may be a number."""
    number, whole = Number(-1e300, 1e300), Whole(0, 2**63)
    if isinstance(example, dict):
        return Record(**{name: like(value) for name, value in example.items()})
    return {bool: Switch(), int: whole, float: number, type(None): Maybe(number)}[type(example)]
