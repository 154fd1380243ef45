import numpy as np
import pytest

from minifer.models import mobilenet

TINY = {"alpha": 1 / 16, "heads": 2, "head_units": 4, "attention_blocks": (11, 13), "classes": 3}


@pytest.fixture
def model(rng):
    """A small network none of whose weights is zero."""
    model = mobilenet("mha", input_shape=(48, 40, 1), dropout=0.5, **TINY)
    for parameter in model.parameters().values():
        parameter.value[...] = rng.normal(0, 0.4, parameter.value.shape)
    return model


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (48, 40), dtype=np.uint8)
