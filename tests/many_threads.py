"""Run by test_guarantees.py in a process of its own: many threads, one of everything, and every answer is compared.

    python tests/many_threads.py CALLS

Prints the threading layer that Numba chose, and a hash of all answers; ends with an error when one of them differs from
that of a single thread.
"""

import hashlib
import itertools
import sys
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from minifer.data import synthetic
from minifer.data.dataset import to_float
from minifer.faces import crop_face
from minifer.inference import InferenceNetwork
from minifer.models import mobilenet
from minifer.recognizer import Recognizer
from minifer.training import predict


def portrait():
    """The one face in scikit-image's picture of an astronaut."""
    from skimage import color, data

    return np.uint8(np.rint(255 * color.rgb2gray(data.astronaut()[40:180, 160:290])))


def small_network():
    """A network with every kind of layer, whose answers differ from picture to picture."""
    model = mobilenet("mha", 0.125, (24, 24, 1), attention_blocks=(4, 13), heads=2, head_units=8, dropout=0.5)
    rng = np.random.default_rng(0)
    for parameter in model.parameters().values():
        parameter.value += (0.1 * rng.standard_normal(parameter.value.shape)).astype(np.float32)
    for _ in range(3):
        model.forward(rng.standard_normal((16, 24, 24, 1)).astype(np.float32), training=True)
    return model


def answers():
    """Return {what: (share of the calls, function, its arguments)}; an answer to other arguments is a wrong one."""
    model = small_network()
    network = InferenceNetwork(model, (24, 24, 1), batch_size=4)
    images = np.random.default_rng(1).integers(0, 255, (12, 24, 24), np.uint8)
    batches = [images[k : k + 1 + k % 5] for k in range(8)]
    floats = [(batch[..., None] / np.float32(128) - 1).astype(np.float32) for batch in batches]
    recognizer = Recognizer.load("best")
    face = portrait()
    pictures = [face, face[:, ::-1], face[5:, 3:], np.full((70, 60), 90, np.uint8)]
    drawn = to_float(synthetic.generate(4, seed=1).images[:, : recognizer.side, : recognizer.side])
    (found,) = recognizer.detector.detect(face)
    points = recognizer.landmarks.predict(face, found.box)
    return {
        "InferenceNetwork": (1, network, floats),
        "training.predict": (1, lambda batch: predict(model, batch), batches),
        "forward": (1, model.forward, floats),
        "Recognizer.predict": (0.25, lambda image: str(recognizer.predict(image)), pictures),
        "Recognizer.probabilities": (0.5, lambda k: recognizer.probabilities(drawn[: k + 1]), range(4)),
        "FaceDetector": (0.25, lambda image: str(recognizer.detector.detect(image)), pictures),
        "LandmarkPredictor": (0.5, lambda image: recognizer.landmarks.predict(image, found.box), pictures[:2]),
        "crop_face": (0.25, lambda image: crop_face(image, points), pictures[:2]),
    }


def main(calls):
    """Call everything from 4 and from 16 threads at the same time, each kind `calls` times its share."""
    rng, wrong = np.random.default_rng(2), {}
    kinds = {what: (share, f, list(given), [f(x) for x in given]) for what, (share, f, given) in answers().items()}
    tasks = [(what, k % len(given)) for what, (share, _, given, _) in kinds.items() for k in range(int(calls * share))]

    def check(task):
        what, k = task
        _, function, given, expected = kinds[what]
        if not np.array_equal(function(given[k]), expected[k]):
            wrong[what] = wrong.get(what, 0) + 1

    for threads in (4, 16):
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(check, [tasks[k] for k in rng.permutation(len(tasks))]))
    assert not wrong, f"wrong answers: {wrong} of {2 * len(tasks)} calls"
    print(numba.threading_layer(), hash_of(expected for _, _, _, expected in kinds.values()))


def hash_of(answers):
    """Return a hash of lists of arrays or texts, bit by bit."""
    found = hashlib.sha256()
    for answer in itertools.chain.from_iterable(answers):
        found.update(answer.encode() if isinstance(answer, str) else answer.tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    main(int(sys.argv[1]))
