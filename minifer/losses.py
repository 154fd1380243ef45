"""What training makes small."""

import numpy as np

from minifer.errors import ConfigError, DataError, TrainingError
from minifer.kernels.activation import softmax_forward
from minifer.layers.base import Layer


class SoftmaxCrossEntropy(Layer):
    """Softmax and cross-entropy in one: their gradients together are simple and cannot overflow.

    Forward    q = targets, as one-hot rows if they are integer labels;  q' = (1 - smoothing) * q + smoothing / C
               s[n] = sum_c q[n,c] * class_weights[c]        (1 without class weights)
               loss = sum_n s[n] * ( -sum_c q'[n,c] log softmax(logits)[n,c] ) / sum_n s[n]
    Backward   dlogits[n,c] = s[n] / sum s * ( softmax(logits)[n,c] * sum_c q' - q'[n,c] ) * dloss
    Shapes     logits (N,C)   targets (N,) integers or (N,C) floats of row sum 1   loss ()
    Saved      dlogits for dloss = 1
    Raises     DataError when a label is outside 0..C-1, ConfigError when a setting is out of range
    Source     Bridle, 1990; label smoothing: Szegedy et al., 2016
    """

    def __init__(self, label_smoothing=0.0, class_weights=None):
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"label smoothing must be at least 0 and below 1, got {label_smoothing}")
        if class_weights is not None and not np.all(np.asarray(class_weights) > 0):
            raise ConfigError(f"class weights must be positive, got {class_weights}")
        self.label_smoothing, self.class_weights = label_smoothing, class_weights

    def forward(self, logits, targets, training=False):
        logits = self.check_input(logits, "NC")
        soft = self.soft_targets(np.asarray(targets), logits)
        weights = np.ones(len(logits), logits.dtype)
        if self.class_weights is not None:
            if np.shape(self.class_weights) != logits.shape[1:]:
                raise ConfigError(f"class weights {self.class_weights} do not fit logits of shape {logits.shape}")
            weights = soft @ np.asarray(self.class_weights, logits.dtype)
        weights = weights / weights.sum()
        smooth = soft * (1 - self.label_smoothing) + self.label_smoothing / logits.shape[1]
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        loss = -(weights @ (smooth * log_probs).sum(axis=1))
        dlogits = (np.exp(log_probs) * smooth.sum(axis=1, keepdims=True) - smooth) * weights[:, None]
        self.save(training, dlogits.astype(logits.dtype))
        return np.asarray(loss, logits.dtype)

    def backward(self, dy=1.0):
        """Return dlogits for dy = dloss, which is 1 at the end of a network."""
        (dlogits,) = self.saved()
        return dlogits * dlogits.dtype.type(dy)

    @staticmethod
    def soft_targets(targets, logits):
        """Return targets as rows (N,C) of probabilities."""
        batch, classes = logits.shape
        if targets.ndim == 2:
            if targets.shape != logits.shape:
                raise DataError(f"soft labels of shape {targets.shape} do not fit logits of shape {logits.shape}")
            return targets.astype(logits.dtype)
        if targets.shape != (batch,) or not np.issubdtype(targets.dtype, np.integer):
            raise DataError(f"labels are {batch} integers, got {targets.dtype} of shape {targets.shape}")
        if targets.min() < 0 or targets.max() >= classes:
            wrong = targets[(targets < 0) | (targets >= classes)][0]
            raise DataError(f"label {wrong} is not one of the {classes} classes 0..{classes - 1}")
        return np.eye(classes, dtype=logits.dtype)[targets]


def probabilities(logits):
    """Return softmax(logits) (N,C).

    Raises     TrainingError when a logit is not finite: there is nothing true that could be returned
    """
    if not np.isfinite(logits).all():
        raise TrainingError(
            "the network's output is not finite: its weights are too large, train it at a lower --learning-rate"
        )
    return softmax_forward(np.ascontiguousarray(logits))
