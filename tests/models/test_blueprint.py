"""A family of models made up here, 40 lines of blueprint, does what BERT does."""

import keras
import numpy as np
import pytest
from cached_steps import assert_steps_equal_the_graph, randomize
from contract import check_config, to_numpy

from kexue_keras import decoding, losses, models
from kexue_keras.models.checkpoints.names import of_attention, of_dense, of_norm
from kexue_keras.models.checkpoints.tensor_bundle import TensorBundle


@keras.saving.register_keras_serializable(package="tests")
class SharedPreNorm(models.Blueprint):
    """Norms before attention and feed-forward, one set of layers for all blocks."""

    language_model_layers = ("Embedding-Token", "Output-Norm")
    vocabulary_layers = ("Embedding-Token",)
    epsilon = 1e-5

    def index(self, index):
        return 0

    def embed(self, inputs, positions):
        return self.add_positions(self.embed_tokens(inputs), positions)

    def block(self, x, index, attend):
        normal = self.norm(x, "Transformer-0-MultiHeadSelfAttention-Norm")
        x = self.add([x, attend(self.attention(index), normal, index)], "Attention-Add")
        update = self.feed_forward(self.norm(x, "Transformer-0-FeedForward-Norm"), index)
        return self.add([x, self.dropout(update, "FeedForward-Dropout")], "FeedForward-Add")

    def run(self, inputs, positions, attend):
        return self.norm(super().run(inputs, positions, attend), "Output-Norm")

    def head(self, x):
        return self.token_embedding()(x, mode="dense")

    def variable_mapping(self):
        block, name = "shared/block", "Transformer-0"
        return {
            "Embedding-Token": ["shared/tokens"],
            "Embedding-Segment": ["shared/segments"],
            "Embedding-Position": ["shared/positions"],
            f"{name}-MultiHeadSelfAttention": of_attention(block, f"{block}/output"),
            f"{name}-MultiHeadSelfAttention-Norm": of_norm(f"{block}/norm_1"),
            f"{name}-FeedForward": of_dense(f"{block}/inner", f"{block}/outer"),
            f"{name}-FeedForward-Norm": of_norm(f"{block}/norm_2"),
            "Output-Norm": of_norm("shared/norm"),
        }


SIZES = {
    "vocab_size": 9,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position": 20,
}


def make(application="unilm", seed=0, **config):
    options = {"application": application, "with_mlm": "linear", **SIZES, **config}
    model = models.build_transformer_model(model=SharedPreNorm, **options)
    return randomize(model, seed)


def test_the_graph_has_each_layer_once():
    model = make()
    assert type(model) is models.Transformer
    assert len(model.weights) == 1 + 1 + 1 + 8 + 4 + 4 + 2
    assert sum("MultiHeadSelfAttention" in layer.name for layer in model.layers) == 2


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    ("application", "config"),
    [
        ("unilm", {}),
        ("lm", {"segment_vocab_size": 0, "dropout_rate": 0.1}),
        ("unilm", {"position": "rotary"}),
        ("lm", {"position": "relative"}),
    ],
)
def test_cached_steps_equal_the_graph(application, config, shared):
    assert_steps_equal_the_graph(make(application, **config), shared)


def test_conditions_reach_cached_steps():
    model = make("lm", condition_size=3)
    assert_steps_equal_the_graph(model, shared=True, conditioned=True)


def log_probability(model, prompt, ids):
    token_ids, segments = np.zeros((2, 1, 8), "int32")
    size = len(prompt) + len(ids)
    token_ids[0, :size] = prompt + ids
    segments[0, len(prompt) : size] = int(model.application == "unilm")
    logits = model.predict_on_batch([token_ids, segments])[0, len(prompt) - 1 : size - 1]
    logits = logits.astype("float64")
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    return logits[np.arange(len(ids)), ids].sum()


@pytest.mark.parametrize("application", ["lm", "unilm"])
def test_beam_search_and_sampling(application):
    model = make(application)
    generator = decoding.Generator(model, end_id=3, maxlen=4)
    prompts = [[2, 5, 7], [2, 8]]
    for prompt, results in zip(prompts, generator.beam_search(prompts, topk=3), strict=True):
        assert len(results) == 3
        for ids, score in results:
            assert score == pytest.approx(log_probability(model, prompt, ids), abs=1e-4)
    samples = generator.random_sample(prompts, n=200, seed=0)
    share = np.mean([ids[0] == 3 for ids in samples[0]])
    assert share == pytest.approx(np.exp(log_probability(model, prompts[0], [3])), abs=0.12)


