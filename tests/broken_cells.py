"""A fifth zoo: gated cells, blocks and losses, whose gradients have more terms than a formula is read for."""

import numpy as np
from broken_own_layers import animal_of, zoo_of

ZOO = []
animal, zoo = animal_of(ZOO), zoo_of(ZOO)


def sigmoid(x):
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def softmax(x):
    """Return the softmax over the last axis."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


class Gru:
    """A right gated recurrent unit, h' = (1 - z) * h + z * n, for others to break."""

    def __init__(self, channels=3, units=4):
        rng = np.random.default_rng(1)
        self.wz, self.wr, self.wn = (0.5 * rng.standard_normal((channels + units, units)) for _ in range(3))

    def forward(self, x, h):
        self.x, self.h, self.xh = x, h, np.concatenate([x, h], axis=1)
        self.z, self.r = sigmoid(self.xh @ self.wz), sigmoid(self.xh @ self.wr)
        self.xrh = np.concatenate([x, self.r * h], axis=1)
        self.n = np.tanh(self.xrh @ self.wn)
        return (1 - self.z) * h + self.z * self.n

    def backward(self, dy):
        channels = self.x.shape[1]
        dz = dy * (self.n - self.h) * self.z * (1 - self.z)
        dn = dy * self.z * (1 - self.n**2)
        dxrh = dn @ self.wn.T
        dr = dxrh[:, channels:] * self.h * self.r * (1 - self.r)
        self.dwz, self.dwr, self.dwn = self.xh.T @ dz, self.xh.T @ dr, self.xrh.T @ dn
        dxh = dz @ self.wz.T + dr @ self.wr.T
        return self.together(dy, dxh[:, :channels], dxh[:, channels:], dxrh[:, :channels], dxrh[:, channels:])

    def together(self, dy, dx, dh, dx_of_n, drh):
        return dx + dx_of_n, dh + drh * self.r + dy * (1 - self.z)


@animal(r"a term is missing: \(1 - z\)\*dy", (3, 3), (3, 4))
class GruWithoutCarriedState(Gru):
    def together(self, dy, dx, dh, dx_of_n, drh):
        return dx + dx_of_n, dh + drh * self.r


@animal(r"z stands where \(1 - z\) belongs in one term: \(1 - z\)\*dy belongs there", (3, 3), (3, 4))
class GruCarriesTheOtherShare(Gru):
    def together(self, dy, dx, dh, dx_of_n, drh):
        return dx + dx_of_n, dh + drh * self.r + dy * self.z


@animal(r"the factor r is missing in one term: r\*\(\(z\*\(1 - n\^2\)\*dy\) @ wn\[3:\]\.T\)", (3, 3), (3, 4))
class GruWithoutReset(Gru):
    def together(self, dy, dx, dh, dx_of_n, drh):
        return dx + dx_of_n, dh + drh + dy * (1 - self.z)


@animal(r"a term is missing: \(z\*\(1 - n\^2\)\*dy\) @ wn\[:3\]\.T", (3, 3), (3, 4))
class GruReadsTheInputOnce(Gru):
    def together(self, dy, dx, dh, dx_of_n, drh):
        return dx, dh + drh * self.r + dy * (1 - self.z)


class Rnn:
    """A right recurrent layer, h[t] = tanh(x[t] @ wx + h[t - 1] @ wh), for others to break."""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.wx, self.wh = 0.5 * rng.standard_normal((3, 4)), 0.5 * rng.standard_normal((4, 4))

    def forward(self, x):
        self.x, self.h = x, [np.zeros((len(x), 4))]
        for t in range(x.shape[1]):
            self.h.append(np.tanh(x[:, t] @ self.wx + self.h[t] @ self.wh))
        return np.stack(self.h[1:], axis=1)

    def slope(self, t):
        return 1 - self.h[t + 1] ** 2

    def backward(self, dy):
        self.dwx, self.dwh = np.zeros_like(self.wx), np.zeros_like(self.wh)
        dx, dh = np.zeros_like(self.x), 0
        for t in reversed(range(self.x.shape[1])):
            dz = (dy[:, t] + dh) * self.slope(t)
            self.dwx += self.x[:, t].T @ dz
            self.dwh += self.h[t].T @ dz
            dx[:, t], dh = dz @ self.wx.T, dz @ self.wh.T
        return dx


