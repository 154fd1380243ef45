"""Small training runs, and the command line called in this process: what several tests share."""

import numpy as np

from minifer import config
from minifer.cli import main
from minifer.training import Observer

TINY = config.TrainConfig(
    model="mha", alpha=1 / 16, attention_blocks=(12, 13), heads=2, head_units=4, epochs=3, batch_size=16,
    schedule="cosine", warmup=0.5, average=0.9, dropout=0.2, erasing=0.5, mixup=0.3, label_smoothing=0.1,
    end_phase=0.34, calibrate=True,
)  # fmt: skip
SHORT = config.TrainConfig(model="plain", alpha=1 / 16, epochs=1, batch_size=24, schedule="constant")


def flags(settings):
    """Return TINY as flags of the command line."""
    for name, value in config.to_dict(settings).items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            yield f"--{flag}" if value else f"--no-{flag}"
        elif value != "":  # no path: the flag is not given
            yield f"--{flag}={','.join(map(str, value)) if isinstance(value, tuple) else value}"


def run(capsys, *arguments):
    """Return (exit code, stdout, stderr); argparse's own exits count as exit codes."""
    try:
        code = main([str(a) for a in arguments])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


class Silent(Observer):
    """Counts the steps, and saves after every epoch if it has a folder."""

    def __init__(self, folder=None):
        self.folder, self.steps = folder, 0

    def step(self, training):
        self.steps += 1

    def epoch(self, training):
        if self.folder:
            training.save(self.folder)


def everything(training):
    """Return every array that decides the rest of the run."""
    return {**training.model.state(), **training.optimizer.state(), **training.average.state()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
