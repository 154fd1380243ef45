"""The optimizers' arithmetic over flat memory: every element is read once, updated and written once.

    Adam      mean   <- beta1 * mean   + (1 - beta1) * grad                  m_hat = mean   / (1 - beta1^step)
              square <- beta2 * square + (1 - beta2) * grad^2                s_hat = square / (1 - beta2^step)
              value  <- value - learning_rate * m_hat / (sqrt(s_hat) + eps)
    SGD       velocity <- momentum * velocity + grad
              value  <- value - learning_rate * (grad + momentum * velocity)   (Nesterov; else * velocity)
    Average   average <- average + (1 - decay) * (value - average)

Unlike all other kernels these change their first arrays IN PLACE and return nothing: a copy of all weights in every
step would cost more than the arithmetic. Weight decay reaches only the first `decayed` elements (optimizers.Flat): of
Adam decoupled, value <- (1 - learning_rate * weight_decay) * value, of SGD grad <- grad + weight_decay * value.

The compiled twins turn every coefficient into the arrays' dtype before the loop: one Python float in the loop body
would make the whole line float64. Each prange index owns one block of elements, so no sum is shared and the result
does not depend on the number of threads. The blocks are slices because a loop from 0 over a slice vectorises, where an
index computed from the block number does not. With that, all three run as fast as the memory delivers.

Source    Kingma & Ba 2015, algorithm 1 (Adam); Loshchilov & Hutter 2019, algorithm 2 (decoupled decay); Sutskever et
          al. 2013 (Nesterov momentum, in the form that PyTorch uses); Polyak & Juditsky 1992 (averaging).
"""

import numpy as np
from numba import prange

from minifer.kernels.denormals import flush_denormals, restore
from minifer.kernels.twin import Twin, parallel


def adam_update_numpy(value, mean, square, grad, learning_rate, beta1, beta2, eps, weight_decay, decayed, step):
    """Update value, mean and square in place by one step of Adam; step counts from 1.

    Shapes    value, mean, square, grad (P,), all contiguous and of one dtype; decayed <= P
    """
    value[:decayed] *= 1 - learning_rate * weight_decay
    mean *= beta1
    mean += (1 - beta1) * grad
    square *= beta2
    square += (1 - beta2) * grad**2
    root_correction = (1 - beta2**step) ** 0.5
    value -= learning_rate / (1 - beta1**step) * mean / (np.sqrt(square) / root_correction + eps)


def sgd_update_numpy(value, velocity, grad, learning_rate, momentum, nesterov, weight_decay, decayed):
    """Update value and velocity in place by one step of gradient descent with momentum.

    Shapes    value, velocity, grad (P,), all contiguous and of one dtype; decayed <= P
    """
    grad = grad.copy()
    grad[:decayed] += weight_decay * value[:decayed]
    velocity *= momentum
    velocity += grad
    value -= learning_rate * (grad + momentum * velocity if nesterov else velocity)


def average_update_numpy(average, value, decay):
    """Move average in place towards value by the share 1 - decay of their distance.

    Shapes    average, value (P,), contiguous and of one dtype
    """
    average += (1 - decay) * (value - average)


@parallel
def adam_update_numba(value, mean, square, grad, learning_rate, beta1, beta2, eps, weight_decay, decayed, step):
    """adam_update_numpy in one pass over the memory."""
    block = 16384
    real = value.dtype.type
    keep1, take1 = real(beta1), real(1 - beta1)
    keep2, take2 = real(beta2), real(1 - beta2)
    pace = real(learning_rate / (1 - beta1**step))
    inverse_root = real(1 / np.sqrt(1 - beta2**step))
    eps_ = real(eps)
    one, shrink = real(1), real(1 - learning_rate * weight_decay)
    for b in prange((value.size + block - 1) // block):
        control = flush_denormals()
        own = slice(b * block, (b + 1) * block)
        x, m, s, g = value[own], mean[own], square[own], grad[own]
        for i in range(x.size):
            xi = x[i] * (shrink if b * block + i < decayed else one)
            mi = keep1 * m[i] + take1 * g[i]
            si = keep2 * s[i] + take2 * g[i] * g[i]
            m[i] = mi
            s[i] = si
            x[i] = xi - pace * mi / (np.sqrt(si) * inverse_root + eps_)
        restore(control)


@parallel
def sgd_update_numba(value, velocity, grad, learning_rate, momentum, nesterov, weight_decay, decayed):
    """sgd_update_numpy in one pass over the memory."""
    block = 16384
    real = value.dtype.type
    zero, pull = real(0), real(weight_decay)
    keep, pace = real(momentum), real(learning_rate)
    # The move along a*g + b*velocity covers both forms: (1, momentum) is Nesterov's, (0, 1) the plain one.
    along_grad = real(1) if nesterov else zero
    along_velocity = keep if nesterov else real(1)
    for b in prange((value.size + block - 1) // block):
        control = flush_denormals()
        own = slice(b * block, (b + 1) * block)
        x, v, g = value[own], velocity[own], grad[own]
        for i in range(x.size):
            gi = g[i] + x[i] * (pull if b * block + i < decayed else zero)
            vi = keep * v[i] + gi
            v[i] = vi
            x[i] -= pace * (along_grad * gi + along_velocity * vi)
        restore(control)


@parallel
def average_update_numba(average, value, decay):
    """average_update_numpy in one pass over the memory."""
    block = 16384
    share = average.dtype.type(1 - decay)
    for b in prange((average.size + block - 1) // block):
        control = flush_denormals()
        own = slice(b * block, (b + 1) * block)
        a, x = average[own], value[own]
        for i in range(a.size):
            a[i] += share * (x[i] - a[i])
        restore(control)


adam_update = Twin(adam_update_numpy, adam_update_numba)
sgd_update = Twin(sgd_update_numpy, sgd_update_numba)
average_update = Twin(average_update_numpy, average_update_numba)