@animal(r"h is read one place too early", (2, 5, 3))
class RnnWithTheSlopeOfTheStepBefore(Rnn):
    def slope(self, t):
        return 1 - self.h[t] ** 2


@animal(r"a term too many: x\.T @ \(x\*t\*\(1 - t\)\*dy\)", (3, 4))
class HighwayOfOneSide:
    """y = t * tanh(x @ weight) + (1 - t) * x, of whose gate t one use is forgotten."""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.weight, self.gate = rng.standard_normal((4, 4)), rng.standard_normal((4, 4))

    def forward(self, x):
        self.x, self.h, self.t = x, np.tanh(x @ self.weight), sigmoid(x @ self.gate)
        return self.t * self.h + (1 - self.t) * x

    def backward(self, dy):
        dh = dy * self.t * (1 - self.h**2)
        dt = dy * (self.h - self.x) * self.t * (1 - self.t)
        self.dweight, self.dgate = self.x.T @ dh, self.x.T @ (dy * self.h * self.t * (1 - self.t))
        return dh @ self.weight.T + dt @ self.gate.T + dy * (1 - self.t)


@animal(r"the factor \(z > 0\) is missing in one term: \(\(z > 0\)\*\(dy @ w2\.T\)\) @ w1\.T belongs", (2, 3, 3))
class FeedForwardWithoutMask:
    """y = x + relu(x @ w1) @ w2"""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.w1, self.w2 = rng.standard_normal((3, 5)), rng.standard_normal((5, 3))

    def forward(self, x):
        self.x, self.z = x, x @ self.w1
        return x + np.maximum(self.z, 0) @ self.w2

    def backward(self, dy):
        rows, ahead = self.x.reshape(-1, 3), dy @ self.w2.T
        self.dw1 = rows.T @ (ahead * (self.z > 0)).reshape(-1, 5)
        self.dw2 = np.maximum(self.z, 0).reshape(-1, 5).T @ dy.reshape(-1, 3)
        return dy + ahead @ self.w1.T


@animal(r"a term is missing: g\*dy", (2, 3, 2, 4))
class SqueezeExciteWithoutTheMap:
    """y = x * sigmoid(mean(x) @ weight)"""

    def __init__(self):
        self.weight = np.random.default_rng(1).standard_normal((4, 4))

    def forward(self, x):
        self.x, self.mean = x, x.mean(axis=(1, 2))
        self.g = sigmoid(self.mean @ self.weight)
        return x * self.g[:, None, None]

    def backward(self, dy):
        dz = (dy * self.x).sum(axis=(1, 2)) * self.g * (1 - self.g)
        self.dweight = self.mean.T @ dz
        return np.ones_like(dy) * (dz @ self.weight.T / 6)[:, None, None]


@animal(r"dy @ w\[4:\]\.T stands where dy @ w\[:3\]\.T belongs", (5, 3), (5, 4))
class PartsOfAConcatenationMixedUp:
    def __init__(self):
        self.w = np.random.default_rng(1).standard_normal((7, 2))

    def forward(self, x, other):
        self.both = np.concatenate([x, other], axis=1)
        return self.both @ self.w

    def backward(self, dy):
        self.dw, both = self.both.T @ dy, dy @ self.w.T
        return both[:, -3:], both[:, 3:]


@animal(r"the factor \(1 - tanh_c\^2\) is missing", (3, 4), (3, 4))
class CellWithoutTheSlopeOfItsTanh:
    """y = o * tanh(c)"""

    def forward(self, o, c):
        self.o, self.tanh_c = o, np.tanh(c)
        return o * self.tanh_c

    def backward(self, dy):
        return dy * self.tanh_c, dy * self.o


@animal(r"no gradient where forward passes, such as at -", (6, 5))
class EluOfOneSide:
    def forward(self, x):
        self.x = x
        return np.where(x > 0, x, np.exp(x) - 1)

    def backward(self, dy):
        return dy * (self.x > 0)


