"""The loop: it learns, it is the same bits however it is interrupted or threaded, and it stops with a reason."""

import copy
import csv
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numba
import numpy as np
import pytest
from small_runs import TINY, Silent, assert_same, everything, flags

from minifer import checkpoint, config, metrics
from minifer.averaging import recalibrate
from minifer.cases import away_from_zero
from minifer.cli import main
from minifer.commands.train import describe
from minifer.data import fer2013, synthetic
from minifer.data.dataset import Dataset, to_float
from minifer.errors import CheckpointError, ConfigError, DataError, DtypeError, ShapeError, TrainingError
from minifer.evaluation import predict
from minifer.layers import BatchNorm, Dropout, Flatten, Linear, ReLU, Sequential
from minifer.networks import build_model
from minifer.run_folder import is_evaluated, write_evaluation, write_settings
from minifer.runs import read_rows, train_once
from minifer.trained import load_weights, start_from
from minifer.training import Training, fit

ROW = ("images", "labels", "names")  # what a data set holds of each row


@pytest.fixture(scope="module")
def faces():
    return synthetic.load(seed=3, train=53, val=30)  # 53 is 3 batches of 16 and one of 5


def start(faces, settings=TINY):
    return Training(settings, faces["train"], faces["val"])


def without_time(rows):
    return [{k: v for k, v in row.items() if k not in ("seconds", "pictures_per_second")} for row in rows]


@pytest.fixture(scope="module")
def uninterrupted(faces):
    training = start(faces)
    training.run(Silent())
    return training


@pytest.mark.parametrize("stop_after", range(1, 12))
def test_interrupted_anywhere_and_resumed_ends_in_the_same_bits(stop_after, faces, uninterrupted, tmp_path):
    first = start(faces)
    observer = Silent(tmp_path)
    finished = first.run(observer, lambda: observer.steps >= stop_after)
    assert not finished
    first.save(tmp_path)
    second = start(faces, config.from_dict(config.to_dict(TINY)))
    second.restore(tmp_path)
    assert second.run(Silent(tmp_path))
    assert_same(everything(second), everything(uninterrupted))
    assert without_time(second.rows) == without_time(uninterrupted.rows)


def test_a_run_does_not_go_on_with_data_that_was_corrected(faces, tmp_path):
    start(faces).save(tmp_path)
    train = faces["train"]
    labels = train.labels.copy()
    labels[0] = (labels[0] + 1) % 7
    corrected = start({**faces, "train": replace(train, labels=labels)})
    with pytest.raises(CheckpointError, match="the data is not what this run was begun with"):
        corrected.restore(tmp_path)
    start({**faces, "train": replace(train, names=train.names[::-1])}).restore(tmp_path)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_plateau_and_early_stopping_resume_too(optimizer, faces, tmp_path):
    settings = config.replace(
        TINY,
        schedule="plateau",
        plateau_patience=1,
        early_stopping=2,
        epochs=6,
        optimizer=optimizer,
        learning_rate=1e-4,
    )
    whole = start(faces, settings)
    whole.run(Silent())
    part = start(faces, settings)
    observer = Silent(tmp_path)
    part.run(observer, lambda: observer.steps >= 5)
    part.save(tmp_path)
    rest = start(faces, settings)
    rest.restore(tmp_path)
    rest.run(Silent())
    assert_same(everything(rest), everything(whole))
    assert without_time(rest.rows) == without_time(whole.rows)


def test_number_of_threads_does_not_change_a_bit(faces, uninterrupted):
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        training = start(faces)
        training.run(Silent())
    finally:
        numba.set_num_threads(threads)
    assert_same(everything(training), everything(uninterrupted))


def test_it_learns(faces):
    """Sixteen faces, nothing random: the loss falls to almost nothing."""
    settings = config.replace(
        TINY, model="skip", alpha=0.125, epochs=25, limit=16, learning_rate=5e-3, average=0.0, dropout=0.0,
        end_phase=0.0, erasing=0.0, mixup=0.0, label_smoothing=0.0, flip=False, shift=0.0, rotation=0.0, zoom=0.0,
        brightness=0.0, contrast=0.0,
    )  # fmt: skip
    training = start(faces, settings)
    training.run(Silent())
    losses = [row["train_loss"] for row in training.rows]
    assert losses[0] > 1.5
    assert losses[-1] < 0.1
    assert training.rows[-1]["train_top1"] == 1.0


