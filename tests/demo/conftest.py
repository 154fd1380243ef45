import numpy as np
import pytest
from browser import encoded

from minifer import checkpoint, config
from minifer.data.dataset import CLASSES
from minifer.demo.viewer import Viewer
from minifer.demo.worker import Worker
from minifer.models import mobilenet


@pytest.fixture(scope="session")
def photo():
    """A face in colour, in 640 x 480 pixels."""
    from skimage import data

    return np.pad(data.astronaut()[:480], ((0, 0), (64, 64), (0, 0)))


@pytest.fixture(scope="session")
def photo_png(photo):
    return encoded(photo, "PNG")


@pytest.fixture(scope="session")
def attention_weights(tmp_path_factory):
    """Weights of a small network with attention after its last two blocks."""
    settings = config.TrainConfig(model="mha", alpha=1 / 16, attention_blocks=(12, 13), heads=2, head_units=4)
    model = mobilenet("mha", 1 / 16, attention_blocks=(12, 13), heads=2, head_units=4, seed=1)
    path = tmp_path_factory.mktemp("weights") / "attention.npz"
    meta = {"config": config.to_dict(settings), "classes": list(CLASSES), "image_shape": [48, 48], "epoch": 1}
    checkpoint.save(path, model.state(), meta)
    return str(path)


@pytest.fixture(scope="session")
def viewer(attention_weights):
    """A Viewer of what ships and of the network with attention."""
    return Viewer(["best", attention_weights])


@pytest.fixture(scope="module")
def worker():
    """The thread that computes; at the end it is gone, since some tests are of processes with one thread."""
    with Worker() as worker:
        yield worker
    worker._thread.join(30)
