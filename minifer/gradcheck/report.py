"""The comparison of backward passes with central differences, as numbers and as text."""

from dataclasses import dataclass, field

import numpy as np

from minifer.report.text import aligned


@dataclass(frozen=True)
class ArrayCheck:
    """The comparison for one array: its name, both gradients in full, the worst entry and its relative error.

    guess    the likely mistake, or None where nothing is wrong
    """

    name: str
    backward: np.ndarray
    numeric: np.ndarray
    worst: tuple
    error: float
    guess: "Guess | None" = None  # noqa: F821

    def __str__(self):
        place = f"{self.name}[{','.join(map(str, self.worst))}]"
        return f"{place}: backward {self.backward[self.worst]:.6g}, numeric {self.numeric[self.worst]:.6g}"


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
        """Whether every entry agrees to within the tolerance."""
        return self.error < self.tolerance

    @property
    def guesses(self):
        """The likely mistakes, each once, in the order of the arrays."""
        return list(dict.fromkeys(check.guess for check in self.checks if check.guess))

    def __str__(self):
        """Return the table: a row per array, and below a wrong one what is likely wrong with it."""
        rows = [["gradient", "shape", "error", ""]]
        for check in self.checks:
            shape = "x".join(map(str, check.numeric.shape)) or "number"
            verdict = "ok   " if check.error < self.tolerance else "WRONG"
            rows.append([check.name, shape, f"{check.error:.1e}", verdict])
        head, *lines = aligned(rows)
        text = [head.rstrip()]
        for check, line in zip(self.checks, lines, strict=True):
            text.append(line.rstrip())
            if check.error >= self.tolerance:
                text.append(f"    {check}")
            if check.guess:
                text.append(f"    {check.guess}")
        return "\n".join(text + [f"note: {note}" for note in self.notes])