def test_checkpoints_and_kept_tokens(tmp_path):
    model, kept = make(seed=1), [0, 2, 3, 7]
    models.save_checkpoint(model, tmp_path / "model.ckpt")
    with TensorBundle(tmp_path / "model.ckpt") as bundle:
        names = bundle.keys()
        table = bundle.read("shared/tokens")
    assert len(names) == len(model.weights) and "shared/block/query/kernel" in names
    again = make(seed=2)
    models.load_checkpoint(again, tmp_path / "model.ckpt")
    for x, y in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)
    small = make(seed=2, keep_tokens=kept)
    models.load_checkpoint(small, tmp_path / "model.ckpt")
    found = to_numpy(small.get_layer("Embedding-Token").embeddings)
    np.testing.assert_array_equal(found, table[kept])


def test_reloads_and_trains(tmp_path):
    model = make(target_positions=True, num_hidden_layers=2)
    check_config(model)
    model.compile("sgd", losses.SequenceCrossentropy())
    ids = np.array([[2, 5, 7, 3], [2, 8, 3, 0]])
    inputs = [ids, np.zeros_like(ids), np.array([[1, 2], [1, 0]])]
    targets = np.array([[7, 3], [3, 0]])
    values = [float(model.train_on_batch(inputs, targets)) for _ in range(3)]
    assert values[2] < values[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(again(inputs)), to_numpy(model(inputs)), atol=1e-5)
    assert type(again.blueprint) is SharedPreNorm


def test_bert4keras_s_object():
    found = models.build_transformer_model(
        model=SharedPreNorm, **SIZES, with_mlm="linear", return_keras_model=False
    )
    assert isinstance(found, SharedPreNorm) and isinstance(found.model, keras.Model)
    assert found.layers["Output-Norm"] is found.model.get_layer("Output-Norm")
    assert found.initializer((2, 3)).shape == (2, 3)


def test_weights_by_bert4keras_s_object(tmp_path):
    one, two = (models.build_transformer_model(**SIZES, return_keras_model=False) for _ in range(2))
    randomize(one.model)
    one.save_weights_as_checkpoint(str(tmp_path / "model.ckpt"))
    two.load_weights_from_checkpoint(str(tmp_path / "model.ckpt"))
    for x, y in zip(one.model.get_weights(), two.model.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_family_that_lacks_a_part_says_so():
    class Empty(models.Blueprint):
        pass

    with pytest.raises(NotImplementedError, match="Empty must have `embed`"):
        models.build_transformer_model(model=Empty, **SIZES)
    with pytest.raises(ValueError, match="SharedPreNorm has no argument `with_pool`"):
        models.build_transformer_model(model=SharedPreNorm, **SIZES, with_pool=True)
    blueprint = make().blueprint
    with pytest.raises(ValueError, match="`model` has no layer 'Pooler'"):
        blueprint.layer("Pooler", keras.layers.Dense, units=1)


def test_a_bias_of_positions_reaches_graph_and_cache():
    @keras.saving.register_keras_serializable(package="tests")
    class Biased(SharedPreNorm):
        def position_bias(self, query_positions, key_positions):
            distance = query_positions[:, None, :, None] - key_positions[:, None, None, :]
            slopes = np.array([0.5, 0.1], "float32")[:, None, None]
            return keras.ops.cast(keras.ops.abs(distance), "float32") * -slopes

    options = {"application": "lm", "with_mlm": "linear", **SIZES, "segment_vocab_size": 0}
    biased = randomize(models.build_transformer_model(model=Biased, **options))
    assert_steps_equal_the_graph(biased, shared=True)
    assert_steps_equal_the_graph(biased, shared=False)
    plain = make("lm", segment_vocab_size=0)
    plain.set_weights(biased.get_weights())
    ids = [np.array([[2, 5, 7, 8]])]
    assert np.abs(to_numpy(plain(ids)) - to_numpy(biased(ids))).max() > 1e-2