class MultiHead:
    """Right multi-head attention of one input, for others to break."""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.wq, self.wk, self.wv, self.wo = (0.7 * rng.standard_normal((4, 4)) for _ in range(4))
        self.bias = rng.standard_normal(4)

    def heads(self, rows):
        return rows.reshape(*rows.shape[:2], 2, 2).transpose(0, 2, 1, 3)

    def joined(self, heads):
        return heads.transpose(0, 2, 1, 3).reshape(self.x.shape)

    def forward(self, x):
        self.x = x
        self.q, self.k, self.v = (self.heads(x @ w) for w in (self.wq, self.wk, self.wv))
        self.p = softmax(self.q @ self.k.swapaxes(2, 3) / np.sqrt(2))
        self.o = (self.p @ self.v).transpose(0, 2, 1, 3).reshape(x.shape)
        return self.o @ self.wo + self.bias

    def of_scores(self, dp):
        return self.p * (dp - (dp * self.p).sum(axis=-1, keepdims=True))

    def backward(self, dy):
        def product(x, d):
            return np.einsum("ntc,ntd->cd", x, d)

        self.dwo, self.dbias = product(self.o, dy), dy.sum(axis=(0, 1))
        do = self.heads(dy @ self.wo.T)
        ds = self.of_scores(do @ self.v.swapaxes(2, 3)) / np.sqrt(2)
        dq, dk, dv = map(self.joined, (ds @ self.k, ds.swapaxes(2, 3) @ self.q, self.p.swapaxes(2, 3) @ do))
        self.dwq, self.dwk, self.dwv = (product(self.x, d) for d in (dq, dk, dv))
        return dq @ self.wq.T + dk @ self.wk.T + dv @ self.wv.T


@animal(r"is missing: x\.T @ merge\(\(p\*sum\(p\*dp, over keys\)\) @ k\)", (2, 3, 4))
class MultiHeadWithoutTheSum(MultiHead):
    def of_scores(self, dp):
        return self.p * dp


@animal(r"here .* merge\(\(p\*sum\(p\*dp, over queries\)\)\.T @ q\)", (2, 3, 4))
class MultiHeadSummedOverQueries(MultiHead):
    def of_scores(self, dp):
        return self.p * (dp - (dp * self.p).sum(axis=-2, keepdims=True))


@animal(r"reshape stands where merge belongs\n *right *x\.T @ merge\(p\.T @ dheads\)", (2, 3, 4))
class MultiHeadReshaped(MultiHead):
    def joined(self, heads):
        return heads.reshape(self.x.shape)


class UnitRows:
    """Right rows of length 1, y = x / |x|, for others to break."""

    def forward(self, x):
        self.norm = np.sqrt((x**2).sum(axis=-1, keepdims=True))
        self.y = x / self.norm
        return self.y

    def backward(self, dy):
        return (dy - self.y * (dy * self.y).sum(axis=-1, keepdims=True)) / self.norm


@animal(r"one of two terms is missing: inv_norm\*y\*sum\(y\*dy, axis 1\)", (4, 5))
class UnitRowsOfConstantLength(UnitRows):
    def backward(self, dy):
        return dy / self.norm


@animal(r"a mean stands where a sum belongs", (4, 5))
class UnitRowsWithAMean(UnitRows):
    def backward(self, dy):
        return (dy - self.y * (dy * self.y).mean(axis=-1, keepdims=True)) / self.norm


@animal(r"the factor inv_norm is missing", (4, 5))
class UnitRowsNotDivided(UnitRows):
    def backward(self, dy):
        return super().backward(dy) * self.norm


@animal(r"\(1 - sigmoid\(x\)\)\*dy stands where sigmoid\(x\)\*dy belongs", (4, 5))
class SoftplusOfTheOtherSide:
    def forward(self, x):
        self.x = x
        return np.log1p(np.exp(x))

    def backward(self, dy):
        return dy * sigmoid(-self.x)


@animal(r"1\.414 times too large, a constant factor: divide by 1 / scale", (2, 3, 2))
class ScaleOfForwardAlone:
    """y = x @ weight * scale, a number that forward saves and backward forgets."""

    def __init__(self):
        self.weight = np.random.default_rng(1).standard_normal((2, 4))

    def forward(self, x):
        self.x, self.scale = x, 1 / np.sqrt(x.shape[-1])
        return x @ self.weight * self.scale

    def backward(self, dy):
        self.dweight = self.x.reshape(-1, 2).T @ dy.reshape(-1, 4)
        return dy @ self.weight.T * self.scale


