"""The door: one object from a picture to what its faces express."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import minifer
from minifer.errors import CheckpointError, ConfigError, DataError


@pytest.fixture(scope="module")
def recognizer():
    return minifer.Recognizer.load("best")


@pytest.fixture(scope="module")
def astronaut():
    from skimage import data

    return data.astronaut()[:256, 96:352]


def test_a_path_an_array_and_a_picture_of_pillow_are_the_same(recognizer, astronaut, tmp_path):
    picture = Image.fromarray(astronaut)
    picture.save(tmp_path / "a.png")
    found = [recognizer.predict(image) for image in (astronaut, tmp_path / "a.png", str(tmp_path / "a.png"), picture)]
    assert all(faces == found[0] for faces in found) and len(found[0]) >= 1
    face = found[0][0]
    assert list(face) == ["box", "score", "landmarks", "probabilities"] and np.shape(face["landmarks"]) == (68, 2)
    assert tuple(face["probabilities"]) == recognizer.classes
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_a_batch_and_many_threads_give_each_picture_its_own_answer(recognizer, astronaut):
    pictures = [astronaut, np.zeros((60, 60), np.uint8), astronaut[:, ::-1]]
    alone = [recognizer(picture) for picture in pictures]
    assert recognizer.predict_batch(pictures) == alone and alone[1] == []
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(recognizer.predict, pictures * 4)) == alone * 4


def test_without_looking_for_faces_the_picture_is_one(astronaut):
    (face,) = minifer.Recognizer.load("small", detect=False).predict(astronaut)
    assert face["box"] == [0, 0, 256, 256] and face["score"] is None and "landmarks" not in face


def test_wrong_weights_and_pictures_are_one_error(recognizer, tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"PK")
    with pytest.raises(CheckpointError):
        minifer.Recognizer.load(tmp_path / "broken.npz")
    with pytest.raises(ConfigError, match="neither a file, a run folder nor shipped"):
        minifer.Recognizer.load("bets")
    with pytest.raises(DataError, match="no-such"):
        recognizer.predict(tmp_path / "no-such.png")
    assert "Recognizer(" in repr(recognizer) and "7 classes" in repr(recognizer)


def test_submodules_need_no_import_of_their_own():
    assert minifer.training.fit and minifer.layers.Linear and "recognizer" in dir(minifer)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        minifer.nonsense  # noqa: B018
