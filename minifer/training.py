"""The training loop, and all that a run carries from step to step, so that it can stop anywhere and go on bit for bit.

A run folder holds config.json, metrics.csv, curves.png, last.npz (to go on from) and best.npz (weights to use). What
decides the next bit is either a pure function of seed, epoch and step (order, augmentation) or stands in last.npz
(weights, optimizer, schedule, average, dropout's generators, position).
"""

import time
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from minifer import checkpoint, config
from minifer.allowed import Maybe, Number, Record, Several, Switch, Text, Whole, like
from minifer.averaging import Average, recalibrate
from minifer.calibration import fit_temperature, last_linear, take_up
from minifer.data.augment import Augmentation
from minifer.data.batches import SAMPLE, Batches
from minifer.data.dataset import Dataset
from minifer.data.duplicates import SMALLEST, unseen_rows
from minifer.data.limits import check_names, check_side
from minifer.data.soft_labels import soft_labels
from minifer.errors import CheckpointError, ConfigError, DataError, TrainingError
from minifer.evaluation import predict  # noqa: F401  (also found here)
from minifer.files.documents import checked_fields
from minifer.files.guard import guarded
from minifer.fusion import fused
from minifer.kernels.bfloat16 import check_products, products
from minifer.layers import Dropout, Layer
from minifer.layers.around import around_forward
from minifer.losses import SoftmaxCrossEntropy
from minifer.networks import Own, build_model, check_output, freeze_body, own_name
from minifer.optimizers import SGD, Adam
from minifer.own_code import is_target
from minifer.parallel import ALONE, gradients, share_dataset
from minifer.run_folder import COLUMNS, write_metrics
from minifer.schedules import Constant, Cosine, EarlyStopping, ReduceOnPlateau
from minifer.trained import DESCRIPTION, check_classes, read_description, start_from

END_SHIFT = 1 / 16  # of the side: how far the end phase moves pictures, by whole pixels

ROW = Record(epoch=Whole(1, 10**9), **dict.fromkeys(COLUMNS[1:], Maybe(Number(-1e300, 1e300))))


def build_augmentation(settings):
    """Return the Augmentation that a TrainConfig describes; raise ConfigError for a limit that is out of range."""
    names = {field.name for field in fields(Augmentation)} - {"whole"}
    return Augmentation(**{name: getattr(settings, name) for name in names})


def check_alike(train, val):
    """Raise DataError unless training and validation rows have the same classes, and pictures of one shape."""
    if tuple(train.classes) != tuple(val.classes):
        raise DataError(
            f"the training rows have the classes {', '.join(train.classes)}, the validation rows "
            f"{', '.join(val.classes)}: number the labels of both by one list of classes"
        )
    of_train, of_val = (" x ".join(map(str, rows.images.shape[1:])) for rows in (train, val))
    if of_train != of_val:
        raise DataError(
            f"the training pictures are {of_train}, the validation pictures {of_val}: give both in one size, and both "
            "in grey or both in colour"
        )


@dataclass
class Phase:
    """What the epochs of one part of a run train on."""

    batches: Batches
    loss: SoftmaxCrossEntropy
    dropout: bool = True


