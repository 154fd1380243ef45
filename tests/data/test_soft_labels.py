import os
from dataclasses import replace

import numpy as np
import pytest

from minifer.data.dataset import Dataset
from minifer.data.predictions import write_predictions
from minifer.data.soft_labels import soft_labels
from minifer.errors import ConfigError, DataError

CLASSES = ("cat", "dog")


@pytest.fixture
def dataset():
    images = np.zeros((3, 4, 4), np.uint8)
    return Dataset(images, np.array([0, 1, 1]), np.array(["a", "b", "c"]), CLASSES)


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "predictions.csv"
        path.write_text(text)
        return path

    return write


GOOD = "name,label,prediction,dog,cat\nc,dog,dog,0.9,0.1\na,cat,dog,0.6,0.4\nb,dog,cat,0.3,0.7\nextra,cat,cat,0,1\n"


def test_rows_and_columns_are_found_by_name(dataset, write):
    np.testing.assert_allclose(
        soft_labels(dataset, [write(GOOD)], 1.0), [[0.4, 0.6], [0.7, 0.3], [0.1, 0.9]], rtol=1e-6
    )


def test_share_mixes_labels_and_teacher(dataset, write):
    targets = soft_labels(dataset, [write(GOOD)], 0.25)
    assert targets.dtype == np.float32
    np.testing.assert_allclose(targets, [[0.85, 0.15], [0.175, 0.825], [0.025, 0.975]], rtol=1e-6)


def test_the_votes_of_several_people_stay_beside_a_teacher(dataset, write):
    """FER+'s shares, of which one-hot rows would keep the majority alone."""
    votes = np.array([[0.75, 0.25], [0.5, 0.5], [0, 1]], np.float32)
    voted = replace(dataset, soft=votes)
    np.testing.assert_array_equal(soft_labels(voted, [write(GOOD)], 0.0), votes)
    np.testing.assert_allclose(soft_labels(voted, [write(GOOD)], 0.5)[0], [0.575, 0.425], rtol=1e-6)


def test_several_teachers_speak_with_one_voice(dataset, write, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("name,dog,cat\na,1,0\nb,1,0\nc,1,0\n")
    targets = soft_labels(dataset, [write(GOOD), other], 1.0)
    np.testing.assert_allclose(targets, [[0.2, 0.8], [0.35, 0.65], [0.05, 0.95]], rtol=1e-6)


def test_rounded_probabilities_add_up_to_one_again(dataset, write):
    targets = soft_labels(dataset, [write(GOOD.replace("0.9,0.1", "0.8999,0.0999"))], 0.5)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,cat\na,1\n", "no column 'dog'"),
        ("", "no column 'name'"),
        ("name,cat,dog\na,1,0\n", "no row for b and 1 more training pictures: .* give teacher and student one --seed"),
        ("name,cat,dog\na,1,\n", "predictions.csv, line 2, column dog: '' is no number"),
        ("name,cat,dog\nb,1,0\na,one,0\n", "predictions.csv, line 3, column cat: 'one' is no number"),
        ("name,cat,dog\na,1\n", "line 2: 2 columns, the header has 3: .*writes a predictions.csv"),
        ("name,cat,dog\na,1,0,0\n", "line 2: 4 columns, the header has 3"),
        ("name,cat,dog,cat\na,1,0,0\n", "two columns 'cat'"),
        (GOOD + "c,dog,dog,0.1,0.9\n", "line 6: a second row of c"),
        (GOOD.replace("0.9,0.1", "nan,0.1"), "row c: probabilities are finite"),
        (GOOD.replace("0.9,0.1", "0,0"), "row c: probabilities are finite"),
    ],
)
def test_a_file_that_cannot_teach(text, message, dataset, write):
    with pytest.raises(DataError, match=message):
        soft_labels(dataset, [write(text)], 0.5)


@pytest.mark.parametrize("classes", [("name", "prediction"), ("label", "class label"), ("ca\udce9t", "dog")])
def test_classes_that_are_called_like_a_column_come_back(classes, dataset, tmp_path):
    dataset = replace(dataset, classes=classes)
    probs = np.array([[0.25, 0.75], [1, 0], [0.5, 0.5]])
    write_predictions(tmp_path / "predictions.csv", probs, dataset)
    np.testing.assert_allclose(soft_labels(dataset, [tmp_path / "predictions.csv"], 1.0), probs)


def test_blank_columns_and_rows_of_spreadsheets_do_not_matter(dataset, write):
    expected = soft_labels(dataset, [write(GOOD)], 1.0)
    text = GOOD.replace("\n", ",,\n").replace("\na", "\n\n,,,,\na")
    np.testing.assert_array_equal(soft_labels(dataset, [write("\ufeff" + text)], 1.0), expected)


def test_no_file(dataset, tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: no such file: `minifer evaluate"):
        soft_labels(dataset, [tmp_path / "none.csv"], 0.5)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match=r"pipe\.csv: a pipe or a device, no file: `minifer evaluate"):
        soft_labels(dataset, [tmp_path / "pipe.csv"], 0.5)


def test_a_picture_is_no_table(dataset, tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    with pytest.raises(DataError, match=r"predictions\.csv"):
        soft_labels(dataset, [path], 0.5)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_that_is_none(share, dataset, write):
    with pytest.raises(ConfigError, match="teacher_share is"):
        soft_labels(dataset, [write(GOOD)], share)
