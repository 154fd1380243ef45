"""What a trained network says of a data set, and how good that is."""

import numpy as np

from minifer import metrics
from minifer.calibration import tempered
from minifer.cost.table import held
from minifer.data.dataset import check_images, to_float
from minifer.data.duplicates import unseen_rows
from minifer.data.views import views
from minifer.errors import ConfigError, ShapeError
from minifer.inference import InferenceNetwork
from minifer.layers import Layer
from minifer.losses import probabilities
from minifer.own_code import is_target
from minifer.trained import check_classes, check_pictures, input_shape, load_weights


def predict(
    model: Layer | InferenceNetwork, images: np.ndarray, frames: np.ndarray | None = None, batch_size: int = 128
) -> np.ndarray:
    """Return probabilities (N, classes) for images (N,H,W) or (N,H,W,3) uint8, or as the network reads them.

        >>> from minifer.models import mobilenet
        >>> predict(mobilenet(alpha=0.25), np.zeros((2, 48, 48), np.uint8)).sum(axis=1).round(4)
        array([1., 1.], dtype=float32)

    Any number of threads may call it with one model. Of no pictures it returns an array of shape (0, classes).

    model      or an InferenceNetwork of it
    images     also of other types, see data.dataset.check_images
    frames     (N,2,3) of images uint8, where the network was trained on registered pictures (see faces.registration)
    Raises     ShapeError when frames are of other pictures, ConfigError for a batch_size below 1
    """
    images, found = check_images(images), []
    if frames is not None and np.shape(frames) != (len(images), 2, 3):
        raise ShapeError(f"{len(images)} pictures have frames ({len(images)}, 2, 3), got {np.shape(frames)}")
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size}: at least one picture is answered at a time")
    if not len(images):  # how many classes there are, one blank picture tells
        blank = np.zeros((1, *images.shape[1:]), images.dtype)
        return predict(model, blank, None if frames is None else np.zeros((1, 2, 3)))[:0]
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        x = to_float(images[part], None if frames is None else frames[part])
        found.append(probabilities(model(x)))
    return np.concatenate(found)


def evaluate_weights(path, dataset, split, tta=False, model=None, products="float32"):
    """Return (result as a JSON-able dict, probabilities (N, classes)) of a weights file on a Dataset.

    tta     average over two views of each picture, see data.views
    model   the network of one's own that was trained, see minifer.networks
    products    "int8": as InferenceNetwork multiplies when told so
    """
    model, meta = load_weights(path, model)
    check_classes(meta["classes"], dataset.classes, path)
    settings = meta["config"]
    check_pictures(meta["image_shape"], dataset, settings.get("register", False), path)
    if settings.get("register"):
        from minifer.faces.registration import registered

        dataset = registered(dataset)
    network = model
    if products != "float32":
        network = InferenceNetwork(model, input_shape(meta["image_shape"]), products=products)
    if tta:
        probs = np.mean([predict(network, view) for view in views(dataset.images, dataset.frames)], axis=0)
    else:
        probs = predict(network, dataset.images, dataset.frames)
    result = {
        "split": split,
        "model": settings["model"],
        "alpha": None if is_target(settings["model"]) else settings["alpha"],
        "parameters": held(model)[0],
        "tta": tta,
        **({"products": products} if products != "float32" else {}),
        **({"labels": "FER+"} if settings.get("labels") else {}),  # whose figures are not FER2013's
        **metrics.evaluate(probs, dataset.labels, dataset.classes),
    }
    if meta.get("temperature") and not tta:  # of a mean of two views it cannot be taken back
        before = tempered(probs, 1 / meta["temperature"])
        result["temperature"] = meta["temperature"]
        result["calibration_error_without_temperature"] = metrics.expected_calibration_error(before, dataset.labels)
    return result, probs


def on_unseen(train, dataset, probs):
    """Return metrics.top1 of the pictures that have no copy in the training rows."""
    rows = unseen_rows(train, dataset)
    return metrics.top1(probs[rows].argmax(axis=1) == dataset.labels[rows])
