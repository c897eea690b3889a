"""GlobalPointer and EfficientGlobalPointer against bert4keras's layers."""

import numpy as np
import pytest
from keras import ops

from kexue_keras import layers

pytestmark = pytest.mark.parity

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 6, 8)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], bool)


@pytest.mark.parametrize("name", ["GlobalPointer", "EfficientGlobalPointer"])
@pytest.mark.parametrize("options", [{}, {"RoPE": False, "tril_mask": False, "use_bias": False}])
def test_scores(bert4keras, name, options):
    layer = getattr(layers, name)(3, 4, **options)
    layer(X)
    weights = [RNG.normal(size=w.shape).astype("float32") for w in layer.weights]
    layer.set_weights(weights)
    arrays = {f"weight_{i}": w for i, w in enumerate(weights)} | {"x": X, "mask": MASK}
    found = bert4keras.run(
        "layer",
        arrays,
        name=name,
        inputs="x",
        config={"heads": 3, "head_size": 4, **options},
        arguments={"mask": "mask"},
    )["output_0"]
    ours = ops.convert_to_numpy(layer(X, mask=ops.convert_to_tensor(MASK)))
    hidden = np.isinf(found)
    assert (ours[hidden] == np.float32(-1e30)).all() and hidden.any()
    np.testing.assert_allclose(ours[~hidden], found[~hidden], rtol=1e-4, atol=1e-5)
