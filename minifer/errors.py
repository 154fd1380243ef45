"""The errors that minifer raises on purpose: each message is one line that names the place and the remedy.

The command line prints such a message without a traceback and exits with 1. Anything else that escapes is a bug.
"""


class MiniferError(Exception):
    """Base of all errors below. Whatever name or text of a file a message quotes, it stays one printable line."""

    def __init__(self, message=""):
        super().__init__(one_line(str(message)))


def one_line(text, most=2000):
    """Return a text with everything that cannot be printed escaped, and the middle left out of a very long one."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


class ShapeError(MiniferError, ValueError):
    """An array's shape does not fit the layer or function it was given to."""


class DtypeError(MiniferError, TypeError):
    """An array's dtype does not fit: layers compute in float32 (training) or float64 (gradient checks)."""


class BackwardError(MiniferError, RuntimeError):
    """backward() has nothing to work with: no forward(training=True) came before it, or it was already used."""


class ConfigError(MiniferError, ValueError):
    """A setting has a value that cannot work."""


class DataError(MiniferError, ValueError):
    """A data set or a picture is missing, damaged or not in a layout that is known."""


class CheckpointError(MiniferError, ValueError):
    """A weights file cannot be written, is damaged, or belongs to another model or class list."""


class BusyError(MiniferError, RuntimeError):
    """Another process is writing where this one would write."""


class TrainingError(MiniferError, RuntimeError):
    """Training cannot go on: the loss or an activation is not finite."""


class GradientError(MiniferError, AssertionError):
    """A backward pass disagrees with central differences of its forward pass; below the first line is a report."""

    def __init__(self, message):
        AssertionError.__init__(self, message)


class LayerError(MiniferError, RuntimeError):
    """A layer to check cannot be found, is no layer, or fails when it runs: the message names its file and line."""


def require(condition, message):
    """Raise ConfigError with message unless condition holds."""
    if not condition:
        raise ConfigError(message)
