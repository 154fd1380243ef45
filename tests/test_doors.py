"""The examples in the docstrings of what README names."""

import doctest
from importlib import import_module

import pytest

DOORS = (
    "cost.memory",
    "cost.table",
    "evaluation",
    "gradcheck.check",
    "inference",
    "models.mobilenet",
    "recognizer",
    "training",
    "video.analysis",
)


@pytest.mark.parametrize("door", DOORS)
def test_its_example_is_true(door):
    found = doctest.testmod(import_module(f"minifer.{door}"), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted >= 2 and not found.failed
