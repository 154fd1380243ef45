"""Wrong answers to the exercises, as students give them: the worked solution with one line changed.

    (exercise, what stands in the solution, what the student wrote, tests that fail, what one of them says)

What stands there is replaced wherever it stands. The tests that fail cost their points, the others earn theirs.
"""

FORWARD, GRADIENTS = "test_forward", "test_gradients"
OTHER_SIZE, ONE_TOKEN = "test_gradients_of_another_size", "test_gradients_of_one_token"
FIRST, FIVE, ARGUMENTS = "test_first_step", "test_five_steps", "test_arguments_are_left_alone"
EXAMPLE, MANY = "test_the_example", "test_many_epochs"
STEP = "m_hat / (s_hat**0.5 + eps)"
RESET = "self.best, self.waited = metric, 0\n"

WRONG_ANSWERS = [
    # Forward is wrong and backward right for the right forward: both tests fail, and the second says why.
    ("depthwise", "y += padded", "y = padded", {FORWARD, GRADIENTS}, "only the last tap counts: = where"),
    ("depthwise", "        self.save(training, padded)\n        return y",
     "            self.save(training, padded)\n            return y", {FORWARD, GRADIENTS},
     "only the first tap counts"),
    ("depthwise", "height, v : v + width] * self.weight.value[u, v]\n        self",
     "height, v : v + width] * self.weight.value[2 - u, 2 - v]\n        self", {FORWARD, GRADIENTS}, "rotated by 180"),
    ("depthwise", "y += padded[:, u : u + height, v : v + width] * self.weight.value[u, v]",
     "y += padded[:, u : u + height, v : v + width] * self.weight.value[v, u]", {FORWARD, GRADIENTS}, "swapped"),
    ("depthwise", "((0, 0), (1, 1), (1, 1), (0, 0))", "((0, 0), (0, 2), (0, 2), (0, 0))", {FORWARD, GRADIENTS},
     "all at the bottom and right"),
    ("depthwise", "+= padded[:, u : u + height, v : v + width] * self.weight.value[u, v]",
     "+= padded[:, u : u + height, v : v + width] * self.weight.value[u, v, 0]", {FORWARD, GRADIENTS},
     "every channel uses the filter of channel 0"),
    ("depthwise", "np.ndindex(3, 3):\n            y", "np.ndindex(2, 3):\n            y", {FORWARD, GRADIENTS},
     "the last row of taps is left out"),
    ("depthwise", "np.ndindex(3, 3):\n            y", "((1, 1), (2, 2)):\n            y", {FORWARD, GRADIENTS},
     "forward is wrong as well"),
    ("depthwise", "            y +=", "            if (u, v) != (0, 1):\n                y +=", {FORWARD, GRADIENTS},
     r"the tap weight\[0,1\] is left out"),
    # Backward alone.
    ("depthwise", "dpadded[:, 1:-1, 1:-1]", "dpadded[:, 2:, 2:]", {GRADIENTS}, "shifted by one along axes 1 and 2"),
    ("depthwise", "dpadded[:, 1:-1, 1:-1]", "dpadded", {GRADIENTS}, "shape"),
    ("depthwise", "v : v + width] += dy", "v : v + width] = dy", {GRADIENTS}, "dx"),
    ("depthwise", "dy * self.weight.value[u, v]", "dy * self.weight.value[2 - u, 2 - v]", {GRADIENTS}, "flipped"),
    ("depthwise", ".sum(axis=(0, 1, 2))", ".mean(axis=(0, 1, 2))", {GRADIENTS}, "40 times too small"),
    ("depthwise", ".sum(axis=(0, 1, 2))", "[0].sum(axis=(0, 1))", {GRADIENTS}, "weight"),
    ("batchnorm", "inv_std * (dx_hat - through_mean - through_variance)", "inv_std * dx_hat", {GRADIENTS, OTHER_SIZE},
     "mean and the variance are treated as constants"),
    ("batchnorm", " - through_variance)", ")", {GRADIENTS, OTHER_SIZE}, "is missing: inv_std"),
    ("batchnorm", "through_mean - through_variance", "through_mean + through_variance", {GRADIENTS, OTHER_SIZE}, "dx"),
    ("batchnorm", "dx_hat = dy * self.gamma.value", "dx_hat = dy", {GRADIENTS, OTHER_SIZE}, "gamma"),
    ("batchnorm", "return inv_std * (", "return (", {GRADIENTS, OTHER_SIZE}, "std"),
    ("batchnorm", "(dy * x_hat).sum(axis=0)", "(dy * x_hat).mean(axis=0)", {GRADIENTS, OTHER_SIZE},
     "6 times too small"),
    ("batchnorm", "self.beta.grad = dy.sum(axis=0)", "self.beta.grad = dy.sum()", {GRADIENTS, OTHER_SIZE}, "shape"),
    ("attention", "dscores = dscores / np.sqrt(query.shape[-1])", "pass", {GRADIENTS},
     r"divide by the root of 3.*1 / sqrt\(D\)"),
    ("attention", "(dprobs * probs).sum(axis=-1, keepdims=True)", "(dprobs * probs).sum(axis=1, keepdims=True)",
     {GRADIENTS}, "dx0|query"),
    ("attention", "probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))", "probs * dprobs",
     {GRADIENTS, ONE_TOKEN}, "query|dx0"),
    ("attention", "probs.swapaxes(1, 2) @ dy", "probs @ dy", {GRADIENTS}, "transposed"),
    ("attention", "dscores @ key, dscores.swapaxes(1, 2) @ query", "dscores @ key, dscores @ query", {GRADIENTS},
     "transposed"),
    ("attention", "dscores @ key, dscores.swapaxes(1, 2) @ query", "dscores.swapaxes(1, 2) @ query, dscores @ key",
     {GRADIENTS}, "swapped"),
    ("adam", "m_hat = mean / (1 - beta1**step)\n    s_hat = square / (1 - beta2**step)", "m_hat, s_hat = mean, square",
     {FIRST, FIVE}, r"the corrections 1 - beta\^step are missing"),
    ("adam", "m_hat = mean / (1 - beta1**step)", "m_hat = mean", {FIRST, FIVE}, "the correction of mean"),
    ("adam", "s_hat = square / (1 - beta2**step)", "s_hat = square", {FIRST, FIVE}, "the correction of square"),
    ("adam", STEP, "m_hat / (s_hat + eps)", {FIRST, FIVE}, "the root is missing"),
    ("adam", STEP, "m_hat / (s_hat + eps) ** 0.5", {FIRST, FIVE}, "eps is added under the root"),
    ("adam", STEP, "m_hat / s_hat**0.5", {FIRST, FIVE}, "eps is missing"),
    ("adam", "* grad**2", "* grad", {FIRST, FIVE}, "the gradient is not squared"),
    ("adam", "value - learning_rate", "value + learning_rate", {FIRST, FIVE}, "it goes uphill"),
    ("adam", "**step)", "**(step + 1))", {FIRST, FIVE}, "step counts from 1"),
    ("adam", "    mean = beta1 * mean +", "    mean *= beta1\n    mean +=", {ARGUMENTS}, "changed its argument mean"),
    ("adam", "eps), mean, square", "eps), m_hat, s_hat", {FIRST, FIVE}, "the hats are kept"),
    ("plateau", "self.waited >= self.patience", "self.waited > self.patience", {EXAMPLE, MANY}, "one epoch too late"),
    ("plateau", "self.waited >= self.patience", "self.waited >= self.patience - 1", {EXAMPLE, MANY}, "too early"),
    ("plateau", "metric > self.best", "metric >= self.best", {EXAMPLE, MANY}, "an equal metric counts"),
    ("plateau", "metric > self.best", "metric < self.best", {EXAMPLE, MANY}, "less counts as better"),
    ("plateau", "        self.waited = 0 ", "        pass", {MANY}, "not set back at a reduction"),
    ("plateau", "        self.waited = 0 ", "        self.best, self.waited = None, 0", {MANY},
     "the best is forgotten"),
    ("plateau", "max(self.learning_rate * self.factor, self.min_learning_rate)", "self.learning_rate * self.factor",
     {MANY}, "falls below min_learning_rate"),
    ("plateau", RESET, "self.best = metric\n", {MANY}, "have to be in a row"),
    ("plateau", "self.waited += 1", "self.best, self.waited = metric, self.waited + 1", {MANY},
     "the one before instead of the best"),
    ("crossentropy", "labels].mean()", "labels].sum()", {FORWARD, GRADIENTS, "test_large_logits"},
     "sum over the batch"),
    ("crossentropy", "return -log_probs", "return log_probs", {FORWARD, GRADIENTS, "test_large_logits"}, "the sign"),
    ("crossentropy", "np.exp(shifted).sum(axis=1, keepdims=True)", "np.exp(shifted).sum(axis=0, keepdims=True)",
     {FORWARD, GRADIENTS, "test_large_logits"}, "forward is wrong as well"),
    ("crossentropy", "shifted = logits - logits.max(axis=1, keepdims=True)", "shifted = logits", {"test_large_logits"},
     "exp or log has run over"),
    ("crossentropy", "(probs - one_hot) / len(labels) * dloss", "(probs - one_hot) * dloss", {GRADIENTS},
     "5 times too large"),
    ("crossentropy", " * dloss", "", {GRADIENTS}, "a constant factor"),
    ("crossentropy", "(probs - one_hot)", "(one_hot - probs)", {GRADIENTS}, "sign"),
    ("crossentropy", "(probs - one_hot)", "probs", {GRADIENTS}, "is missing: one_hot"),
    ("crossentropy", "(probs - one_hot)", "-one_hot / probs", {GRADIENTS}, "other terms"),
    ("squeeze", "x.mean(axis=(1, 2))", "x.sum(axis=(1, 2))", {FORWARD, GRADIENTS}, "the sum over the positions"),
    ("squeeze", "np.maximum(mean @ self.reduce.value, 0)", "mean @ self.reduce.value", {FORWARD, GRADIENTS},
     "the ReLU after reduce is missing"),
    ("squeeze", "1 / (1 + np.exp(-hidden @ self.expand.value))", "hidden @ self.expand.value", {FORWARD, GRADIENTS},
     "the sigmoid is missing"),
    ("squeeze", "return x * gate", "return x + gate", {FORWARD, GRADIENTS}, "the gate is added"),
    ("squeeze", " + dmean[:, None, None] / (x.shape[1] * x.shape[2])", "", {GRADIENTS}, "dx"),
    ("squeeze", " / (x.shape[1] * x.shape[2])", "", {GRADIENTS}, "dx"),
    ("squeeze", " * gate * (1 - gate)", "", {GRADIENTS}, "expand"),
    ("squeeze", " * (hidden > 0)", "", {GRADIENTS}, "reduce"),
    ("squeeze", "(dy * x).sum", "dy.sum", {GRADIENTS}, "expand"),
    ("squeeze", "dgate = (dy * x).sum(axis=(1, 2))", "dgate = (dy * x).mean(axis=(1, 2))", {GRADIENTS}, "20"),
]  # fmt: skip


def answer(solution, right, wrong):
    """Return a solution's text with a student's line in it."""
    assert right in solution, f"{right!r} does not stand in the solution"
    return solution.replace(right, wrong)
