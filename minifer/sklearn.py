"""minifer's networks as estimators of scikit-learn: cross-validation, grids, pipelines.

    from minifer.sklearn import MobileNetClassifier
    cross_val_score(MobileNetClassifier(epochs=10, random_state=0), images, labels)

A module of its own, since scikit-learn takes two seconds to import, and nothing else of minifer needs this.
"""

import copy
import math

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils import check_random_state, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from minifer import config
from minifer.data.dataset import Dataset
from minifer.errors import LayerError
from minifer.evaluation import predict
from minifer.layers import Layer
from minifer.losses import SoftmaxCrossEntropy
from minifer.networks import check_output
from minifer.own_code import is_target
from minifer.training import Observer, Training


class MobileNetClassifier(ClassifierMixin, BaseEstimator):
    """A MobileNet, or a network of one's own, that learns to tell pictures apart.

    X is pictures (N,H,W), (N,H,W,1) or in colour (N,H,W,3), or flat rows (N,D), which are read as pictures of
    image_shape or, without one, as the smallest square that holds D pixels, the rest black. Numbers of uint8 are taken
    as they are. Others become 256 grey levels between the least and the largest of the training rows: of each column of
    flat rows, of all pixels of pictures. After a fit on uint8 others are rounded to whole numbers from 0 to 255.

    model, alpha, epochs, batch_size, optimizer, learning_rate, schedule, warmup, weight_decay, label_smoothing,
    average, early_stopping, pretrained, freeze
                         as in minifer.config.TrainConfig; model may also be a function of (input_shape, classes, rng)
                         that returns a Layer, or a Layer, of which a copy is trained; its outputs are the classes
    augment              mirror, shift, turn and brighten training pictures a little
    image_shape          (H, W) or (H, W, C) of flat rows
    validation_fraction  of the rows of every class, which history_ is measured on; with early_stopping they also choose
                         the epoch. Without it, 0, history_ is measured on the training rows
    class_weight         None; {label: weight} in the loss, 1 for labels that are not in it; or "balanced", which counts
                         rare classes as much as frequent ones
    random_state         of starting weights, order, augmentation, dropout and validation rows

    Fitted     classes_, n_features_in_, model_ (a Layer), history_ (a dict for every epoch, as in metrics.csv),
               n_iter_, loss_curve_
    Raises     ValueError when y has a single class, or X does not fit image_shape

        >>> from sklearn.datasets import load_digits
        >>> X, y = load_digits(n_class=3, return_X_y=True)
        >>> estimator = MobileNetClassifier(alpha=1 / 16, epochs=1, random_state=0).fit(X, y)
        >>> estimator.predict_proba(X[:5]).shape
        (5, 3)
    """

    def __init__(
        self, model="skip", alpha=0.25, *, epochs=20, batch_size=32, optimizer="adam", learning_rate=3e-3,
        schedule="cosine", warmup=0.5, weight_decay=0.0, label_smoothing=0.0, average=0.0, early_stopping=0,
        pretrained="", freeze=False, augment=False, image_shape=None, validation_fraction=0.1, class_weight=None,
        random_state=None,
    ):  # fmt: skip
        self.model, self.alpha = model, alpha
        self.epochs, self.batch_size, self.optimizer, self.learning_rate = epochs, batch_size, optimizer, learning_rate
        self.schedule, self.warmup, self.weight_decay = schedule, warmup, weight_decay
        self.label_smoothing, self.average, self.early_stopping = label_smoothing, average, early_stopping
        self.pretrained, self.freeze = pretrained, freeze
        self.augment, self.image_shape, self.validation_fraction = augment, image_shape, validation_fraction
        self.class_weight, self.random_state = class_weight, random_state

    def fit(self, X, y):
        """Train on pictures X and their labels y, of any type; return self."""
        vars(self).pop("model_", None)  # a fit that is interrupted leaves none: it would answer with the new classes
        X, y = validate_data(self, X, y, allow_nd=True)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"a classifier needs two classes or more, y has one class: {self.classes_[0]}")
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(f"validation_fraction is {self.validation_fraction!r}: choose 0 or more and less than 1")
        rng = check_random_state(self.random_state)
        seed = self.random_state if isinstance(self.random_state, int | np.integer) else int(rng.randint(2**31))
        self.shape_ = X.shape[1:]
        if X.dtype == np.uint8:
            self._low = self._high = None
        else:
            axis = 0 if X.ndim == 2 else None
            self._low, self._high = X.min(axis=axis).astype(np.float64), X.max(axis=axis).astype(np.float64)
        data = Dataset(self._pictures(X), labels, classes=tuple(map(str, range(len(self.classes_)))), split="train")
        val = self._validation_rows(labels, int(seed))
        weights = None
        if self.class_weight is not None:
            given = self.class_weight
            if isinstance(given, dict):
                given = {label: weight for label, weight in given.items() if label in self.classes_}
            weights = compute_class_weight(given, classes=self.classes_, y=y)
        own = self.model if callable(self.model) or is_target(str(self.model)) else None
        training = Training(
            self._settings(int(seed)),
            data.take(~val) if val.any() else data,
            data.take(val) if val.any() else data,
            copy.deepcopy(own) if isinstance(own, Layer) else own,
            SoftmaxCrossEntropy(self.label_smoothing, weights),
        )
        if own is not None:
            try:
                check_output(training.model, training.settings.model, data.input_shape, len(self.classes_))
            except LayerError as error:
                raise ValueError(str(error)) from error
        training.run(Observer())
        training.stopping.restore(training.model)
        self.model_, self.history_ = training.model, training.rows
        self.n_iter_, self.loss_curve_ = len(training.rows), [row["train_loss"] for row in training.rows]
        return self

    def predict_proba(self, X):
        """Return probabilities (N, classes), each row of sum 1."""
        check_is_fitted(self, "model_")
        X = validate_data(self, X, allow_nd=True, reset=False)
        if X.shape[1:] != self.shape_:
            raise ValueError(f"X holds pictures of shape {X.shape[1:]}, the training rows had {self.shape_}")
        probabilities = predict(self.model_, self._pictures(X)).astype(np.float64)
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def predict(self, X):
        """Return the likeliest class of each picture."""
        check_is_fitted(self, "model_")
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _settings(self, seed):
        """Return the TrainConfig."""
        same = (
            "alpha", "epochs", "batch_size", "optimizer", "learning_rate", "schedule", "warmup", "weight_decay",
            "average", "early_stopping", "pretrained", "freeze",
        )  # fmt: skip
        return config.TrainConfig(
            **{name: getattr(self, name) for name in same},
            **({} if self.augment else config.NO_AUGMENTATION),
            model="skip" if callable(self.model) else self.model,  # of one's own: Training notes its name
            keep="best" if self.early_stopping else "last",
            seed=seed,
        )

    def _validation_rows(self, labels, seed):
        """Return which rows validate, (N,) bool: the fraction of every class, which keeps a row at least."""
        rng, val = np.random.default_rng(seed), np.zeros(len(labels), bool)
        for label in range(len(self.classes_)):
            rows = rng.permutation(np.flatnonzero(labels == label))
            val[rows[: min(math.ceil(self.validation_fraction * len(rows)), len(rows) - 1)]] = True
        return val

    def _pictures(self, X):
        """Return pictures (N,H,W) or (N,H,W,3) uint8."""
        if self._low is None and X.dtype != np.uint8:
            X = np.clip(np.rint(X), 0, 255).astype(np.uint8)
        elif self._low is not None:
            span = np.where(self._high > self._low, self._high - self._low, 1)
            X = np.rint(255 * np.clip((X - self._low) / span, 0, 1)).astype(np.uint8)
        if X.ndim == 2:
            shape = (math.ceil(math.sqrt(X.shape[1])),) * 2
            if self.image_shape is not None:
                shape = tuple(map(int, np.ravel(self.image_shape)))
                if len(shape) not in (2, 3) or min(shape) < 1 or math.prod(shape) != X.shape[1]:
                    raise ValueError(f"image_shape {shape} has {math.prod(shape)} numbers, a row of X has {X.shape[1]}")
            X = np.pad(X, ((0, 0), (0, math.prod(shape) - X.shape[1]))).reshape(-1, *shape)
        return np.ascontiguousarray(X[..., 0] if X.shape[3:] == (1,) else X)

    def __sklearn_tags__(self):
        """Say that pictures need not be flat."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


class FaceCropper(TransformerMixin, BaseEstimator):
    """Cuts out the face that fills each picture, as `minifer prepare` does; without one, the whole picture.

    Shapes     (N,H,W) uint8 -> (N,48,48) uint8
    """

    def __init__(self, level=False):
        self.level = level

    def fit(self, X, y=None):
        """Learn nothing."""
        return self

    def transform(self, X):
        """Return the crops."""
        from minifer.faces import FaceDetector, LandmarkPredictor
        from minifer.faces.prepare import find_and_crop

        detector, landmarks = FaceDetector.load(), LandmarkPredictor.load()
        return np.stack([find_and_crop(image, detector, landmarks, self.level)[0] for image in np.asarray(X)])

    def __sklearn_is_fitted__(self):
        """There is nothing to fit."""
        return True