def test_short_last_batch_is_weighted_by_its_rows(faces, rng):
    settings = config.replace(TINY, learning_rate=1e-30, epochs=1, dropout=0.0)  # a rate that moves nothing
    training = start(faces, settings)
    away_from_zero(training.model, rng)
    training.optimizer = type(training.optimizer)(training.model.parameters(), 1e-30)
    twin, loss = copy.deepcopy(training.model), copy.deepcopy(training.phase.loss)
    sizes, losses = [], []
    for x, labels in training.batches.epoch(0):
        sizes.append(len(x))
        losses.append(float(loss.forward(twin.forward(x, training=True), labels)))
    training.run(Silent())
    assert sizes == [16, 16, 16, 5]
    assert training.rows[0]["train_loss"] == pytest.approx(np.average(losses, weights=sizes), rel=1e-6)
    assert training.rows[0]["train_loss"] != pytest.approx(np.mean(losses), rel=1e-4)


def test_best_weights_are_those_of_the_best_epoch(faces, tmp_path):
    training = start(faces)
    training.run(Silent(tmp_path))
    top1 = [row["val_top1"] for row in training.rows]
    model, meta = load_weights(tmp_path / "best.npz")
    assert meta["epoch"] == int(np.argmax(top1)) + 1
    measured = (predict(model, faces["val"].images).argmax(axis=1) == faces["val"].labels).mean()
    assert measured == max(top1) == meta["val_top1"]


def test_table_has_a_row_per_epoch(faces, tmp_path):
    start(faces).run(Silent(tmp_path))
    with open(tmp_path / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())


def test_fit_returns_the_best_weights(faces):
    training = fit(TINY, **faces)
    best = max(row["val_top1"] for row in training.rows)
    measured = (predict(training.model, faces["val"].images).argmax(axis=1) == faces["val"].labels).mean()
    assert measured == best


def write_teacher(faces, path, sharpness=0.0):
    """Write the predictions of a teacher that gives every class the same, or with sharpness 1 the label everything."""
    train = faces["train"]
    probs = np.full((len(train), 7), (1 - sharpness) / 7)
    probs[np.arange(len(train)), train.labels] += sharpness
    write_evaluation(path, {"split": "train", **metrics.evaluate(probs, train.labels, train.classes)}, probs, train)
    return str(path / "predictions.csv")


