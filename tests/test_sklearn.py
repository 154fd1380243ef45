"""The estimator keeps every promise of scikit-learn's, and works in its grids and pipelines."""

import pickle
import runpy
from pathlib import Path

import numpy as np
import pytest
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import Pipeline
from joblib.externals.loky import get_reusable_executor
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from minifer import layers
from minifer.data import synthetic
from minifer.faces.prepare import find_and_crop
from minifer.sklearn import FaceCropper, MobileNetClassifier

SMALL = {"alpha": 1 / 16, "epochs": 3, "random_state": 0}


@parametrize_with_checks([MobileNetClassifier(alpha=1 / 16, epochs=10)])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    found = load_digits(n_class=4)
    return found.images[:240], np.array(["zero", "one", "two", "three"])[found.target[:240]]


def network(input_shape, classes, rng):
    """Return a network of one's own: named by the estimator's parameter."""
    height, width, channels = input_shape
    return layers.Sequential(
        layers.Conv2D(channels, 8, rng=rng), layers.BatchNorm(8, activation="relu"), layers.MaxPool2D(2),
        layers.Flatten(), layers.Linear(height // 2 * (width // 2) * 8, classes, rng=rng),
    )  # fmt: skip


def test_it_learns_pictures_and_says_how(digits):
    images, labels = digits
    estimator = MobileNetClassifier(network, epochs=25, random_state=0).fit(images[:180], labels[:180])
    assert estimator.score(images[180:], labels[180:]) > 0.9
    assert estimator.classes_.tolist() == ["one", "three", "two", "zero"]
    assert estimator.n_iter_ == 25 == len(estimator.history_) and "val_top1" in estimator.history_[0]
    assert estimator.loss_curve_[-1] < estimator.loss_curve_[0]
    probabilities = estimator.predict_proba(images)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


@pytest.mark.parametrize("model", ["plain", "mha", network])
def test_copies_have_the_same_bits(digits, model):
    images, labels = digits
    estimator = MobileNetClassifier(model, **SMALL, augment=True).fit(images, labels)
    first = estimator.predict_proba(images)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(estimator)).predict_proba(images), first)
    np.testing.assert_array_equal(clone(estimator).fit(images, labels).predict_proba(images), first)
    other = MobileNetClassifier(model, **SMALL | {"random_state": 1}).fit(images, labels)
    assert (other.predict_proba(images) != first).any()


def test_a_layer_that_is_given_stays_as_it_is(digits):
    given = network((8, 8, 1), 4, np.random.default_rng(0))
    before = {path: array.copy() for path, array in given.state().items()}
    MobileNetClassifier(given, **SMALL).fit(*digits)
    assert all((before[path] == array).all() for path, array in given.state().items())


def test_flat_rows_colour_and_shapes(digits):
    images, labels = digits
    whole = np.minimum(images * 16, 255).astype(np.uint8)
    first = MobileNetClassifier(**SMALL).fit(whole, labels).predict_proba(whole)
    for other in (whole[..., np.newaxis], whole.reshape(len(whole), -1)):
        np.testing.assert_array_equal(MobileNetClassifier(**SMALL).fit(other, labels).predict_proba(other), first)
    colour = np.repeat(whole[..., np.newaxis], 3, axis=-1)
    estimator = MobileNetClassifier(**SMALL).fit(colour, labels)
    assert estimator.model_["stem"].weight.value.shape[2] == 3
    flat = colour.reshape(len(colour), -1)
    same = MobileNetClassifier(**SMALL, image_shape=(8, 8, 3)).fit(flat, labels)
    np.testing.assert_array_equal(same.predict_proba(flat), estimator.predict_proba(colour))
    with pytest.raises(ValueError, match="has 63 numbers, a row of X has 64"):
        MobileNetClassifier(**SMALL, image_shape=(7, 9)).fit(whole.reshape(len(whole), -1), labels)
    with pytest.raises(ValueError, match="validation_fraction is 1"):
        MobileNetClassifier(**SMALL, validation_fraction=1).fit(whole, labels)


