"""The errors that minifer raises on purpose: each message is one line that names the place and the remedy.

The command line prints such a message without a traceback and exits with 1. Anything else that escapes is a bug.
"""


class MiniferError(Exception):
    """Base of all errors below."""


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


class TrainingError(MiniferError, RuntimeError):
    """Training cannot go on: the loss or an activation is not finite."""


class GradientError(MiniferError, AssertionError):
    """A backward pass disagrees with central differences of its forward pass."""


class LayerError(MiniferError, RuntimeError):
    """A layer to check cannot be found, is no layer, or fails when it runs: the message names its file and line."""