def test_a_teacher_that_says_the_labels_changes_nothing(faces, uninterrupted, tmp_path):
    taught = start(faces, config.replace(TINY, teacher=write_teacher(faces, tmp_path, sharpness=1)))
    taught.run(Silent())
    for name, array in uninterrupted.model.state().items():
        np.testing.assert_allclose(taught.model.state()[name], array, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_teacher_that_knows_nothing_teaches_nothing(faces, tmp_path):
    only_teacher = {"teacher": write_teacher(faces, tmp_path), "teacher_share": 1.0, "label_smoothing": 0.0}
    taught = start(faces, config.replace(TINY, **only_teacher))
    taught.run(Silent())
    np.testing.assert_allclose(predict(taught.model, faces["val"].images), 1 / 7, atol=0.01)


@pytest.mark.parametrize("images", [np.zeros((0, 48, 48), np.uint8), np.zeros((0, 48, 48, 1), np.float32)])
def test_of_no_pictures_predict_says_nothing(faces, images):
    model = start(faces).model
    assert predict(model, images).shape == (0, 7) and predict(model, images).dtype == np.float32
    assert predict(model, list(faces["val"].images[:2])).shape == (2, 7)
    with pytest.raises((ShapeError, DtypeError)):
        predict(model, [])


def test_the_end_phase_shows_sharp_pictures_and_plain_labels(faces, tmp_path):
    """The last 2 of 5 epochs: neither teacher, smoothing, dropout nor a picture that is resampled."""
    taught = {"teacher": write_teacher(faces, tmp_path), "rotation": 30.0}
    settings = config.replace(TINY, epochs=5, end_phase=0.4, dropout=0.5, **taught)
    training = start(faces, settings)
    shown, forward = [], training.network.forward

    def watched(x, training=False):
        if training:
            shown.append(x)
        return forward(x, training=training)

    training.network.forward = watched
    training.run(Silent())
    epochs = [np.concatenate(shown[start : start + 4]) for start in range(0, 20, 4)]
    levels = to_float(np.arange(256, dtype=np.uint8)[None, None])
    assert [bool(np.isin(x, levels).all()) for x in epochs] == [False, False, False, True, True]
    main, end = training.phases
    assert (main.batches.targets.ndim, main.loss.label_smoothing) == (2, 0.1)
    assert (end.batches.targets.ndim, end.loss.label_smoothing) == (1, 0.0)
    assert [layer.rate for layer in training.dropouts] == [0.0] and training.phase is end


def test_another_teacher_is_other_data(faces, tmp_path):
    """A resumed run would else end in neither run's bits."""
    teacher = write_teacher(faces, tmp_path)
    settings = config.replace(TINY, teacher=teacher, epochs=2)
    first = start(faces, settings)
    first.run(Silent(tmp_path), lambda: True)
    first.save(tmp_path)
    start(faces, settings).restore(tmp_path)
    write_teacher(faces, tmp_path, sharpness=1)
    with pytest.raises(CheckpointError, match="or its --teacher says something else"):
        start(faces, settings).restore(tmp_path)


def test_rows_for_validation_are_as_those_for_training(faces):
    train, val = faces["train"], faces["val"]
    with pytest.raises(DataError, match=r"have the classes angry, .*, the validation rows neutral, "):
        fit(TINY, train, replace(val, classes=val.classes[::-1]))
    few = replace(train.take(train.labels < 2), classes=train.classes[:2])
    with pytest.raises(DataError, match="have the classes angry, disgust, the validation rows angry"):
        fit(TINY, few, val)
    with pytest.raises(DataError, match="are 48 x 48, the validation pictures 40 x 48: give both in one size"):
        fit(TINY, train, replace(val, images=val.images[:, 4:44]))


def test_a_network_that_cannot_be_calibrated_is_refused_before_it_is_trained(faces):
    def rectified(input_shape, classes, rng):
        return Sequential(flat=Flatten(), classifier=Linear(np.prod(input_shape), classes, rng=rng), relu=ReLU())

    with pytest.raises(ConfigError, match="calibrate needs a network that ends in a Linear layer: leave it out"):
        Training(TINY, faces["train"], faces["val"], rectified)


def test_a_run_whose_results_could_not_all_be_written_is_not_done_with(faces, tmp_path, monkeypatch):
    def full(*args):
        raise OSError("no space left")

    monkeypatch.setattr("minifer.report.figures.draw_confusion", full)
    with pytest.raises(OSError, match="no space left"):
        write_teacher(faces, tmp_path)
    assert not is_evaluated(tmp_path)


def test_the_last_epoch_can_be_kept(faces, tmp_path):
    training = start(faces, config.replace(TINY, keep="last", learning_rate=1e-9, epochs=3, calibrate=False))
    training.run(Silent(tmp_path))
    model, meta = load_weights(tmp_path / "best.npz")
    assert meta["epoch"] == 3 and meta["val_top1"] == training.rows[-1]["val_top1"]
    with training.weights_in_use():
        assert_same(model.state(), training.model.state())


def test_every_epoch_is_measured_on_training_pictures_as_they_are_and_on_val_without_copies(faces):
    """Half of val is also in the training rows."""
    both = synthetic.load(seed=3, train=53, val=30)
    half = both["val"].take(slice(15))
    train = both["train"]
    joined = Dataset(*(np.concatenate([getattr(part, name) for part in (train, half)]) for name in ROW), split="train")
    training = Training(config.replace(TINY, epochs=1), joined, both["val"])
    training.run(Silent())
    assert set(range(15)).isdisjoint(training.unseen.tolist()) and len(training.unseen)
    with training.weights_in_use():
        right = predict(training.model, both["val"].images).argmax(axis=1) == both["val"].labels
        sample = training.some_rows(30)
        plain = predict(training.model, sample.images).argmax(axis=1) == sample.labels
    assert training.rows[0]["val_unseen_top1"] == right[training.unseen].mean()
    assert training.rows[0]["train_plain_top1"] == plain.mean()


def test_pictures_too_small_to_be_compared_have_no_top1_without_copies(faces):
    small = {split: replace(rows, images=rows.images[:, ::2, ::2]) for split, rows in faces.items()}
    training = Training(config.replace(TINY, epochs=1), small["train"], small["val"])
    training.run(Silent())
    assert training.rows[0]["val_unseen_top1"] is None and training.unseen is None


def test_pictures_in_colour_are_compared_as_grey_ones_are(faces):
    colour = {
        split: replace(rows, images=np.repeat(rows.images[..., None], 3, axis=3)) for split, rows in faces.items()
    }
    expected = start(faces).unseen
    np.testing.assert_array_equal(start(colour).unseen, expected)
    assert len(expected)


def test_validation_rows_that_are_all_in_training_are_told(faces, capsys):
    """The worst that can be: what is measured was learned by heart."""
    training = Training(config.replace(TINY, epochs=1), faces["train"], replace(faces["train"], split="val"))
    describe(training, "faces.npz")
    assert "53 of the validation pictures are among the training rows" in capsys.readouterr().err
    training.run(Silent())
    assert training.rows[0]["val_unseen_top1"] is None


def test_class_weights_follow_the_training_rows(faces):
    few_angry = faces["train"].take(np.flatnonzero((faces["train"].labels != 0) | (np.arange(53) < 20)))
    training = Training(config.replace(TINY, balance="weights"), few_angry, faces["val"])
    counts = np.array(list(few_angry.counts().values()))
    np.testing.assert_allclose(training.phase.loss.class_weights * counts, len(few_angry) / 7)


def test_limit_keeps_all_classes(faces):
    sorted_rows = faces["train"].take(np.argsort(faces["train"].labels, kind="stable"))
    training = Training(config.replace(TINY, limit=14), sorted_rows, faces["val"])
    assert len(training.train) == 14 and min(training.train.counts().values()) > 0


def test_a_loss_that_is_not_finite_names_step_and_layer(faces):
    training = start(faces)
    norm = training.model["block3"]["pointwise_norm"]

    class Exploding(BatchNorm):
        def forward(self, x, training=False):
            return np.full_like(super().forward(x, training=training), np.inf)

    norm.__class__ = Exploding
    with pytest.raises(TrainingError, match=r"the loss is nan at epoch 1, step 1: .* block3\.pointwise_norm"):
        training.run(Silent())


def test_weights_that_are_not_finite_are_named(faces):
    training = start(faces)
    training.model["block5"]["depthwise"].weight.value[0, 0, 0] = np.nan
    with pytest.raises(TrainingError, match=r"block5\.depthwise\.weight is not finite"):
        training.run(Silent())


def test_checkpoint_of_another_model_or_class_list(faces, tmp_path):
    training = start(faces)
    training.run(Silent(tmp_path), lambda: training.epoch == 1)
    other = start(faces, config.replace(TINY, model="skip"))
    with pytest.raises(CheckpointError, match="another model"):
        other.restore(tmp_path)
    arrays, meta = checkpoint.load(tmp_path / "last.npz")
    meta["classes"] = meta["classes"][::-1]
    checkpoint.save(tmp_path / "last.npz", arrays, meta)
    with pytest.raises(TrainingError, match="was trained for the classes neutral, surprise"):
        start(faces).restore(tmp_path)


@pytest.fixture
def small_archive(tmp_path, faces):
    path = tmp_path / "faces.npz"
    fer2013.save_npz(path, faces)
    return path


def train_command(*arguments):
    return [sys.executable, "-m", "minifer", "train", *map(str, arguments)]


def wait_for_first_line(process, text, seconds=120):
    """Read the log until a line starts with text, then keep it drained in the background."""
    deadline = time.monotonic() + seconds
    for line in process.stderr:
        if line.startswith(text):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return
        assert time.monotonic() < deadline
    raise AssertionError(f"the log ended without a line that starts with {text!r}")


@pytest.mark.slow
def test_killed_four_times_it_still_ends_in_the_same_bits(small_archive, tmp_path):
    settings = config.replace(TINY, epochs=20)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    begin = ["--data", small_archive, *flags(settings), "--out"]
    started = time.monotonic()
    subprocess.run(train_command(*begin, whole), check=True, capture_output=True)
    arrays, meta = checkpoint.load(whole / "last.npz")
    epoch_seconds = sum(row["seconds"] for row in meta["rows"]) / len(meta["rows"])
    assert time.monotonic() - started > epoch_seconds

    rng = np.random.default_rng(5)
    for _ in range(4):
        arguments = ["--resume", killed] if (killed / "config.json").exists() else [*begin, killed]
        process = subprocess.Popen(
            train_command(*arguments), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        wait_for_first_line(process, "training")
        time.sleep(rng.uniform(0, 3 * epoch_seconds))
        process.kill()
        process.wait()
    subprocess.run(train_command("--resume", killed), check=True, capture_output=True)
    resumed, _ = checkpoint.load(killed / "last.npz")
    assert_same(resumed, arrays)
    best, _ = checkpoint.load(killed / "best.npz")
    assert_same(best, checkpoint.load(whole / "best.npz")[0])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a child")
def test_ctrl_c_saves_first(small_archive, tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        train_command("--data", small_archive, *flags(config.replace(TINY, epochs=10_000)), "--out", folder),
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stderr:
        if line.startswith("epoch"):
            break
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"minifer train --resume {folder}" in log and "Traceback" not in log
    _, meta = checkpoint.load(folder / "last.npz")
    assert meta["epoch"] >= 1 and not meta["finished"]


# Transfer learning.

TRANSFER = config.replace(TINY, epochs=1, average=0.0, freeze=True)


@pytest.fixture(scope="module")
def plain_run(faces, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    training = start(faces, config.replace(TINY, model="plain", epochs=1))
    training.run(Silent(folder))
    return folder


def test_transfer_keeps_the_extraction_and_trains_the_rest(faces, plain_run):
    pretrained, _ = load_weights(plain_run / "best.npz")
    training = start(faces, config.replace(TRANSFER, pretrained=str(plain_run)))
    before = {name: array.copy() for name, array in training.model.state().items()}
    training.run(Silent())
    after = training.model.state()
    kept = {name for name, array in pretrained.state().items() if not name.startswith("classifier")}
    assert_same({name: after[name] for name in kept}, {name: pretrained.state()[name] for name in kept})
    for name in after.keys() - kept:
        if not name.endswith("key.bias"):  # softmax does not see what is added to all scores of a row
            assert not np.array_equal(after[name], before[name]), name


def test_pretrained_without_freeze_trains_everything(faces, plain_run):
    training = start(faces, config.replace(TRANSFER, pretrained=str(plain_run), freeze=False))
    before = training.model.state()["block13.pointwise.weight"].copy()
    training.run(Silent())
    assert not np.array_equal(training.model.state()["block13.pointwise.weight"], before)


def test_pretrained_of_the_same_network_is_taken_whole(faces, plain_run):
    pretrained, _ = load_weights(plain_run / "best.npz")
    training = start(faces, config.replace(TINY, model="plain", epochs=1, pretrained=str(plain_run)))
    assert_same(training.model.state(), pretrained.state())


def test_pretrained_of_another_width(faces, plain_run):
    with pytest.raises(CheckpointError, match=r"best.npz is of another model: stem.weight has shape"):
        start(faces, config.replace(TRANSFER, alpha=1 / 8, pretrained=str(plain_run)))


@pytest.mark.parametrize(
    ("trained", "model"),
    [
        ({"model": "v2", "padding": "symmetric"}, {"model": "v2"}),
        ({"model": "plain", "bn_eps": 1e-5}, {"model": "mha"}),
        ({"model": "mha", "heads": 2, "head_units": 8}, {"model": "mha", "heads": 8, "head_units": 2}),
    ],
)
def test_pretrained_whose_weights_would_mean_something_else(trained, model, tmp_path):
    """The shapes fit, and nothing else would tell."""
    first, second = (config.TrainConfig(alpha=1 / 16, **how) for how in (trained, model))
    description = {"config": config.to_dict(first), "classes": ["a", "b"], "image_shape": [20, 20]}
    shape = (20, 20, 1)
    checkpoint.save(tmp_path / "net.npz", build_model(first, shape, 2).state(), description)
    start_from(build_model(first, shape, 2), tmp_path / "net.npz")
    with pytest.raises(ConfigError, match=r"trained with --(padding symmetric|bn-eps 1e-05|heads 2), this network has"):
        start_from(build_model(second, shape, 2), tmp_path / "net.npz")
    if "heads" in trained:  # of fewer units only stem and blocks are taken
        start_from(build_model(config.replace(second, head_units=1), shape, 2), tmp_path / "net.npz")


def test_a_run_goes_on_when_what_it_started_from_is_gone(plain_run, archive, tmp_path):
    """Its state has all weights: who tidied up, or moved the run to another machine, loses nothing."""
    gone, settings = tmp_path / "gone.npz", config.replace(TRANSFER, epochs=2)
    gone.write_bytes((plain_run / "best.npz").read_bytes())
    settings = config.replace(settings, pretrained=str(gone))
    for name in ("resumed", "again"):
        (tmp_path / name).mkdir()
        training = Training(settings, *read_rows(archive, settings))
        training.run(Silent(tmp_path / name), lambda training=training: training.epoch == 1)
        write_settings(tmp_path / name, settings, archive)
    gone.unlink()
    assert main(["train", "--resume", str(tmp_path / "resumed")]) == 0
    result, losses = train_once(tmp_path / "again", settings, archive, archive, quiet=True)
    assert len(losses) == 2 and result["n"] == 30


def test_settings_of_an_older_version_take_defaults():
    saved = config.to_dict(TINY)
    del saved["freeze"], saved["attention_blocks"]
    assert config.from_dict(saved) == config.replace(TINY, attention_blocks=config.LATE_BLOCKS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"model": "skip", "depth": 3}, "here: 'depth' is not a setting"), ({"alpha": 1.0}, "here: 'model' is missing")],
)
def test_settings_that_are_none(settings, message):
    with pytest.raises(ConfigError, match=message):
        config.from_dict(settings, "here")


def test_recalibrated_statistics_are_those_of_the_given_pictures(faces):
    model = start(faces).model
    weights = {path: parameter.value.copy() for path, parameter in model.parameters().items()}
    images = faces["train"].images[:32]
    recalibrate(model, faces["train"].take(slice(32)), batch_size=16)
    batches = [
        model["stem"].forward(to_float(part)).reshape(-1, model["stem_norm"].channels)
        for part in (images[:16], images[16:])
    ]
    for statistic, moment in ((model["stem_norm"].running_mean, np.mean), (model["stem_norm"].running_var, np.var)):
        expected = np.mean([moment(batch, axis=0) for batch in batches], axis=0)
        np.testing.assert_allclose(statistic.value, expected, rtol=1e-4, atol=1e-6)
    assert model["stem_norm"].momentum == 0.9
    assert_same(weights, {path: parameter.value for path, parameter in model.parameters().items()})


def test_classes_that_a_weights_file_may_not_have_are_refused_before_the_training(faces):
    wrong = {split: replace(rows, classes=("a\nb", *rows.classes[1:])) for split, rows in faces.items()}
    with pytest.raises(DataError, match="another control character is in the class name"):
        start(wrong)


def test_recalibration_drops_nothing_and_draws_nothing(rng):
    images = np.full((64, 4, 4), 255, np.uint8)
    model = Sequential(dropout=Dropout(0.5, rng=rng), norm=BatchNorm(1))
    model["norm"].running_mean.value[...], model["norm"].running_var.value[...] = -2e6, 3e7  # nothing of them stays
    before = rng.bit_generator.state
    recalibrate(model, Dataset(images, np.zeros(64, np.int64)), batch_size=32)
    assert model["norm"].running_mean.value == 1 and model["norm"].running_var.value == 0
    assert rng.bit_generator.state == before and not model["dropout"].frozen


def test_a_recalibrated_run_saves_the_statistics_that_it_was_measured_with(faces, tmp_path):
    training = start(faces, config.replace(TINY, recalibrate=20, epochs=1))
    training.run(Silent(tmp_path))
    model, meta = load_weights(tmp_path / "best.npz")
    top1 = (predict(model, faces["val"].images).argmax(axis=1) == faces["val"].labels).mean()
    assert top1 == meta["val_top1"]
    saved = model["stem_norm"].running_mean.value
    recalibrate(model, training.some_rows(20))
    np.testing.assert_allclose(model["stem_norm"].running_mean.value, saved, rtol=1e-5, atol=1e-6)
