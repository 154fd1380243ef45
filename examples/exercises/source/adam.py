"""Exercise 4: one step of Adam.

    mean   <- beta1 * mean   + (1 - beta1) * grad               m_hat = mean   / (1 - beta1^step)
    square <- beta2 * square + (1 - beta2) * grad^2             s_hat = square / (1 - beta2^step)
    value  <- value - learning_rate * m_hat / (sqrt(s_hat) + eps)

    Shapes     value, mean, square, grad: all the same   step: 1 at the first step

mean and square start at zero, which makes them too small at first: m_hat and s_hat undo that. m_hat and s_hat are not
kept, mean and square are.

Check as you go, in this folder:

    pytest test_adam.py

Hints
1. Return new arrays: mean = beta1 * mean + ..., not mean *= beta1, which would change the caller's array.
2. At the first step m_hat is grad and s_hat is grad^2, so that every value moves by about the rate, downhill.
"""


def adam_step(value, mean, square, grad, step, learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
    """Return (value, mean, square) after the step."""
    ### BEGIN SOLUTION: return value, mean, square: five lines, one for each arrow or hat above
    # New names for new arrays: the caller's are left alone.
    mean = beta1 * mean + (1 - beta1) * grad
    square = beta2 * square + (1 - beta2) * grad**2
    # After `step` steps from zero, the weights of all gradients in mean add up to 1 - beta1^step: dividing makes it 1.
    m_hat = mean / (1 - beta1**step)
    s_hat = square / (1 - beta2**step)
    return value - learning_rate * m_hat / (s_hat**0.5 + eps), mean, square
    ### END SOLUTION
