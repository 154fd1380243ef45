"""kernels/matmul.py: the cut into pieces of work changes the time alone."""

import numpy as np
import pytest

from minifer.kernels import matmul
from minifer.kernels.matmul import multiply, multiply_transposed_left, multiply_transposed_right

# (rows, columns, steps): one and many of each, none a multiple of a tile; sums that are split and sums that are not
SHAPES = [(1, 1, 1), (13, 37, 5), (300, 70, 130), (29, 261, 600), (20, 40, 5000), (100, 70, 2100)]
THREADS = (1, 2, 3, 8, 40)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "columns", "steps"), SHAPES)
def test_no_bit_depends_on_the_number_of_threads(monkeypatch, rng, rows, columns, steps, dtype):
    a, b = rng.standard_normal((rows, steps)).astype(dtype), rng.standard_normal((steps, columns)).astype(dtype)
    a_transposed, b_transposed = np.ascontiguousarray(a.T), np.ascontiguousarray(b.T)
    products = []
    for threads in THREADS:  # the pieces that so many threads would get, whoever does them
        monkeypatch.setattr(matmul, "get_num_threads", lambda threads=threads: threads)
        products += [
            multiply(a, b), multiply_transposed_right(a, b_transposed), multiply_transposed_left(a_transposed, b),
        ]  # fmt: skip
    assert len({product.tobytes() for product in products}) == 1
    np.testing.assert_allclose(products[0], a @ b, rtol=1e-4, atol=1e-4 if dtype == np.float32 else 1e-10)


def test_more_threads_get_more_pieces_and_sums_are_split_where_the_shapes_say():
    def pieces(*shape):
        return [matmul._cut(*shape, threads) for threads in THREADS]

    assert len(set(pieces(300, 70, 130))) > 2
    for cuts in (pieces(*shape) for shape in SHAPES):
        assert len({splits for splits, _, _ in cuts}) == 1
    assert matmul._splits(20, 40, 5000) > 1
