"""Keeps .progress.json beside the exercises, for `python -m minifer.testing status`; pytest reads this by itself."""

from minifer.teaching.progress import pytest_runtest_logreport, pytest_sessionfinish
