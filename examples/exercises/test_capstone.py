"""How good is the network for its price?   pytest test_capstone.py"""

import capstone
import pytest

from minifer.teaching.capstone import cost, measure, over_budget


@pytest.fixture(scope="module")
def measured():
    """The submission, trained once for all tests."""
    return measure(capstone.network, capstone.SETTINGS)


def test_budget(record_property):
    costs = cost(capstone.network)
    for name, value in costs.items():
        record_property(name, value)
    assert not over_budget(costs), f"over the budget: {over_budget(costs)}"


def test_94_percent(measured, record_property):
    record_property("accuracy", measured["accuracy"])
    assert measured["accuracy"] >= 0.94


def test_96_percent(measured):
    assert measured["accuracy"] >= 0.96


def test_97_percent(measured):
    assert measured["accuracy"] >= 0.97
