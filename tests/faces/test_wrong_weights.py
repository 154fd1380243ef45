"""Files of the detector and of the landmarks: no array of another kind, shape or range reaches a kernel."""

import numpy as np
import pytest

from minifer.errors import CheckpointError
from minifer.faces import FaceDetector, LandmarkPredictor, detector, landmarks
from minifer.files.npz import Npz, write_npz


def shipped(kind):
    """Return the arrays of the file that ships; of the landmarks one cascade and one step, which is as good here."""
    with Npz({FaceDetector: detector, LandmarkPredictor: landmarks}[kind].SHIPPED) as file:
        arrays = file.all()
    if kind is LandmarkPredictor:
        whole = ("mean", "doubt.weight", "doubt.bias")
        arrays = {name: array if name.endswith(whole) else array[:1] for name, array in arrays.items()}
    return arrays


@pytest.fixture(scope="module", params=[FaceDetector, LandmarkPredictor])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def arrays(kind):
    return shipped(kind)


def load(kind, path, arrays):
    with open(path, "wb") as file:
        write_npz(file, arrays)
    return kind.load(path)


def refusal(kind, path, arrays):
    with pytest.raises(CheckpointError) as caught:
        load(kind, path, arrays)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_every_array_that_is_wrong(kind, arrays, tmp_path):
    path = tmp_path / "weights.npz"
    load(kind, path, arrays)
    for name, array in arrays.items():
        wrong = [array.astype(str), array[None], array.astype(np.complex64), array > 0]
        wrong += [array[:-1], array[..., :-1]] if array.ndim else [np.array([array, array])]
        if array.dtype.kind == "f":
            wrong += [np.full_like(array, value) for value in (np.nan, np.inf)]
            wrong.append(np.full(array.shape, 1e30))
        for other in wrong:
            if other.shape[:1] == (0,) and name.endswith(("cell", "weight", "basis", "bias", "anchor")):
                continue  # no steps at all would be a file without any of these
            assert name in refusal(kind, path, arrays | {name: other}) or other.shape != array.shape
        refusal(kind, path, {other: value for other, value in arrays.items() if other != name})


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("trees.anchor", lambda a: a + 68, "pixels that move with landmarks that are none"),
        ("trees.anchor", lambda a: a - 1, "pixels that move with landmarks that are none"),
        ("trees.questions", lambda q: q + 400, "questions about pixels that are none"),
        ("trees.questions", lambda q: q - 400, "questions about pixels that are none"),
        ("trees.questions", lambda q: q[:, :, :14], "trees of 14 questions and 16 leaves"),
        ("trees.leaves", lambda v: v[:, :, :15], "trees of 15 questions and 15 leaves"),
        ("trees.mean", lambda m: np.full_like(m, 5.0), "a mean face without a size"),
        ("steps.cell", lambda c: c * 0, "cells of 0 pixels"),
        ("steps.cell", lambda c: c + 1, "cells of 11 pixels"),
        ("steps.cell", lambda c: c + 1000, "cells of 1010 pixels"),
    ],
)
def test_places_that_are_none(tmp_path, name, change, message):
    arrays = shipped(LandmarkPredictor)
    assert message in refusal(LandmarkPredictor, tmp_path / "a.npz", arrays | {name: change(arrays[name])})


def test_a_detector_of_impossible_windows(tmp_path):
    arrays = shipped(FaceDetector)
    for changes in ({"cell": np.array(10**12)}, {"cell": np.array(0)}):
        assert "windows" in refusal(FaceDetector, tmp_path / "a.npz", arrays | changes)
