"""An exercise with a student's answer in it, for the tests of the exercises and of the instructor's notes."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXERCISES = Path(__file__).parents[2] / "examples" / "exercises"


@pytest.fixture
def exercise(monkeypatch):
    """A function that takes an exercise and a student's file as text, and returns {name: test}."""
    monkeypatch.syspath_prepend(EXERCISES)

    def load(name, text):
        module = ModuleType(name)
        exec(compile(text, f"{name}.py", "exec"), vars(module))
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.delitem(sys.modules, f"test_{name}", raising=False)
        tests = importlib.import_module(f"test_{name}")
        return {path: function for path, function in vars(tests).items() if path.startswith("test_")}

    yield load
    for name in json.loads((EXERCISES / "points.json").read_text()):
        sys.modules.pop(f"test_{name}", None)
