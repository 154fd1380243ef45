"""Exercise 6: softmax and cross-entropy, forward and backward: the loss that a classifier makes small.

    probs[n,:] = softmax(logits[n,:]) = exp(logits[n,:]) / sum_c exp(logits[n,c])
    loss       = -1/N sum_n log probs[n, labels[n]]

    Shapes     logits, dlogits (N,C)   labels (N,), integers 0 to C-1   loss, dloss ()

A network that gives the right class the probability 1 has the loss 0. One that knows nothing and says 1/C has log C.

Check as you go, in this folder:

    pytest test_crossentropy.py

Hints
1. probs[np.arange(N), labels] picks one number from each row.
2. exp(1000) is inf. Adding the same number to all logits of a row changes no probability: take the row's largest away
   first. And log(exp(a) / s) = a - log(s) needs no logarithm of a probability that was rounded to 0.
3. dlogits: on paper, the derivative of log s is the softmax itself. Each row ends as what the network says minus what
   is true, (probs - one_hot) / N, times dloss.
"""

import numpy as np

from minifer.layers import Layer


class SoftmaxCrossEntropy(Layer):
    """The mean cross-entropy of a batch."""

    def forward(self, logits, labels, training=False):
        ### BEGIN SOLUTION: return the loss, one number, and keep what backward needs (hints 1 and 2)
        # The largest logit becomes 0, so that exp cannot overflow, and the sum is at least 1, so that log can't either.
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        self.save(training, np.exp(log_probs), labels)
        return -log_probs[np.arange(len(labels)), labels].mean()
        ### END SOLUTION

    def backward(self, dloss=1.0):
        ### BEGIN SOLUTION: return dlogits; labels are integers and have no gradient (hint 3)
        # loss = -1/N sum_n (logits[n,label] - log sum_c exp(logits[n,c])). The first term gives -1/N at the label, the
        # second gives the softmax / N everywhere. Each row adds up to 0: only differences of logits count.
        probs, labels = self.saved()
        one_hot = np.zeros_like(probs)
        one_hot[np.arange(len(labels)), labels] = 1
        return (probs - one_hot) / len(labels) * dloss
        ### END SOLUTION
