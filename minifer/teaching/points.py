"""What the exercises of a folder are, in which order, and what each of their tests is worth: points.json.

{"depthwise": {"test_forward": 4, "test_gradients": 6}, "batchnorm": {...}}
"""

from pathlib import Path

from minifer.allowed import Number, checked
from minifer.errors import ConfigError
from minifer.files.documents import checked_fields, read_json


def read_points(folder):
    """Return {exercise: {test: points}} of a folder.

    Raises     ConfigError when points.json is missing or says something else
    """
    path = Path(folder) / "points.json"
    document = read_json(path, {}, missing=": give a folder of exercises, with their tests and points.json")
    if not document:
        raise ConfigError(f'{path} names no exercise: write it as {{"name": {{"test_it": 1}}}}')
    for name, tests in document.items():
        if not name.isidentifier():
            raise ConfigError(f"{path}: {name!r} is no name of an exercise: {name}.py could not be imported")
        checked_fields(tests, {}, f"{path}: {name}", ConfigError)
        for test, points in tests.items():
            checked(f"{path}: {name}: {test}", points, Number(0, 1e6))
    return document
