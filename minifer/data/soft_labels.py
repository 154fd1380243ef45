"""Soft labels: what another network says of the training pictures, mixed into their labels (distillation)."""

import numpy as np

from minifer.data.predictions import REMEDY, read_predictions
from minifer.errors import ConfigError, DataError
from minifer.files import printable


def soft_labels(dataset, teachers, share):
    """Return (1 - share) * the labels + share * the mean probabilities that the teachers give.

    The labels are what the data set aims at without a teacher: its soft labels, or else its labels as one-hot rows.

    A label is one person's answer; the teacher's probabilities say which other answers are near. Teacher and student
    may well be of one size (Furlanello et al., Born again neural networks, 2018).

    teachers       paths of predictions.csv, each written by `minifer evaluate TEACHER --split train --out DIR`
    Shapes         (N,K) float32, rows of sum 1
    Raises         DataError when the file cannot be read, is of other classes, or lacks a row of the data set;
                   ConfigError when share is not a share
    Source         Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, 2015
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"teacher_share is {share}, choose 0 to 1")
    said = np.mean([probabilities_of(dataset, path) for path in teachers], axis=0)
    labels = np.eye(len(dataset.classes), dtype=np.float32)[dataset.labels] if dataset.soft is None else dataset.soft
    return (1 - np.float32(share)) * labels + np.float32(share) * said


def probabilities_of(dataset, predictions):
    """Return what a predictions.csv says of each row of the data set: (N,K) float32, rows of sum 1."""
    said = read_predictions(predictions, dataset.classes)
    names = [printable(name) for name in dataset.names]  # as they stand in the table
    missing = [name for name in names if name not in said]
    if missing:
        raise DataError(
            f"{predictions}: no row for {missing[0]} and {len(missing) - 1} more training pictures: {REMEDY} from the "
            "data to be trained on; if that has no validation rows, give teacher and student one --seed and --val-share"
        )
    teacher = np.array([said[name].probabilities for name in names], np.float32)
    totals = teacher.sum(axis=1, keepdims=True)
    wrong = np.flatnonzero(~(np.isfinite(totals[:, 0]) & (teacher.min(axis=1) >= 0) & (totals[:, 0] > 0)))
    if len(wrong):
        raise DataError(
            f"{predictions}, row {dataset.names[wrong[0]]}: probabilities are finite, at least 0, not all 0"
        )
    return teacher / totals
