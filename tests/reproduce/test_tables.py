"""The printed numbers' arithmetic, the tables, and when a difference counts."""

import csv
import io

import numpy as np
import pytest

from minifer import metrics
from minifer.data.dataset import CLASSES
from minifer.reproduce import printed, tables
from minifer.reproduce.plan import ARMS, BASE


@pytest.mark.parametrize(
    ("network", "implied"), [("plain", 0.9446), ("skip", 0.9564), ("mha", 0.9609)]
)  # worked by hand from the printed recall and precision
def test_printed_recall_and_precision_imply_a_binary_accuracy(network, implied):
    row = printed.TABLE_3[network]
    assert printed.binary_accuracy(row["recall"], row["precision"]) == pytest.approx(implied, abs=1e-4)


def test_printed_accuracies_lie_outside_what_their_recall_and_precision_allow():
    for row in printed.TABLE_3.values():
        low, high = printed.top1_range(row["recall"], row["precision"])
        assert low < high < row["accuracy"]


def test_binary_accuracy_is_that_of_real_predictions():
    rng = np.random.default_rng(0)
    probs, labels = rng.dirichlet(np.full(7, 0.3), 400), rng.integers(0, 7, 400)
    found = metrics.evaluate(probs, labels, CLASSES)
    implied = printed.binary_accuracy(found["binary_recall"], found["binary_precision"])
    assert implied == pytest.approx(found["binary_accuracy"], abs=1e-12)
    low, high = printed.top1_range(found["binary_recall"], found["binary_precision"])
    assert low <= found["top1"] <= high


def test_printed_counts_add_up():
    assert sum(printed.BEFORE.values()) == 28709
    assert sum(printed.AFTER.values()) == 18603
    assert printed.BEFORE.keys() == printed.AFTER.keys() == set(CLASSES)


def evaluation(top1, seed):
    """Return the evaluation of 700 predictions of which about a share top1 is right."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(7), 100))
    right = rng.random(700) < top1
    probs = np.full((700, 7), 0.05)
    probs[np.arange(700), np.where(right, labels, (labels + 1) % 7)] = 0.7
    unseen = metrics.top1(right[:500])
    return {**metrics.evaluate(probs, labels, CLASSES), "parameters": 1_000_000, "unseen": unseen}


@pytest.fixture
def results():
    level = dict.fromkeys(ARMS, 0.6) | {"plain": 0.4, "NearMiss + SMOTE": 0.5}
    return {
        "networks": {name: evaluation(0.6, k) for k, name in enumerate(printed.TABLE_3)},
        "arms": {arm: [evaluation(level[arm], 10 * k + s) for s in range(3)] for k, arm in enumerate(ARMS)},
        "counts": {
            name: {"rows": 100, "cropped": 90, "kept": 50, "dropped": 40, "synthetic": 3, "after": 53}
            for name in CLASSES
        },
        "duplicates": [{"split": "val", "among": "train", "pictures": 12, "identical_other_label": 1}],
    }


def test_every_table_is_rectangular_and_survives_csv(results):
    made = tables.every_table(results)
    assert [table.name for table in made] == ["table1", "table3", "table4", "ablation", "duplicates"]
    for table in made:
        assert {len(row) for row in table.rows} == {len(table.header)}
        read = list(csv.reader(io.StringIO(table.csv())))
        assert read == [table.header, *[[str(cell) for cell in row] for row in table.rows]]


def test_balancing_adds_up_its_columns(results):
    assert tables.balancing(results).rows[-1] == ["together", 28709, 700, 630, 350, 21, 371, 18603]


def test_no_duplicates_table_without_a_count(results):
    results["duplicates"] = []
    assert "duplicates" not in [table.name for table in tables.every_table(results)]


def test_claims_follow_the_runs(results):
    verdicts = {claim: verdict for claim, _, _, verdict in tables.claims(results)}
    assert verdicts["skip connections help"] == "holds"
    assert verdicts["attention helps further"] == "noise"
    assert verdicts["balancing by NearMiss and SMOTE helps"] == "top-1: does not hold; mean recall: does not hold"
    assert verdicts["the accuracy is 96 %"] == "not as an accuracy of the classifier"


def test_ablation_says_what_is_noise(results):
    rows = {row[1]: row for row in tables.ablation(results).rows}
    assert rows[BASE][4] == "the base"
    assert "real" in rows["plain"][4] and rows["plain"][4].startswith("-")
    assert "noise" in rows["mha"][4]


@pytest.mark.parametrize(
    ("values", "base", "noise"),
    [
        ([60.0, 60.1, 60.2], [50.0, 50.1, 50.2], False),
        ([60.0, 55.0, 65.0], [58.0, 62.0, 59.0], True),
        ([60.0, 60.0, 60.0], [60.0, 60.0, 60.0], True),  # no spread: the test itself has no answer
        ([60.0, 60.0, 60.0], [50.0, 50.0, 50.0], False),
    ],
)
def test_difference(values, base, noise):
    found = tables.difference(np.array(values), np.array(base))
    assert found.noise == noise
    assert found.points == pytest.approx(np.mean(values) - np.mean(base))
