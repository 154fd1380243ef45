"""A training run in its folder: carried to its end with everything saved on the way, then evaluated."""

import sys
from pathlib import Path

from minifer import config
from minifer.errors import ConfigError
from minifer.evaluation import evaluate_weights
from minifer.files import claimed, make_folder, user_path
from minifer.jobs import run_jobs
from minifer.output import log
from minifer.own_code import is_target
from minifer.process import noted
from minifer.run_folder import (
    holds_run,
    is_evaluated,
    read_evaluation,
    read_losses,
    read_settings,
    write_evaluation,
    write_settings,
)
from minifer.trained import find_weights
from minifer.training import Observer, Training

ABOUT_DATA = ("labels", "colour", "size", "classes", "merge", "val_share")  # settings that drawn faces do not follow


def begun(settings):
    """Return the TrainConfig that a run keeps: its paths mean the same in whatever folder the run goes on.

    Raises     ConfigError when settings contradict each other, or there are no weights of a name
    """
    config.check_together(settings)
    paths = {}
    if settings.pretrained:
        paths["pretrained"] = str(find_weights(user_path(settings.pretrained)).resolve())
    if settings.teacher:
        paths["teacher"] = ",".join(str(Path(user_path(path)).resolve()) for path in settings.teacher.split(","))
    if settings.labels:
        paths["labels"] = str(Path(user_path(settings.labels)).resolve())
    return config.replace(settings, **paths)


def read_rows(path, settings):
    """Return the training and the validation Dataset of a run: what is at a path, or drawn faces if it is None."""
    if path is None:
        from minifer.data import synthetic

        if given := [name for name in ABOUT_DATA if getattr(settings, name)]:
            raise ConfigError(
                f"--{given[0].replace('_', '-')} is about pictures that are read, and without --data faces are drawn: "
                "give --data, or leave it out"
            )
        splits = synthetic.load(settings.seed)
    else:
        from minifer.reading import Reading, load

        splits = load(path, Reading.of(settings), needed=("train", "val"))
    return splits["train"], splits["val"]


def run_to_end(training, folder, quiet=False):
    """Run the training, saving after every epoch and when interrupted; return (finished, signals that came)."""
    with noted() as signals:
        if not training.ranks.first:
            return training.run(Observer(), lambda: bool(signals)), signals
        observer = Saving(folder) if quiet else Progress(training, folder)
        try:
            finished = training.run(observer, lambda: bool(signals))
        finally:
            observer.close()
        if not finished:
            training.save(folder)
    return finished, signals


def evaluate_best(training, folder):
    """Draw a finished run's curves, measure its best weights on the validation split, write and return the result."""
    from minifer.report.figures import draw_curves

    draw_curves(training.rows, folder / "curves.png")
    result, probs = evaluate_weights(folder / "best.npz", training.val, "val", model=training.own)
    write_evaluation(folder, result, probs, training.val)
    return result


def train_once(folder, settings, data, noted_data=None, quiet=False):
    """Return (evaluation, training loss of each epoch) of a run: from its folder if it is finished, else train it.

    data          the path of its data, or None for drawn faces
    noted_data    the path that config.json keeps: none where the data lies in a folder that may be moved as a whole
    quiet         say nothing meanwhile, where several runs go on at a time
    """
    with claimed(make_folder(folder)):
        return train_claimed(Path(folder), settings, data, noted_data, quiet)


def train_claimed(folder, settings, data, noted_data, quiet):
    """As train_once, in a folder that is there for this run alone."""
    check_same(folder, settings, noted_data)
    if not holds_run(folder):
        write_settings(folder, settings, noted_data)
    if not is_evaluated(folder):
        if not quiet:
            log(f"          {folder.name}: {settings.model}, at most {settings.epochs} epochs")
        own = settings.model if is_target(settings.model) else None  # the caller names it, not a file
        going_on = (folder / "last.npz").exists()
        training = Training(settings, *read_rows(data, settings), own, going_on=going_on)
        if going_on:
            training.restore(folder)
        finished, signals = run_to_end(training, folder, quiet)
        if finished:
            evaluate_best(training, folder)
            (folder / "last.npz").unlink()  # only needed to go on
        elif not quiet:
            log("interrupted and saved: the same command goes on")
        if signals:  # also one that came in the last epoch: this run is whole, and no other begins
            raise KeyboardInterrupt
    return read_evaluation(folder), read_losses(folder)


def check_same(folder, settings, noted_data):
    """Raise ConfigError when a folder holds a run of other settings or data."""
    if holds_run(folder) and read_settings(folder) != (settings, noted_data and str(Path(noted_data).resolve())):
        raise ConfigError(f"{folder} was trained with other settings or data: delete it, or choose another --out")


def train_all(runs, jobs=1, scheduler=None):
    """Return train_once of every (folder, settings, path of the data), in their order; several go on at a time."""
    runs = [(folder.resolve(), settings, data.resolve(), None) for folder, settings, data in runs]
    waiting = [run for run in runs if not is_evaluated(run[0])]
    quiet = bool(scheduler) or min(jobs, len(waiting)) > 1
    for number, (result, _) in run_jobs(train_once, [(*run, quiet) for run in waiting], jobs, scheduler):
        if quiet:
            log(f"          {waiting[number][0].name}: top-1 {100 * result['top1']:.2f} %")
    return [train_once(*run) for run in runs]


class Saving(Observer):
    """An observer that saves after every epoch."""

    def __init__(self, folder):
        self.folder = folder

    def epoch(self, training):
        training.save(self.folder)

    def close(self):
        """Nothing is open."""


class Progress(Saving):
    """Also shows a bar on a terminal, plain lines otherwise."""

    def __init__(self, training, folder):
        super().__init__(folder)
        self.bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            steps = len(training.batches)
            self.bar = tqdm(total=training.settings.epochs * steps, initial=training.epoch * steps + training.step)

    def step(self, training):
        """Move the bar."""
        if self.bar is not None:
            self.bar.update()
            sums = training.sums
            self.bar.set_description(
                f"epoch {training.epoch + 1} loss {sums['loss'] / sums['rows']:.3f}", refresh=False
            )

    def epoch(self, training):
        """Save, and write one line."""
        super().epoch(training)
        row = training.rows[-1]
        line = (
            f"epoch {row['epoch']:3d}/{training.settings.epochs}  loss {row['train_loss']:.4f}  "
            f"top-1 {100 * row['train_top1']:5.2f} %  val loss {row['val_loss']:.4f}  "
            f"val top-1 {100 * row['val_top1']:5.2f} %  rate {row['learning_rate']:.2e}  {row['seconds']:.1f} s  "
            f"{row['pictures_per_second']:.0f} pictures/s"
        )
        if self.bar is None:
            log(line)
        else:
            self.bar.write(line, file=sys.stderr)

    def close(self):
        """Leave the terminal as it was."""
        if self.bar is not None:
            self.bar.close()