def test_early_stopping_and_class_weights(digits):
    images, labels = digits
    stopped = MobileNetClassifier(alpha=1 / 16, epochs=60, early_stopping=2, random_state=0).fit(images, labels)
    assert stopped.n_iter_ < 60
    plain, heavy = (
        MobileNetClassifier(**SMALL | {"epochs": 2}, class_weight=weight).fit(images, labels)
        for weight in (None, {"two": 50.0})
    )
    column = list(plain.classes_).index("two")
    assert heavy.predict_proba(images)[:, column].mean() > plain.predict_proba(images)[:, column].mean() + 0.1


def test_in_a_grid_and_behind_smote(digits):
    images, labels = digits
    grid = GridSearchCV(MobileNetClassifier(network, **SMALL | {"epochs": 15}), {"learning_rate": [1e-4, 3e-3]}, cv=2)
    assert grid.fit(images, labels).best_params_ == {"learning_rate": 3e-3} and grid.best_score_ > 0.5
    flat = images.reshape(len(images), -1)
    keep = np.concatenate([np.flatnonzero(labels != "two"), np.flatnonzero(labels == "two")[:8]])
    pipeline = Pipeline([("balance", SMOTE(k_neighbors=3)), ("network", MobileNetClassifier(**SMALL))])
    assert set(pipeline.fit(flat[keep], labels[keep]).predict(flat)) <= set(labels)


def test_the_cropper_is_prepares():
    from minifer.faces import FaceDetector, LandmarkPredictor

    images = synthetic.generate(3, seed=1).images
    crops = FaceCropper().fit_transform(images)
    expected = find_and_crop(images[1], FaceDetector.load(), LandmarkPredictor.load())[0]
    assert crops.shape == (3, 48, 48)
    np.testing.assert_array_equal(crops[1], expected)


@pytest.fixture
def no_workers_left():
    """End the processes that a grid has started, whose threads in this one would outlive the test."""
    yield
    get_reusable_executor().shutdown(wait=True)


def test_the_example_runs(capsys, no_workers_left):
    example = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "with_scikit_learn.py"))
    example["main"](rows=200, epochs=2)
    assert capsys.readouterr().out.count("%") == 4


def test_what_does_not_fit_is_a_value_error(digits):
    images, labels = digits
    whole = np.minimum(images * 16, 255).astype(np.uint8)
    fitted = MobileNetClassifier(**SMALL).fit(whole, labels)
    for other in (whole[0], whole[:, :, :5]):
        with pytest.raises(ValueError, match=r"the training rows had \(8, 8\)|features"):
            fitted.predict(other)
    with pytest.raises(ValueError, match="makes 5 numbers of a picture, and the data has 4 classes"):
        MobileNetClassifier(network((8, 8, 1), 5, np.random.default_rng(0)), **SMALL).fit(whole, labels)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"freeze": True}, "--freeze keeps what --pretrained brings"), ({"model": None}, "model is None"),
     ({"model": 5}, "model is 5: it must be one of plain")],
)  # fmt: skip
def test_what_cannot_be_meant_is_a_value_error(digits, wrong, message):
    """A network of random weights that stay, or another one than was named, would have trained without a word."""
    with pytest.raises(ValueError, match=message):
        MobileNetClassifier(**SMALL | wrong).fit(*digits)


def test_a_fit_that_was_interrupted_leaves_no_answers_of_two_fits(digits, monkeypatch):
    images, labels = digits
    estimator = MobileNetClassifier(**SMALL | {"epochs": 1}).fit(images, labels)

    def interrupted(training, observer):
        raise KeyboardInterrupt

    monkeypatch.setattr("minifer.sklearn.Training.run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(images, np.char.add(labels, "!"))
    with pytest.raises(NotFittedError):
        estimator.predict(images)


def test_a_row_s_answer_does_not_hang_on_the_others(digits):
    images, labels = digits
    whole = np.minimum(images * 16, 255).astype(np.uint8)
    fitted = MobileNetClassifier(**SMALL).fit(whole, labels)
    dark = whole[:1] // 200
    alone, among = (
        fitted.predict_proba(dark.astype(float)),
        fitted.predict_proba(np.concatenate([dark, whole[:5]]).astype(float)),
    )
    np.testing.assert_allclose(alone[0], among[0], atol=1e-6)
    np.testing.assert_allclose(alone, fitted.predict_proba(dark), atol=1e-6)
