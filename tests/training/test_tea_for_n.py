"""TeaForN: the passes by hand, what each depends on, and that inference is as before."""

import keras
import numpy as np
import pytest
from cached_steps import randomize
from contract import compile, to_numpy
from keras import ops
from references.robustness import teaforn_loss
from strategy_models import fit

from kexue_keras import losses, models, training
from kexue_keras.models.graph_attention import GraphAttention
from kexue_keras.training.tea_for_n import unrolled

SIZES = {
    "vocab_size": 11,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position": 12,
}
TOKENS = np.random.default_rng(0).integers(1, 11, (4, 7)).astype("int32")
SEGMENTS = np.array([[0] * 3 + [1] * 4] * 4, "int32")
TARGETS = np.array([[2, 3, 4, 5]] * 4, "int32")
LABELS = TOKENS[:, 3:]


def language_model(application="lm", **config):
    options = {"application": application, "with_mlm": "linear", **SIZES, **config}
    return randomize(models.build_transformer_model(**options))


def passes(model, steps, *inputs):
    whole = unrolled(model, steps)
    return [to_numpy(x) for x in compile(lambda *x: whole(list(x)), whole.variables)(*inputs)]


@pytest.mark.parametrize("config", [{}, {"position": "rotary"}, {"embedding_size": 6}])
def test_pass_i_depends_on_the_tokens_up_to_t_minus_i_alone(config):
    """Of a language model: token j is changed; places before j + i - 1 do not see it in pass i."""
    model, steps = language_model(segment_vocab_size=0, **config), 3
    before = passes(model, steps, TOKENS)
    changed = TOKENS.copy()
    changed[:, 2] = changed[:, 2] % 10 + 1
    after = passes(model, steps, changed)
    for number in range(steps):
        moved = np.abs(before[number] - after[number]).max((0, 2)) > 1e-5
        # states number 1 see the token at its own place, number 2 one place later, ...
        assert moved.tolist() == [place >= 2 + number for place in range(7)], number


def test_a_source_is_read_as_it_is():
    model = language_model("unilm")
    first, second = passes(model, 2, TOKENS, SEGMENTS)
    np.testing.assert_allclose(first[:, :3], second[:, :3], atol=1e-5)
    assert np.abs(first[:, 3:] - second[:, 3:]).max() > 0.1
    expected = to_numpy(model([TOKENS, SEGMENTS]))
    np.testing.assert_allclose(first, expected, atol=1e-5)


def test_the_loss_is_that_of_the_article():
    """M and the head as functions of embeddings, in the NumPy transcription."""
    model = language_model(segment_vocab_size=0)
    given = model.blueprint.given({})
    table = to_numpy(model.get_layer("Embedding-Token").embeddings.value)

    def states(x):
        inputs = {"token_ids": TOKENS, "token_embeddings": x}
        hidden = given.run(inputs, None, GraphAttention(given, inputs))
        return given.transform(hidden)

    run = compile(states, model.variables)
    bias = to_numpy(model.get_layer("MLM-Bias").bias.value)

    def function(x):
        return to_numpy(run(ops.convert_to_tensor(x.astype("float32"))))

    mask = np.tile(np.arange(7) < 6, (4, 1))
    expected = teaforn_loss(
        function,
        lambda h: h.astype("float64") @ table.T + bias,
        table[TOKENS],
        np.roll(TOKENS, -1, 1),
        steps=3,
        discount=0.7,
        mask=mask,
    )
    targets = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    strategy = training.TeaForN(model, steps=3, discount=0.7)
    strategy.compile(keras.optimizers.SGD(0.0), targets)
    weight = mask * mask.size / mask.sum()
    found = strategy.train_on_batch(TOKENS, np.roll(TOKENS, -1, 1), weight.astype("float32"))
    assert float(np.asarray(found).ravel()[0]) == pytest.approx(expected, rel=1e-5)


def sequence_model(**config):
    return language_model("unilm", target_positions=True, **config)


def train(strategy, optimizer="adam", **options):
    strategy.compile(optimizer, losses.SequenceCrossentropy(), **options)
    return fit(strategy, [TOKENS, SEGMENTS, TARGETS], LABELS)


@pytest.mark.eager
def test_one_step_is_teacher_forcing_bit_for_bit():
    found = []
    for make in (training.Strategy, lambda m: training.TeaForN(m, steps=1)):
        keras.utils.set_random_seed(0)
        model = sequence_model(dropout_rate=0.2)
        found.append((train(make(model)), [to_numpy(w.value) for w in model.weights]))
    assert found[0][0] == found[1][0]
    for a, b in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_it_trains_a_unilm_and_leaves_the_model_as_it_was(tmp_path):
    model = sequence_model(dropout_rate=0.1)
    paths = [w.path for w in model.weights]
    inputs = [TOKENS, SEGMENTS, TARGETS]
    before = to_numpy(model(inputs))
    strategy = training.TeaForN(model, steps=2, discount=0.5)
    history = train(strategy, keras.optimizers.Adam(0.01), metrics=["accuracy"])
    assert history["loss"][-1] < history["loss"][0]
    assert [w.path for w in model.weights] == paths
    assert len(strategy.variables) == len(model.variables)
    assert model.get_layer("Embedding-Norm").output.shape == (None, None, 8)
    assert np.abs(to_numpy(model(inputs)) - before).max() > 1e-3
    strategy.save(tmp_path / "x.keras")
    again = keras.saving.load_model(tmp_path / "x.keras")
    np.testing.assert_array_equal(to_numpy(again(inputs)), to_numpy(strategy(inputs)))
    assert again.steps == 2 and again.discount == 0.5


def test_what_it_cannot_train_is_refused():
    with pytest.raises(ValueError, match="'lm' or 'unilm' itself. Received: .*'encoder'"):
        training.TeaForN(models.build_transformer_model(**SIZES))
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="Received: 'sequential.*'Sequential'"):
        training.TeaForN(model)
    with pytest.raises(ValueError, match="put AdversarialTraining around TeaForN"):
        inside = training.AdversarialTraining(language_model(), "Embedding-Token")
        training.TeaForN(inside)
    with pytest.raises(ValueError, match="`steps` must be a whole number of at least 1"):
        training.TeaForN(language_model(), steps=0)
    with pytest.raises(ValueError, match="`discount` must be at least 0. Received: -1"):
        training.TeaForN(language_model(), discount=-1)
