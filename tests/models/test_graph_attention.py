"""In the graph a block's attention is an ordinary call of its layer."""

import numpy as np
from cached_steps import randomize
from contract import to_numpy

from kexue_keras import models
from kexue_keras.models.graph_attention import GraphAttention


def test_the_same_order_runs_on_arrays():
    """What a training strategy does that feeds something else than tokens."""
    model = randomize(models.Bert(9, 16, 2, 2, 32, application="lm", with_mlm="linear"))
    ids = np.array([[2, 5, 7, 0], [2, 8, 0, 0]], "int32")
    inputs = {"token_ids": ids, "segment_ids": np.zeros_like(ids)}
    attend = GraphAttention(model.blueprint, inputs)
    found = model.blueprint.head(model.blueprint.run(inputs, None, attend))
    np.testing.assert_allclose(to_numpy(found), to_numpy(model(list(inputs.values()))), atol=1e-5)
    assert set(attend.arguments) == {"attention_mask"}
