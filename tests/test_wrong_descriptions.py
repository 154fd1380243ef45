"""What a weights file and a last.npz say of themselves: nothing wrong gets as far as memory, or into a training."""

import time
import tracemalloc

import numpy as np
import pytest

from minifer import checkpoint, config
from minifer.cli import main
from minifer.data import fer2013, synthetic
from minifer.data.dataset import CLASSES, Dataset
from minifer.errors import CheckpointError, TrainingError
from minifer.evaluation import evaluate_weights
from minifer.initializers import is_outline
from minifer.losses import probabilities
from minifer.models import mobilenet
from minifer.networks import build_model
from minifer.trained import load_weights
from minifer.training import Observer, Training

SETTINGS = config.TrainConfig(model="mha", alpha=1 / 16, attention_blocks=(13,), heads=2, head_units=4, dropout=0.1)
META = {"config": config.to_dict(SETTINGS), "classes": list(CLASSES), "image_shape": [48, 48]}


@pytest.fixture(scope="module")
def arrays():
    return build_model(SETTINGS, (48, 48, 1), len(CLASSES)).state()


@pytest.fixture
def peak():
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def refusal(path, arrays, meta):
    """Write a weights file, and return the line that load_weights raises."""
    checkpoint.save(path, arrays, meta)
    with pytest.raises(CheckpointError) as caught:
        load_weights(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def changed(**settings):
    return META | {"config": META["config"] | settings}


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (changed(alpha="x"), "alpha is 'x': it must be a number from 0.01 to 8"),
        (changed(alpha=1e9), "alpha is 1000000000.0"),
        (changed(alpha=float("nan")), "alpha is nan"),
        (changed(alpha=4), "is of another model"),
        (changed(seed=-1), "seed is -1"),
        (changed(heads=None), "heads is None"),
        (changed(heads=64, head_units=512), "is of another model: attention13"),
        (changed(attention_blocks=None), "is of another model"),
        (changed(attention_positions=True), "is of another model"),
        (changed(model="plain", linear=True), "linear blocks need skip connections"),
        (changed(blocks="even"), "there is no block 13"),
        (META | {"config": 5}, "config is 5"),
        (META | {"config": []}, "config is []"),
        (META | {"config": {}}, "'model' is missing"),
        (META | {"classes": 5}, "classes is 5: it must be a list of 1 to 1000"),
        (META | {"classes": []}, "classes is []"),
        (META | {"classes": "abcdefg"}, "classes is 'abcdefg'"),
        (META | {"classes": [1] * 7}, "classes is [1, 1, 1, 1, 1, 1"),
        (META | {"classes": ["a"] * 7}, "is there twice"),
        (META | {"classes": [*CLASSES[:6], ""]}, "the class '' has a name of 0 characters"),
        (META | {"classes": [*CLASSES[:6], "a" * 101]}, "has a name of 101 characters"),
        (META | {"classes": [*CLASSES[:6], "a\x1b[31m"]}, "control character is in the class name 'a\\x1b[31m'"),
        (META | {"classes": [str(n) for n in range(1001)]}, "it must be a list of 1 to 1000"),
        (META | {"classes": list(CLASSES[:6])}, "is of another model: classifier"),
        (META | {"image_shape": [48]}, "image_shape is [48]: it must be a list of 2 to 3"),
        (META | {"image_shape": [100_000, 100_000]}, "image_shape is [100000, 100000]"),
        (META | {"image_shape": [48, -1]}, "image_shape is [48, -1]"),
        (META | {"image_shape": [48, 48.0]}, "image_shape is [48, 48.0]"),
        (META | {"image_shape": {"0": 48}}, "image_shape is {'0': 48}"),
        ({name: META[name] for name in ("config", "classes")}, "'image_shape' is missing"),
        ({}, "'config' is missing"),
    ],
)
def test_a_wrong_description(tmp_path, arrays, peak, meta, message):
    assert message in refusal(tmp_path / "a.npz", arrays, meta)
    assert peak() < 100 << 20


def test_the_largest_network_that_can_be_described_is_refused_at_once(tmp_path, arrays, peak):
    started = time.process_time()
    largest = changed(alpha=4, heads=64, head_units=512, attention_blocks=list(range(1, 14)))
    assert "is of another model" in refusal(tmp_path / "a.npz", arrays, largest)
    assert peak() < 100 << 20 and time.process_time() - started < 60


def test_pictures_that_would_take_hours(tmp_path):
    settings = config.replace(SETTINGS, attention_blocks=(1,), stem_stride=1)
    arrays = build_model(settings, (48, 48, 1), len(CLASSES)).state()
    meta = META | {"config": config.to_dict(settings), "image_shape": [1024, 1024]}
    assert "a picture of 1024 x 1024 would take" in refusal(tmp_path / "a.npz", arrays, meta)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("stem.weight", lambda a: a * np.nan, "stem.weight holds NaN or infinity"),
        ("stem.weight", lambda a: a.astype(str), "stem.weight holds <U32, no floating-point numbers"),
        ("stem.weight", lambda a: (100 * a).astype(int), "stem.weight holds int64, no floating-point numbers"),
        ("stem.weight", lambda a: a.astype(float) + 1e300, "stem.weight is infinite"),
        ("stem_norm.running_var", lambda a: a - 5, "stem_norm.running_var is infinite, or a variance below 0"),
        ("block3.pointwise.weight", lambda a: a[:-1], "is of another model: block3.pointwise.weight has shape"),
        ("classifier.bias", lambda a: np.float32(0), "is of another model: classifier.bias has shape ()"),
    ],
)
def test_wrong_weights(tmp_path, arrays, name, change, message):
    assert message in refusal(tmp_path / "a.npz", arrays | {name: change(arrays[name])}, META)


