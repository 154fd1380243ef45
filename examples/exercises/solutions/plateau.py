"""Exercise 5: lower the learning rate when training stands still.

After every epoch comes a metric, such as the accuracy; more is better.

    An epoch improves if its metric is greater than the best so far.
    When `patience` epochs in a row have not improved, the rate is multiplied by `factor`, and the counting begins anew.
    The rate never falls below `min_learning_rate`.

With patience 2, factor 0.5 and the metrics 0.5, 0.6, 0.6, 0.4, 0.7 the rates after the epochs are 1, 1, 1, 0.5, 0.5.

Check as you go, in this folder:

    pytest test_plateau.py

Hints
1. Two numbers have to be remembered from epoch to epoch: self.best and self.waited.
2. The first epoch always improves: there is no best yet.
3. A reduction sets self.waited back to 0, but not self.best.
"""


class ReduceOnPlateau:
    """A schedule; self.learning_rate is the rate of the next epoch."""

    def __init__(self, learning_rate, factor=0.5, patience=2, min_learning_rate=0.0):
        self.learning_rate, self.min_learning_rate = learning_rate, min_learning_rate
        self.factor, self.patience = factor, patience
        self.best, self.waited = None, 0

    def end_epoch(self, metric):
        """Count the epoch; change self.learning_rate when patience has run out."""
        if self.best is None or metric > self.best:  # only a greater metric improves; an equal one has waited
            self.best, self.waited = metric, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.learning_rate = max(self.learning_rate * self.factor, self.min_learning_rate)
            self.waited = 0  # the best stays: it is still the mark to beat
