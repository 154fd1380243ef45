"""Boxes: overlap worked by hand, suppression, merging, and average precision."""

import numpy as np
import pytest

from minifer.faces import boxes as b

UNIT = np.array([[0.0, 0, 10, 10]])


def landmarks(roll=0.0):
    """68 points whose eyes' centres are 20 apart, round (50, 40)."""
    points = np.tile([50.0, 40.0], (68, 1))
    across = 10 * np.array([np.cos(roll), np.sin(roll)])
    points[36:42] -= across
    points[42:48] += across
    return points


def test_the_box_of_landmarks_follows_the_convention():
    np.testing.assert_allclose(b.box_of_landmarks(landmarks()), [50 - 30.5, 49 - 30.5, 50 + 30.5, 49 + 30.5])


def test_the_box_of_a_turned_face_moves_towards_its_mouth():
    box = b.box_of_landmarks(landmarks(np.pi / 2))
    np.testing.assert_allclose((box[:2] + box[2:]) / 2, [41, 40])
    assert b.roll_of_landmarks(landmarks(0.3)) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("other", "expected"),
    [([0, 0, 10, 10], 1), ([5, 0, 15, 10], 1 / 3), ([20, 20, 30, 30], 0), ([10, 0, 20, 10], 0), ([0, 0, 5, 10], 0.5)],
)
def test_iou_by_hand(other, expected):
    assert b.iou(UNIT, np.array([other], float))[0, 0] == pytest.approx(expected)


def test_suppression_drops_doubles_and_boxes_inside_boxes():
    boxes = np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [3, 3, 6, 6], [50, 50, 60, 60], [-20, -20, 30, 30]])
    assert b.suppress(boxes, np.array([0.9, 0.8, 0.95, 0.5, 0.4])).tolist() == [2, 3]
    assert b.suppress(boxes, np.array([0.9, 0.8, 0.7, 0.5, 0.4])).tolist() == [0, 3]


def test_suppression_of_nothing_is_nothing():
    assert b.suppress(np.zeros((0, 4)), np.zeros(0)).tolist() == []
    merged, logits = b.merge(np.zeros((0, 4)), np.zeros(0))
    assert merged.shape == (0, 4)
    assert logits.shape == (0,)


def test_merging_averages_places_and_adds_evidence():
    boxes = np.array([[0.0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60]])
    merged, logits = b.merge(boxes, np.array([4.0, 4.0, 5.0]), temperature=3)
    np.testing.assert_allclose(merged, [[1, 0, 11, 10], [50, 50, 60, 60]])
    np.testing.assert_allclose(logits, [4 + 3 * np.log(2), 5])


def test_average_precision_by_hand():
    truths = [UNIT, np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]])]
    found = [(np.array([[0.0, 0, 10, 10], [40, 40, 50, 50]]), np.array([0.9, 0.8])), (truths[1][1:], np.array([0.7]))]
    # right, wrong, right of 3 faces: precision 1 up to recall 1/3, then 2/3 up to 2/3
    area, (recall, precision, score) = b.average_precision(found, truths)
    assert area == pytest.approx(1 / 3 + 2 / 9)
    np.testing.assert_allclose(recall, [1 / 3, 1 / 3, 2 / 3])
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3])
    assert score.tolist() == [0.9, 0.8, 0.7]


def test_a_face_found_twice_counts_once():
    found = [(np.repeat(UNIT, 2, axis=0), np.array([0.9, 0.8]))]
    _, (_, precision, _) = b.average_precision(found, [UNIT])
    assert precision.tolist() == [1, 0.5]


def test_what_lies_in_an_ignored_region_counts_neither_way():
    found = [(np.concatenate([UNIT, UNIT + 40]), np.array([0.5, 0.9]))]
    assert b.average_precision(found, [UNIT], ignored=[UNIT + 40])[0] == 1
    assert b.average_precision(found, [UNIT])[0] == 0.5


def test_nothing_found_has_no_precision():
    assert b.average_precision([(np.zeros((0, 4)), np.zeros(0))], [UNIT])[0] == 0