class Training:
    """One run: the model, what moves it, and where it stands.

    going_on    whether restore follows, which brings all weights: a file that the run started from may be gone by then
    """

    def __init__(self, settings, train, val, model=None, loss=None, ranks=ALONE, going_on=False):
        if model is not None and not is_target(settings.model):
            settings = config.replace(settings, model=own_name(model))
        config.check_together(settings)
        ranks.check(settings)
        try:
            check_products(settings.products)
        except ValueError as error:
            raise ConfigError(f"products={settings.products}: {error}: choose float32 for a new run") from error
        self.balanced = None  # rows per class before and after, kept, dropped and synthetic: see data.balance.counts
        rows = ranks.do_first(lambda: self._rows_to_use(settings, train, val)) or (None, None)
        train, val = (share_dataset(ranks, part) for part in rows)
        self.settings, self.train, self.val, self.ranks = settings, train, val, ranks
        self.own, self.own_loss = model, loss
        self.model = build_model(settings, train.input_shape, len(train.classes), model)
        if is_target(settings.model) and loss is None:
            check_output(self.model, settings.model, train.input_shape, len(train.classes))
        if settings.pretrained and not going_on:
            ranks.do_first(lambda: start_from(self.model, settings.pretrained))
        ranks.same_state(self.model)
        self.last_linear = last_linear(self.model, train.input_shape) if settings.calibrate else None
        if settings.freeze:
            freeze_body(self.model)
        self.model.require_input_gradient(False)
        self.network = fused(self.model)  # what a step goes through
        self.dropouts = {layer: layer.rate for _, layer in self.model.walk() if isinstance(layer, Dropout)}
        self.phases = self._phases()
        self.phase = self.phases[0]
        parameters = self.model.parameters(trainable_only=True)
        optimizer = Adam if settings.optimizer == "adam" else SGD
        self.optimizer = optimizer(parameters, settings.learning_rate, weight_decay=settings.weight_decay)
        self.schedule = self._schedule()
        self.average = Average(self.model, settings.average, flat=self.optimizer.flat) if settings.average else None
        self.stopping = EarlyStopping(settings.early_stopping or settings.epochs + 1, last=settings.keep == "last")
        self.epoch = self.step = 0  # epochs finished, and steps finished of the one after
        self.sums = {"loss": 0.0, "right": 0, "rows": 0, "seconds": 0.0}  # over the unfinished epoch
        self.rows = []  # one dict of COLUMNS for every finished epoch
        self.finished = False
        self.temperature = None  # that the weights in use have taken up, see minifer.calibration

    def _rows_to_use(self, settings, train, val):
        """Return the training and validation rows that the settings make of the data."""
        check_names(train.classes, "the training rows")  # else nobody could read the weights
        check_side(*train.images.shape[1:3], "the training rows")
        if not len(val):
            raise ConfigError("there are no validation rows, so nothing says which epoch is the best")
        check_alike(train, val)
        if settings.limit:
            # Every so-many-th row, so that a limited run sees all classes of a sorted archive.
            train = train.take(np.linspace(0, len(train) - 1, min(settings.limit, len(train))).astype(int))
        if settings.balance == "nearmiss-smote":
            from minifer.data import balance

            # The rows are a function of the data and the settings, so a resumed run finds the same ones.
            real, train = train, balance.balance(train, settings.seed)
            self.balanced = balance.counts(real, train)
        if settings.register:
            from minifer.faces.registration import registered

            train, val = registered(train), registered(val)
        return train, val

    @property
    def batches(self):
        """The Batches of the present phase; every phase has as many steps an epoch."""
        return self.phase.batches

    def _phases(self):
        """Return the main Phase and the end Phase.

        The end phase shows pictures as sharp as they will be used, with the labels as they are: what the main phase
        taught in spite of warps, erased parts and smoothed labels is fitted to them. It resamples nothing more than
        registration does.
        """
        s, train = self.settings, self.train
        counts = np.array(list(train.counts().values()))
        weights = len(train) / (len(counts) * np.maximum(counts, 1)) if s.balance == "weights" else None
        targets = train.soft
        if s.teacher:
            mixed = self.ranks.do_first(lambda: soft_labels(train, s.teacher.split(","), s.teacher_share))
            targets = self.ranks.share({"targets": mixed})[0]["targets"]
        sharp = Augmentation(s.flip, END_SHIFT, whole=True, rotation=0, zoom=0, brightness=0, contrast=0)
        main = Batches(train, s.batch_size, s.seed, augmentation=build_augmentation(s), targets=targets, mixup=s.mixup)
        end = Batches(train, s.batch_size, s.seed, augmentation=sharp, targets=train.soft)
        return (
            Phase(main, self.own_loss or SoftmaxCrossEntropy(s.label_smoothing, weights)),
            Phase(end, self.own_loss or SoftmaxCrossEntropy(0, weights), dropout=False),
        )

    def _schedule(self):
        s, steps = self.settings, len(self.batches)
        if s.schedule == "cosine":
            warmup = int(min(s.warmup, s.epochs / 2) * steps)
            return Cosine(s.learning_rate, s.epochs * steps, warmup, s.min_learning_rate)
        if s.schedule == "plateau":
            return ReduceOnPlateau(
                s.learning_rate, s.plateau_factor, s.plateau_patience, min_learning_rate=s.min_learning_rate
            )
        return Constant(s.learning_rate)

    # Steps and epochs.

    def run(self, observer, should_stop=lambda: False):
        """Train until the end, early stopping, or should_stop(); return whether the run is finished.

        observer.step(training) is called after every step, observer.epoch(training) after every epoch.
        """
        while not self.finished:
            self.phase = self.phases[self.epoch >= (1 - self.settings.end_phase) * self.settings.epochs]
            for layer, rate in self.dropouts.items():
                layer.rate = rate if self.phase.dropout else 0.0
            started = time.perf_counter() - self.sums["seconds"]
            for rows in self.batches.steps(self.epoch, self.step):
                self._step(rows)
                self.sums["seconds"] = time.perf_counter() - started
                observer.step(self)
                if self.ranks.any(should_stop()) and self.step < len(self.batches):
                    return False
            self._end_epoch()
            observer.epoch(self)
            if self.ranks.any(should_stop()):
                return self.finished
        return True

    def _step(self, rows):
        loss, right = self.gradients(rows, self.epoch, self.step)
        self.optimizer.learning_rate = self.schedule.learning_rate(self.epoch * len(self.batches) + self.step)
        self.optimizer.step()
        if self.average:
            self.average.update()
        self.sums["loss"] += loss * len(rows)
        self.sums["right"] += right
        self.sums["rows"] += len(rows)
        self.step += 1

    def gradients(self, rows, epoch, step):
        """Leave the gradients of a batch; return its loss and how many of its pictures are right."""
        if self.settings.batch_blocks > 1:
            return gradients(self, rows, epoch, step)
        return self.block_gradients(rows, epoch)

    def block_gradients(self, rows, epoch):
        """Leave the gradients of rows that go through the network together; return as gradients does."""
        x, targets = self.batches.read(rows, epoch)
        with products(self.settings.products):
            logits = self.network.forward(x, training=True)
            loss = float(self.phase.loss.forward(logits, targets, training=True))
            if not np.isfinite(loss):
                raise TrainingError(
                    f"training has diverged: the loss is {loss} at epoch {self.epoch + 1}, step {self.step + 1}: "
                    f"{first_bad_layer(self.model, x)}; try a lower --learning-rate"
                )
            self.network.backward(self.phase.loss.backward())
        labels = targets if targets.ndim == 1 else targets.argmax(axis=1)
        return loss, int((logits.argmax(axis=1) == labels).sum())

    def some_rows(self, count):
        """Return training rows in random order, the same ones each time, as a Dataset."""
        order = np.random.default_rng([SAMPLE, self.settings.seed]).permutation(len(self.train))
        return self.train.take(order[:count])

    @cached_property
    def unseen(self):
        """Rows of val whose picture has no copy in training: what is right there is not known by heart.

        None where the pictures are too small to be compared, and on the ranks that print nothing.
        """
        small = min(self.train.images.shape[1:3]) < SMALLEST
        return None if small or not self.ranks.first else unseen_rows(self.train, self.val)

    @cached_property
    def data_stamp(self):
        """Hashes of the training rows, with what a teacher says of them, and of the validation rows.

        Found once, though every epoch saves them.
        """
        taught = {"soft": self.phases[0].batches.targets} if self.settings.teacher else {}
        return replace(self.train, **taught).stamp(), self.val.stamp()

    def weights_in_use(self):
        """Return a context in which the model has the weights to be used: the averaged ones, if there is an average."""
        return self.average.applied() if self.average else nullcontext()

    def _end_epoch(self):
        sums, learning_rate = self.sums, self.optimizer.learning_rate
        with self.weights_in_use():
            if self.settings.recalibrate:
                recalibrate(self.model, self.some_rows(self.settings.recalibrate))
            sample = self.some_rows(len(self.val))
            plain = self.ranks.predict(self.model, sample).argmax(axis=1) == sample.labels
            probs = self.ranks.predict(self.model, self.val)
            if not np.isfinite(probs).all():
                raise TrainingError(
                    f"training has diverged: after epoch {self.epoch + 1} the answers on the validation rows are not "
                    "finite; try a lower --learning-rate"
                )
            right = probs.argmax(axis=1) == self.val.labels
            top1 = float(right.mean())
            stop = self.stopping.end_epoch(top1, self.model)
        if self.settings.calibrate and self.stopping.best_epoch == self.epoch:
            self.temperature = fit_temperature(probs, self.val.labels)
            take_up(self.stopping.best_state, self.last_linear, self.temperature)
        picked = probs[np.arange(len(probs)), self.val.labels]
        row = {
            "epoch": self.epoch + 1,
            "learning_rate": learning_rate,
            "train_loss": sums["loss"] / sums["rows"],
            "train_top1": sums["right"] / sums["rows"],
            "train_plain_top1": float(plain.mean()),
            "val_loss": float(-np.log(np.maximum(picked, 1e-12)).mean()),
            "val_top1": top1,
            "val_unseen_top1": self._top1_unseen(right),
            "seconds": round(sums["seconds"], 3),
            "pictures_per_second": round(sums["rows"] / max(sums["seconds"], 1e-9), 1),
        }
        self.rows.append(row)
        self.schedule.end_epoch(top1)
        self.epoch, self.step = self.epoch + 1, 0
        self.sums = {"loss": 0.0, "right": 0, "rows": 0, "seconds": 0.0}
        self.finished = stop or self.epoch >= self.settings.epochs

    def _top1_unseen(self, right):
        """Return how often val's pictures without a copy are right; None where there are none, or nobody knows."""
        return None if self.unseen is None or not len(self.unseen) else float(right[self.unseen].mean())

    # Saving and going on.

    def description(self):
        """Return what a weights file says about itself: enough to build the model again and to refuse other data."""
        shape = self.train.input_shape
        return {
            "config": config.to_dict(self.settings),
            "classes": list(self.train.classes),
            "image_shape": list(shape[:2] if shape[2] == 1 else shape),
        }

    def save(self, folder):
        """Write best.npz, then last.npz, then the table: a run cut off in between goes on from the older last."""
        if self.stopping.best_state is not None and self.step == 0 and self.stopping.best_epoch == self.epoch - 1:
            meta = {**self.description(), "epoch": self.epoch, "val_top1": self.stopping.best}
            meta["temperature"] = self.temperature
            checkpoint.save(folder / "best.npz", self.stopping.best_state, meta)
        arrays = {
            **_prefixed("model", self.model.state()),
            **_prefixed("optimizer", self.optimizer.state()),
            **(_prefixed("average", self.average.state()) if self.average else {}),
            **_prefixed("best", self.stopping.best_state or {}),
        }
        meta = {
            **self.description(),
            "epoch": self.epoch,
            "step": self.step,
            "sums": self.sums,
            "rows": self.rows,
            "finished": self.finished,
            "data": list(self.data_stamp),
            "temperature": self.temperature,
            "schedule": self.schedule.state(),
            "stopping": self.stopping.state(),
            "generators": {path: rng.bit_generator.state for path, rng in self._generators()},
        }
        checkpoint.save(folder / "last.npz", arrays, meta)
        write_metrics(folder, self.rows)

    def restore(self, folder):
        """Go on from last.npz of a run folder.

        Raises     CheckpointError when anything in it is not as save would have written it for this run
        """
        path = folder / "last.npz"
        arrays, meta = self.ranks.share(*self.ranks.do_first(lambda: checkpoint.load(path)) or ())
        check_classes(read_description(meta, path)[1], self.train.classes, path)
        wanted = {
            "epoch": Whole(0, self.settings.epochs),
            "step": Whole(0, len(self.batches) - 1),
            "sums": like(self.sums),
            "rows": Several(ROW, least=0, most=self.settings.epochs),
            "finished": Switch(),
            "data": Several(Text(), least=2, most=2),
            "temperature": DESCRIPTION["temperature"],
            "schedule": like(self.schedule.state()),
            "stopping": like(self.stopping.state()),
            "generators": Record(**{layer_path: Record() for layer_path, _ in self._generators()}),
        }
        saved, best = checked_fields(meta, wanted, path, CheckpointError), _without_prefix("best", arrays)
        if saved["data"] != self.data_stamp:
            raise CheckpointError(
                f"{path}: the data is not what this run was begun with, or its --teacher says something else: give "
                "what it was with --data, restore the teacher's table, or train anew with --out"
            )
        if len(saved["rows"]) != saved["epoch"] or bool(saved["step"]) != bool(saved["sums"]["rows"]):
            raise CheckpointError(f"{path} is damaged: its epoch, step and rows contradict each other")
        with guarded(path, CheckpointError, checkpoint.REMEDY):
            self.model.load_state(_without_prefix("model", arrays), str(path))
            self.optimizer.load_state(_without_prefix("optimizer", arrays))
            if self.average:
                self.average.load_state(_without_prefix("average", arrays))
            if best or meta["stopping"]["best_epoch"] is not None:
                self.model.check_state(best, f"{path}, its best epoch,")
            for layer_path, rng in self._generators():
                rng.bit_generator.state = meta["generators"][layer_path]
        self.schedule.load_state(meta["schedule"])
        self.stopping.load_state(meta["stopping"])
        self.stopping.best_state = best or None
        self.epoch, self.step, self.sums = meta["epoch"], meta["step"], meta["sums"]
        self.rows, self.finished = list(saved["rows"]), meta["finished"]
        self.temperature = saved["temperature"]

    def _generators(self):
        """Yield (path, numpy Generator) of every layer that draws random numbers; a layer's `rng` goes by its name."""
        for path, rng in self.model.generators().items():
            yield path.removesuffix(".rng"), rng


