"""The comparison of backward passes with central differences, as numbers and as text."""

from dataclasses import dataclass, field

import numpy as np

from minifer.report.text import aligned

OK, WRONG, MISSING = "ok", "WRONG", "MISSING"
NOTHING, ROUNDING = "checked nothing", "cannot tell"  # zeros on both sides; less than the rounding of y


def place_of(name, index):
    """Return an entry as text: dx[1,4,2,0]; of a number the name alone."""
    return f"{name}[{','.join(map(str, index))}]" if len(index) else name


@dataclass(frozen=True)
class ArrayCheck:
    """The comparison for one array: its name, both gradients in full, the worst entry and its relative error.

    backward   None where backward gave no gradient
    verdict    OK, WRONG, MISSING, NOTHING or ROUNDING
    guess      the likely mistake, or None where nothing is wrong
    """

    name: str
    backward: np.ndarray | None
    numeric: np.ndarray
    worst: tuple
    error: float
    verdict: str
    guess: "Guess | None" = None  # noqa: F821

    def __str__(self):
        if self.verdict == MISSING:
            return f"{self.name} {'changes y but ' if self.numeric.any() else ''}has no gradient"
        backward, numeric = (gradient[self.worst] for gradient in (self.backward, self.numeric))
        return f"{place_of(self.name, self.worst)}: backward {backward:.6g}, numeric {numeric:.6g}"

    def as_json(self):
        """Return the same as numbers, text, lists and dicts; what is not finite as None."""
        at_worst = {"backward": self.backward, "numeric": self.numeric}
        at_worst = {name: None if each is None else _finite(each[self.worst]) for name, each in at_worst.items()}
        return {
            "array": self.name,
            "shape": list(self.numeric.shape),
            "verdict": self.verdict,
            "error": _finite(self.error),
            "worst": {"index": list(self.worst), **at_worst},
            "guess": self.guess and self.guess.as_json(),
        }


def _finite(number):
    return float(number) if np.isfinite(number) else None


@dataclass(frozen=True)
class Report:
    """The comparison for a whole layer; `error` is the largest relative error of any entry."""

    layer: str
    checks: list
    tolerance: float
    notes: list = field(default_factory=list)

    @property
    def worst(self):
        """The ArrayCheck with the largest error."""
        return max(self.checks, key=lambda check: check.error)

    @property
    def error(self):
        """Largest relative error over all entries of all inputs and parameters."""
        return self.worst.error

    @property
    def passed(self):
        """Whether no gradient is missing, every entry agrees to within the tolerance, and something was compared."""
        verdicts = {check.verdict for check in self.checks}
        return verdicts.isdisjoint((WRONG, MISSING)) and verdicts != {NOTHING}

    @property
    def summary(self):
        """One line: what is wrong, or how well the worst entry agrees."""
        missing = [str(check) for check in self.checks if check.verdict == MISSING]
        if missing:
            return "; ".join(missing)
        if all(check.verdict == NOTHING for check in self.checks):
            return "checked nothing: all gradients are zero on both sides, for other inputs and weights too"
        return f"largest relative error {self.error:.1e}  ({self.worst})"

    @property
    def guesses(self):
        """The likely mistakes, each once, in the order of the arrays."""
        return list(dict.fromkeys(check.guess for check in self.checks if check.guess))

    def as_json(self):
        """Return what a program wants to know as numbers, text, lists and dicts; what is not finite as None."""
        return {
            "layer": self.layer,
            "passed": self.passed,
            "error": _finite(self.error),
            "tolerance": self.tolerance,
            "arrays": [check.as_json() for check in self.checks],
            "notes": self.notes,
        }

    def __str__(self):
        """Return the table: a row per array, and below a wrong one what is likely wrong with it."""
        rows = [["gradient", "shape", "error", ""]]
        for check in self.checks:
            shape = "x".join(map(str, check.numeric.shape)) or "number"
            error = "" if check.verdict == MISSING else f"{check.error:.1e}"
            rows.append([check.name, shape, error, check.verdict])
        head, *lines = aligned(rows)
        text = [head.rstrip()]
        for check, line in zip(self.checks, lines, strict=True):
            text.append(line.rstrip())
            if check.verdict in (WRONG, MISSING):
                text.append(f"    {check}{HELP.get(check.verdict, '').format(check.name)}")
            if check.guess:
                text.append(f"    {check.guess}")
        text += [f"note: {check.name}: {SILENT[check.verdict]}" for check in self.checks if check.verdict in SILENT]
        return "\n".join(text + [f"note: {note}" for note in self.notes])


HELP = {
    MISSING: ": set it in backward (self.dweight is that of self.weight); if it is no weight, name it in the class, "
    "constants = ({0!r},), or with --constant {0}",
}
SILENT = {
    NOTHING: "checked nothing: zero on both sides, for other inputs and weights too",
    ROUNDING: "cannot tell: y depends on it so little that the difference is lost in the rounding of y",
}