def test_weights_come_into_an_outline_of_the_network(tmp_path, arrays):
    outline = mobilenet("mha", alpha=1 / 16, attention_blocks=(13,), heads=2, head_units=4, outline=True)
    assert {name: array.shape for name, array in outline.state().items()} == {k: a.shape for k, a in arrays.items()}
    assert is_outline(outline.state()["stem.weight"]) and not is_outline(arrays["stem.weight"])
    checkpoint.save(tmp_path / "a.npz", arrays, META)
    model, meta = load_weights(tmp_path / "a.npz")
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, arrays[name])
        assert array.flags.c_contiguous and array.flags.writeable
    assert meta["image_shape"] == (48, 48) and meta["config"] == config.to_dict(SETTINGS)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((30, 30), "the data has 30 x 30 in grey"), ((48, 48, 3), "of 48 x 48 in grey, the data has 48 x 48 in colour")],
)
def test_data_of_other_pictures_than_the_network_was_trained_for(tmp_path, arrays, shape, message):
    checkpoint.save(tmp_path / "a.npz", arrays, META)
    with pytest.raises(TrainingError, match=message):
        evaluate_weights(tmp_path / "a.npz", Dataset(np.zeros((2, *shape), np.uint8), [0, 1]), "val")


def test_answers_that_are_no_numbers_are_not_given():
    with pytest.raises(TrainingError, match="the network's output is not finite"):
        probabilities(np.array([[1.0, np.inf]]))


# Going on with a training.

RUN = config.replace(SETTINGS, epochs=3, batch_size=16, average=0.9, schedule="plateau")


@pytest.fixture(scope="module")
def faces():
    return synthetic.load(seed=3, train=40, val=14)


@pytest.fixture(scope="module")
def saved(faces, tmp_path_factory):
    """Return arrays and meta of a last.npz that was saved in the middle of the second epoch."""
    folder, training = tmp_path_factory.mktemp("run"), Training(RUN, faces["train"], faces["val"])
    assert not training.run(Observer(), lambda: training.epoch == 1 and training.step == 1)
    training.save(folder)
    return checkpoint.load(folder / "last.npz")


@pytest.fixture
def training(faces):
    return Training(RUN, faces["train"], faces["val"])


def test_the_right_one_is_taken(training, saved, tmp_path):
    checkpoint.save(tmp_path / "last.npz", *saved)
    training.restore(tmp_path)
    assert (training.epoch, training.step, len(training.rows)) == (1, 1, 1)


def nested(meta, path, value):
    """Return a copy of a description with the value at a path such as ("sums", "rows") replaced."""
    if isinstance(meta, list):
        return [nested(item, path, value) for item in meta]
    first, *rest = path
    return meta | {first: nested(meta[first], rest, value) if rest else value}


@pytest.mark.parametrize("value", ["x", None, [], {}, -1, float("nan"), 1e400, 10**400, True, [[[]]]], ids=repr)
@pytest.mark.parametrize(
    "path",
    [
        ("epoch",), ("step",), ("sums",), ("sums", "loss"), ("sums", "right"), ("sums", "rows"), ("sums", "seconds"),
        ("rows",), ("rows", "epoch"), ("rows", "val_top1"), ("finished",), ("schedule",),
        ("schedule", "learning_rate"), ("schedule", "best"), ("schedule", "waited"), ("stopping",),
        ("stopping", "best"),
        ("stopping", "epochs"), ("generators",), ("generators", "dropout"), ("generators", "dropout", "state"),
        ("generators", "dropout", "state", "inc"), ("classes",), ("config",), ("image_shape",),
    ],
    ids=".".join,
)  # fmt: skip
def test_a_wrong_position(training, saved, tmp_path, path, value):
    arrays, meta = saved
    checkpoint.save(tmp_path / "last.npz", arrays, nested(meta, path, value))
    try:
        training.restore(tmp_path)
    except (CheckpointError, TrainingError) as error:
        assert str(tmp_path / "last.npz") in str(error) and "\n" not in str(error)
    else:
        may_be_negative = path[-1] in ("loss", "seconds", "val_top1", "best", "learning_rate") and value == -1
        may_be_none = path[-1] in ("val_top1", "best") and value is None
        assert may_be_negative or may_be_none or (value is True and path[-1] in ("finished", "inc"))


@pytest.mark.parametrize("prefix", ["model/", "optimizer/", "average/", "best/"])
@pytest.mark.parametrize("change", [lambda a: a[None], lambda a: a.astype(str), lambda a: a * np.nan, None])
def test_wrong_arrays_of_a_position(training, saved, tmp_path, prefix, change):
    arrays, meta = saved
    name = next(name for name in arrays if name.startswith(prefix) and name.endswith("stem.weight"))
    wrong = {key: array for key, array in arrays.items() if key != name}
    if change is not None:
        wrong[name] = change(arrays[name])
    checkpoint.save(tmp_path / "last.npz", wrong, meta)
    with pytest.raises(CheckpointError):
        training.restore(tmp_path)


def test_the_command_says_it_in_one_line(faces, tmp_path, capsys):
    fer2013.save_npz(tmp_path / "faces.npz", faces)
    (tmp_path / "config.json").write_text('{"data": null, "config": {"model": "skip", "alpha": 0.0625}}')
    (tmp_path / "last.npz").write_bytes(b"PK\3\4 not much")
    assert main(["train", "--resume", str(tmp_path), "--data", str(tmp_path / "faces.npz")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "last.npz: cannot be read" in lines[-1] and not any("Traceback" in line for line in lines)
