import numpy as np

from minifer.data import synthetic
from minifer.data.dataset import CLASSES


def test_every_expression_has_a_row_of_all_muscles():
    assert sorted(synthetic.EXPRESSIONS) == sorted(CLASSES)
    assert {len(row) for row in synthetic.EXPRESSIONS.values()} == {len(synthetic.MUSCLES)}


def test_form_and_balance():
    faces = synthetic.generate(71, seed=3)
    assert faces.images.shape == (71, 48, 48) and faces.images.dtype == np.uint8
    assert faces.labels.dtype == np.int64 and faces.classes == CLASSES
    assert set(faces.counts().values()) == {10, 11}
    assert len(set(faces.names.tolist())) == 71
    assert (faces.images.std(axis=(1, 2)) > 5).all()


def test_seed_and_split_decide_the_faces():
    faces = synthetic.generate(20, seed=1)
    np.testing.assert_array_equal(faces.images, synthetic.generate(20, seed=1).images)
    assert (faces.images != synthetic.generate(20, seed=2).images).any(axis=(1, 2)).all()
    assert (faces.images != synthetic.generate(20, seed=1, split="val").images).any(axis=(1, 2)).all()


def test_load_has_the_form_of_fer2013():
    splits = synthetic.load(seed=0, train=14, val=7)
    assert {split: len(part) for split, part in splits.items()} == {"train": 14, "val": 7}
    assert not set(splits["train"].names.tolist()) & set(splits["val"].names.tolist())


def test_an_expression_moves_what_it_should(monkeypatch):
    """With everything else at rest and the head still, a face at full strength differs where its muscles are."""
    monkeypatch.setattr(synthetic, "STRENGTH", (1.0, 1.0))
    monkeypatch.setattr(synthetic, "TWITCH", 0.0)

    class Middle:
        """A generator whose every draw is the middle of its range."""

        def uniform(self, low, high, size):
            return np.full(size, (low + high) / 2)

        def normal(self, mean, deviation, size):
            return np.full(size, mean)

        def standard_normal(self, size, dtype):
            return np.zeros(size, dtype)

    faces = dict(zip(CLASSES, synthetic.draw(np.arange(7), Middle()).astype(int), strict=True))
    for face in faces.values():
        np.testing.assert_allclose(face, face[:, ::-1], atol=1)  # nothing is turned: left is right
    eyes, mouth = slice(10, 24), slice(28, 40)
    happy, neutral = faces["happy"], faces["neutral"]
    assert np.abs(happy - neutral)[mouth].mean() > np.abs(happy - neutral)[eyes].mean()
    angry = faces["angry"]
    assert np.abs(angry - neutral)[eyes].mean() > np.abs(angry - neutral)[mouth].mean()
    assert faces["surprise"][mouth].min() < neutral[mouth].mean() / 2  # a dark, open mouth