def rows_and_labels(rng):
    """Return logits of three classes, and labels."""
    return rng.standard_normal((4, 3)), np.array([0, 2, 1, 1])


@animal(r"the factor p does not belong there", inputs=rows_and_labels)
class CrossEntropyTimesItsProbabilities:
    def forward(self, x, labels):
        self.p, self.target = softmax(x), np.eye(3)[labels]
        return -(self.target * np.log(self.p)).sum() / len(x)

    def backward(self, dy=1.0):
        return dy * self.p * (self.p - self.target) / len(self.p)


@animal(r"the factor p\*\(1 - p\) is missing", inputs=rows_and_labels)
class BinaryCrossEntropyOfProbabilities:
    """Its gradient is that of p, and the sigmoid's slope is forgotten."""

    def forward(self, x, labels):
        self.p, self.target = sigmoid(x), np.eye(3)[labels]
        return -np.log(np.where(self.target, self.p, 1 - self.p)).mean()

    def backward(self, dy=1.0):
        return dy * (self.p - self.target) / (self.p * (1 - self.p)) / self.p.size


@animal(r"wrong where \|d\| is from 1(\.\d+)?, right elsewhere", (8, 5), (8, 5))
class HuberOfOneBranch:
    def forward(self, x, target):
        self.d = x - target
        far = np.abs(self.d)
        return np.where(far < 1, 0.5 * far**2, far - 0.5).mean()

    def backward(self, dy=1.0):
        return dy * self.d / self.d.size, -dy * np.clip(self.d, -1, 1) / self.d.size


@animal(r"right - here = 0\.\d+\*p\*\(1 - p\)\*dy", inputs=rows_and_labels)
class DiceOfAConstantSum:
    """1 - 2 * sum(p * target) / sum(p + target), whose denominator depends on p too."""

    def forward(self, x, labels):
        self.p, self.target = sigmoid(x), np.eye(3)[labels]
        self.total = (self.p + self.target).sum()
        return 1 - 2 * (self.p * self.target).sum() / self.total

    def backward(self, dy=1.0):
        return dy * -2 * self.target / self.total * self.p * (1 - self.p)


@animal(r"the mask is missing", inputs=rows_and_labels)
class HingeWithoutMask:
    def forward(self, x, labels):
        self.sign = 2 * np.eye(3)[labels] - 1
        return np.maximum(0, 1 - self.sign * x).sum() / len(x)

    def backward(self, dy=1.0):
        return -dy * self.sign / len(self.sign)


# What no row explains is not explained by chance: any number is a multiple of another one.


@animal(r"no guess: none of the usual mistakes", (2, 3, 4, 2))
class PowerMeanWithoutALogarithm:
    """y = mean(|x|^p)^(1/p) over the positions, with half of the gradient of p."""

    def __init__(self):
        self.p = np.array(3.0)

    def forward(self, x):
        self.x, self.size = x, np.abs(x) + 0.1
        self.mean = (self.size**self.p).mean(axis=(1, 2))
        return self.mean ** (1 / self.p)

    def backward(self, dy):
        p, y = self.p, self.mean ** (1 / self.p)
        self.dp = (dy * y * (self.size**p * np.log(self.size)).mean(axis=(1, 2)) / (p * self.mean)).sum()
        return (dy * y / self.mean)[:, None, None] * self.size ** (p - 1) * np.sign(self.x) / 12


@animal(r"no guess: none of the usual mistakes", (5, 3))
class ExpertsWithoutGate:
    """y = sum of softmax(x @ gate)[k] * (x @ experts[k])"""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.gate, self.experts = rng.standard_normal((3, 2)), rng.standard_normal((2, 3, 4))

    def forward(self, x):
        self.x, self.g = x, softmax(x @ self.gate)
        self.each = np.einsum("nd,kdo->nko", x, self.experts)
        return np.einsum("nk,nko->no", self.g, self.each)

    def backward(self, dy):
        dg = np.einsum("no,nko->nk", dy, self.each)
        dz = self.g * (dg - (dg * self.g).sum(axis=1, keepdims=True))
        self.dgate = self.x.T @ dz
        self.dexperts = np.einsum("nd,no->do", self.x, dy) + np.zeros((2, 1, 1))
        return np.einsum("nk,no,kdo->nd", self.g, dy, self.experts) + dz @ self.gate.T