class Observer:
    """Watches a run and does nothing; subclasses show progress and save."""

    def step(self, training):
        """Called after every step."""

    def epoch(self, training):
        """Called after every epoch."""


def fit(
    settings: config.TrainConfig,
    train: Dataset,
    val: Dataset,
    observer: "Observer | None" = None,
    model: Own | None = None,
    loss: Layer | None = None,
) -> Training:
    """Train on Datasets in memory and return the finished Training, its model with the weights of the best epoch.

    model      a network of one's own in place of MobileNet, see minifer.networks: a function of (input_shape, classes,
               rng) that returns a Layer, the name of one (file.py:function), or a Layer, which is trained as it is
    loss       in place of the softmax cross-entropy, with whatever that knows of label smoothing and class weights: a
               Layer of (logits, targets); targets (N,) int64 are the labels, or with mixup, a teacher or soft labels
               (N,classes) float32

    >>> from minifer.data import synthetic
    >>> faces = synthetic.load(seed=0, train=32, val=8)
    >>> settings = config.replace(config.PRESETS["demo"], epochs=1, warmup=0.0, batch_size=8)
    >>> training = fit(settings, faces["train"], faces["val"])
    >>> len(training.rows)
    1
    """
    training = Training(settings, train, val, model, loss)
    training.run(observer or Observer())
    training.stopping.restore(training.model)
    return training


def _prefixed(prefix, arrays):
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def _without_prefix(prefix, arrays):
    return {name.removeprefix(f"{prefix}/"): array for name, array in arrays.items() if name.startswith(f"{prefix}/")}


def first_bad_layer(model, x):
    """Say which array or layer is the first that is not finite when the model sees x."""
    for path, parameter in model.parameters().items():
        if not np.isfinite(parameter.value).all():
            return f"{path} is not finite, the step before broke it"
    bad, layers = [], dict(model.walk())

    def note(path, forward, *inputs, **how):
        y = forward(*inputs, **how)
        if not np.isfinite(y).all():
            bad.append(f"{path} ({type(layers[path]).__name__})")
        return y

    with around_forward(layers.items(), note):
        model.forward(x, training=True)
    return f"the first layer whose output is not finite is {bad[0]}" if bad else "every layer's output is finite"
