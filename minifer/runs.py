"""A training run in its folder: carried to its end with everything saved on the way, then evaluated."""

import sys
from pathlib import Path

from minifer.errors import ConfigError
from minifer.evaluation import evaluate_weights
from minifer.files import claimed, make_folder
from minifer.output import log
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
from minifer.training import Observer, Training


def run_to_end(training, folder):
    """Run the training, saving after every epoch and when interrupted; return whether it is finished."""
    with noted() as signals:
        if not training.ranks.first:
            return training.run(Observer(), lambda: bool(signals))
        observer = Progress(training, folder)
        try:
            finished = training.run(observer, lambda: bool(signals))
        finally:
            observer.close()
        if not finished:
            training.save(folder)
    return finished


def evaluate_best(training, folder):
    """Draw a finished run's curves, measure its best weights on the validation split, write and return the result."""
    from minifer.report.figures import draw_curves

    draw_curves(training.rows, folder / "curves.png")
    result, probs = evaluate_weights(folder / "best.npz", training.val, "val", model=training.own)
    write_evaluation(folder, result, probs, training.val)
    return result


def train_once(folder, settings, data):
    """Return (evaluation, training loss of each epoch) of a run: from its folder if it is finished, else train it."""
    with claimed(make_folder(folder)):
        return train_claimed(Path(folder), settings, data)


def train_claimed(folder, settings, data):
    """As train_once, in a folder that is there for this run alone."""
    if not holds_run(folder):
        write_settings(folder, settings, None)
    elif read_settings(folder)[0] != settings:
        raise ConfigError(f"{folder} was trained with other settings: delete it, or choose another --out")
    if not is_evaluated(folder):
        log(f"          {folder.name}: {settings.model}, at most {settings.epochs} epochs")
        training = Training(settings, data["train"], data["val"])
        if (folder / "last.npz").exists():
            training.restore(folder)
        if not run_to_end(training, folder):
            log("interrupted and saved: the same command goes on")
            raise KeyboardInterrupt
        evaluate_best(training, folder)
        (folder / "last.npz").unlink()  # only needed to go on
    return read_evaluation(folder), read_losses(folder)


class Progress:
    """An observer that shows a bar on a terminal, plain lines otherwise, and saves after every epoch."""

    def __init__(self, training, folder):
        self.folder, self.bar = folder, None
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
        training.save(self.folder)
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
