"""Integrated gradients: axioms, NumPy, a loop over models fed with embeddings, token models."""

import keras
import numpy as np
import pytest
import strategy_models
from contract import to_numpy
from keras import ops

from kexue_keras import analysis, backend, layers, models, training
from kexue_keras.analysis.quadrature import midpoint
from kexue_keras.experiments.options import DATA
from kexue_keras.tokenizers import Tokenizer

TOKENS = strategy_models.TOKENS
RNG = np.random.default_rng(1)


def explain(model, inputs, target=0, *arguments, **options):
    return analysis.integrated_gradients(model, inputs, target, *arguments, **options)


def of_function(function, size=3):
    """A model of a function of `(batch, size)`."""
    x = keras.Input((size,))
    return keras.Model(x, keras.layers.Lambda(function, output_shape=(1,))(x))


def network(size=3, seed=0):
    """A smooth model `(batch, size)` to `(batch, 2)`."""
    layers_ = [keras.layers.Dense(6, "tanh"), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((size,)), *layers_])
    return strategy_models.fill(model, seed)


# ---- axioms


def test_a_linear_function_needs_one_step():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    kernel, bias = RNG.normal(size=(3, 2)), RNG.normal(size=2)
    model.set_weights([kernel, bias])
    x, baseline = RNG.normal(size=(4, 3)), RNG.normal(size=3)
    for rule in ("midpoint", "gauss_legendre"):
        found = explain(model, x, 1, baseline, steps=1, rule=rule)
        expected = kernel[:, 1] * (x - baseline)
        np.testing.assert_allclose(found.attributions, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.difference, expected.sum(1), rtol=1e-5, atol=1e-6)
        assert found.error.max() < 1e-5 and found.tokens is None


def test_shares_sum_to_the_difference_and_how_exactly():
    model, x = network(), 2 * RNG.normal(size=(6, 3))
    expected = to_numpy(model(x))[:, 1] - to_numpy(model(np.zeros((1, 3))))[:, 1]
    errors = {}
    for rule, steps in (("right", 20), ("right", 200), ("midpoint", 20), ("gauss_legendre", 20)):
        found = explain(model, x, 1, steps=steps, rule=rule)
        np.testing.assert_allclose(found.difference, expected, rtol=1e-4, atol=1e-5)
        total = found.attributions.sum(1, dtype="float64")
        np.testing.assert_allclose(found.error, abs(total - found.difference), atol=1e-6)
        errors[rule, steps] = found.error.max()
    assert 8 < errors["right", 20] / errors["right", 200] < 12
    assert errors["midpoint", 20] < errors["right", 20] / 30
    assert errors["gauss_legendre", 20] < 1e-5


def test_an_input_without_influence_has_no_share():
    model = network()
    kernel = model.layers[0].kernel
    kernel.assign(to_numpy(kernel.value) * np.array([[1], [0], [1]]))
    found = explain(model, RNG.normal(size=(5, 3)), 0, RNG.normal(size=3), steps=5)
    assert (found.attributions[:, 1] == 0).all() and (found.attributions[:, 0] != 0).all()


def test_inputs_that_are_alike_have_equal_shares():
    model = of_function(lambda x: ops.tanh(x[:, :1] + x[:, 1:2]) * ops.exp(x[:, 2:]))
    found = explain(model, np.array([[0.7, 0.7, 0.3]]), steps=7)
    assert abs(found.attributions[0, 0] - found.attributions[0, 1]) < 1e-6


def test_saturation():
    """The gradient of F = 1 - relu(1 - x) is zero at 2; F changed by 1 on the way there."""
    model = of_function(lambda x: 1 - ops.relu(1 - x), size=1)
    x = np.array([[2.0]])
    gradient = explain(model, x, steps=1, rule="right")
    assert gradient.gradients.tolist() == [[0.0]] == gradient.attributions.tolist()
    assert gradient.difference.tolist() == [1.0] == gradient.error.tolist()
    found = explain(model, x, steps=50, rule="midpoint")
    np.testing.assert_allclose(found.attributions, [[1.0]], rtol=1e-5)
    np.testing.assert_allclose(explain(model, x).attributions, [[1.0]], atol=0.02)


def test_the_published_demo_is_not_complete():
    """It weights the gradient by the input on the path, a * x, in place of x: of a linear F, half
    of every share."""
    model = of_function(lambda x: ops.sum(x, 1, keepdims=True))

    def demo(steps):
        points = np.linspace(0, 1, steps)
        return points, points / steps

    found = explain(model, np.array([[1.0, 2.0, 3.0]]), steps=20, rule=demo)
    np.testing.assert_allclose(found.attributions, [[0.5, 1.0, 1.5]], rtol=1e-5)
    np.testing.assert_allclose(found.error, 3.0, rtol=1e-5)


# ---- inputs and targets


def test_inputs_are_nested_as_the_model_takes_them():
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    c = keras.Input((1,), dtype="int32", name="c")
    product = ops.sum(a, 1, keepdims=True) * ops.sum(b, 1, keepdims=True)
    output = product + ops.cast(c, "float32")
    values = {"a": RNG.normal(size=(4, 3)), "b": RNG.normal(size=(4, 2)), "c": np.ones((4, 1), int)}
    total = values["a"].sum(1) * values["b"].sum(1)
    for inputs in (values, list(values.values())):
        model = keras.Model(
            {"a": a, "b": b, "c": c} if isinstance(inputs, dict) else [a, b, c], output
        )
        found = explain(model, inputs, 0, 0.0, steps=2)
        assert type(found.attributions) is type(inputs)
        parts = found.attributions
        parts = list(parts.values()) if isinstance(parts, dict) else parts
        assert [part.shape for part in parts] == [(4, 3), (4, 2), (4, 1)]
        np.testing.assert_allclose(found.difference, total, rtol=1e-4, atol=1e-5)
        # of a product both factors have half
        np.testing.assert_allclose(parts[0].sum(1), total / 2, rtol=1e-4, atol=1e-5)
        assert (parts[2] == 0).all()


def test_a_target_for_every_sample():
    model, x = network(), RNG.normal(size=(5, 3))
    both = [explain(model, x, target, steps=3).attributions for target in (0, 1)]
    chosen = np.array([0, 1, 1, 0, 1])
    found = explain(model, x, chosen, steps=3)
    np.testing.assert_array_equal(found.attributions, np.where(chosen[:, None], both[1], both[0]))
    total = explain(model, x, lambda y: y[:, 0] + y[:, 1], steps=3)
    np.testing.assert_allclose(total.attributions, both[0] + both[1], rtol=1e-4, atol=1e-6)


def test_passes_of_any_size_give_the_same():
    model, x = network(), RNG.normal(size=(70, 3))
    found = explain(model, x, steps=3)
    parts = [explain(model, x[i : i + 35], steps=3, batch_size=8) for i in (0, 35)]
    expected = np.concatenate([part.attributions for part in parts])
    np.testing.assert_allclose(found.attributions, expected, rtol=1e-5, atol=1e-6)
    assert found.attributions.shape == (70, 3) and found.error.shape == (70,)
    single = explain(model, x[:7], steps=3, batch_size=1).attributions
    np.testing.assert_allclose(single, expected[:7], rtol=1e-5, atol=1e-6)


# ---- tokens


def numpy_attributions(model, tokens, target, steps, start=0.0):
    """Of the bag of words, by the definition, in float64."""
    table, kernel, _ = (w.astype("float64") for w in strategy_models.numpy_weights(model))
    move, mean = table[tokens] - start, np.zeros((*tokens.shape, table.shape[1]))
    for a in (np.arange(steps) + 0.5) / steps:
        activations = np.tanh((start + a * move).mean(1))
        gradient = (1 - activations**2) * kernel[:, target] / tokens.shape[1]
        mean += gradient[:, None] / steps
    return move * mean


@pytest.mark.parametrize("baseline", [None, "mean", 4, "ids", "vectors"])
def test_the_bag_of_words_in_numpy(baseline):
    model = strategy_models.bag_of_words()
    table = strategy_models.numpy_weights(model)[0]
    ids = RNG.integers(0, 9, (1, 5))
    vectors = RNG.normal(size=(8, 5, 4))
    start, baseline = {
        None: (0.0, None),
        "mean": (table.mean(0), "mean"),
        4: (table[4], 4),
        "ids": (table[ids], ids),
        "vectors": (vectors, vectors),
    }[baseline]
    found = explain(model, TOKENS, 1, baseline, 6, "words", rule="midpoint")
    expected = numpy_attributions(model, TOKENS, 1, 6, start)
    np.testing.assert_allclose(found.attributions, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.tokens, expected.sum(-1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["nested", "subclassed", "strategy", "strategies"])
def test_models_of_all_kinds(kind):
    model = strategy_models.bag_of_words()
    if kind == "subclassed":
        model = strategy_models.Subclassed()  # not built yet
    elif kind == "nested":
        model = strategy_models.nested()
    elif kind == "strategy":
        model = training.AdversarialTraining(model, "words")
    else:
        model = strategy_models.STRATEGIES["penalty_adversarial"](model)
    found = explain(model, TOKENS, 1, steps=6, embedding="words", rule="midpoint")
    expected = numpy_attributions(model, TOKENS, 1, 6)
    np.testing.assert_allclose(found.attributions, expected, rtol=1e-4, atol=1e-6)


def test_half_precision_is_close():
    model = strategy_models.bag_of_words(dtype="mixed_float16")
    found = explain(model, TOKENS, 1, steps=6, embedding="words", rule="midpoint")
    expected = numpy_attributions(model, TOKENS, 1, 6)
    np.testing.assert_allclose(found.attributions, expected, atol=2e-3)
    assert found.attributions.dtype == "float32" and found.error.max() < 5e-3


def loop(model, inputs, value, output=None, steps=5):
    """By the definition: a model that is fed with the embeddings, step by step."""
    embeddings, _ = backend.layer_of(model, "Embedding-Token-Segment").input
    output = model.output if output is None else output
    fed = keras.Model([embeddings, *model.inputs], output)
    embedded = to_numpy(backend.layer_of(model, "Embedding-Token")(inputs[0]))
    rest = [ops.convert_to_tensor(x) for x in inputs]

    def gradients(x, *rest):
        return backend.value_and_input_gradients(lambda x: value(fed([x, *rest])), [x])[1]

    differentiate = backend.jit(gradients, model.variables)
    total = 0.0
    for point, weight in zip(*midpoint(steps), strict=True):
        along = ops.convert_to_tensor((point * embedded).astype("float32"))
        total = total + weight * to_numpy(differentiate(along, *rest)[0])
    return embedded * total


def test_bert_by_a_loop():
    """Every place has its own share, also where a token stands twice, and padding has none."""
    model, inputs = strategy_models.bert(), strategy_models.bert_inputs()
    options = {"steps": 5, "embedding": "Embedding-Token", "rule": "midpoint"}
    found = explain(model, inputs, 2, **options)
    expected = loop(model, inputs, lambda y: y[:, 2])
    padded = inputs[0] == 0
    assert padded.any() and (found.attributions[padded] == 0).all()
    np.testing.assert_allclose(found.attributions[~padded], expected[~padded], rtol=1e-4, atol=1e-6)
    row = next(i for i in range(8) if len(set(inputs[0][i][:4])) < 4)
    values, counts = np.unique(inputs[0][row][:4], return_counts=True)
    twice = np.flatnonzero(inputs[0][row][:4] == values[counts.argmax()])
    assert abs(found.tokens[row, twice[0]] - found.tokens[row, twice[1]]) > 1e-3
    # more padding changes nothing
    longer = [np.pad(x, ((0, 0), (0, 2))) for x in inputs]
    more = explain(model, longer, 2, **options).tokens
    np.testing.assert_allclose(more[:, :5], found.tokens, rtol=1e-4, atol=1e-6)
    assert (more[:, 5:] == 0).all()


def test_a_tied_table_moves_in_the_input_alone():
    model = strategy_models.fill(
        models.build_transformer_model(
            vocab_size=12,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position=8,
            with_mlm="linear",
        )
    )
    inputs = strategy_models.bert_inputs()
    inputs[0][:, -1] = 5

    def value(logits):
        return logits[:, 1, 7]

    def head(hidden):
        dense, norm, words, bias = (
            backend.layer_of(model, name)
            for name in ("MLM-Dense", "MLM-Norm", "Embedding-Token", "MLM-Bias")
        )
        return value(bias(words(norm(dense(hidden)), mode="dense")))

    found = explain(model, inputs, value, steps=5, embedding="Embedding-Token", rule="midpoint")
    expected = loop(model, inputs, head, backend.layer_of(model, "MLM-Dense").input)
    np.testing.assert_allclose(found.attributions, expected, rtol=1e-4, atol=1e-5)


def test_a_mask_says_which_tokens_move():
    model = strategy_models.bag_of_words()
    mask = np.ones((8, 5), bool)
    mask[:, 0] = mask[3, 2] = False
    found = explain(model, TOKENS, 1, steps=20, embedding="words", mask=mask)
    assert (found.attributions[~mask] == 0).all() and (found.attributions[mask] != 0).all()
    table = strategy_models.numpy_weights(model)[0]
    start = np.where(mask[..., None], 0.0, table[TOKENS])
    other = explain(model, TOKENS, 1, start, 20, "words")
    np.testing.assert_allclose(found.attributions, other.attributions, rtol=1e-5, atol=1e-6)
    assert found.error.max() < 1e-6
    same = explain(model, TOKENS, 1, steps=20, embedding="words", mask=mask[:1])
    np.testing.assert_array_equal(same.tokens[0], found.tokens[0])


# ---- the pretrained BERT


def sentiment_model(folder, checkpoint):
    bert = models.build_transformer_model(folder / "bert_config.json", folder / checkpoint)
    head = keras.layers.Dense(2, kernel_initializer=keras.initializers.RandomNormal(0.2, 0.2, 1))
    return keras.Model(bert.inputs, head(layers.FirstToken()(bert.output)))


def check_completeness(model, tokenizer):
    texts = ["床很不错，交通比想象的好。", "味道一般般，不推荐。"]
    rows = [tokenizer.encode(text, maxlen=16) for text in texts]
    inputs = [
        np.array([np.pad(row[i], (0, 16 - len(row[i]))) for row in rows], "int32") for i in (0, 1)
    ]
    moving = np.zeros(inputs[0].shape, bool)
    for row, (token_ids, _) in zip(moving, rows, strict=True):
        row[1 : len(token_ids) - 1] = True  # [CLS] and [SEP] stay, as in the recipe
    # from zeros, the first text takes twice as many steps with a head that is not trained
    start = tokenizer.token_to_id("[MASK]")
    found = explain(model, inputs, 1, start, embedding="Embedding-Token", mask=moving)
    assert found.error.max() < 1e-3 and abs(found.difference).min() > 0.1
    outputs = to_numpy(model(inputs))[:, 1]
    assert np.isfinite(outputs).all() and (found.tokens[~moving] == 0).all()


def test_shares_are_complete_on_the_small_bert():
    folder = DATA / "small_zh"
    model = sentiment_model(folder, "bert_model.npz")
    check_completeness(model, Tokenizer(folder / "vocab.txt"))


@pytest.mark.slow
def test_shares_are_complete_on_the_real_checkpoint(shared):
    folder = shared / "checkpoints" / "tiny_zh"
    check_completeness(sentiment_model(folder, "bert_model.ckpt"), Tokenizer(folder / "vocab.txt"))


# ---- errors


def test_what_cannot_be_is_refused():
    model, x = network(), RNG.normal(size=(4, 3))
    words = strategy_models.bag_of_words()
    for arguments, options, message in (
        ((None, x, 0), {}, "`model` must be a `keras.Model`. Received: None"),
        ((model, x, 2), {}, "`target` must be from 0 to 1. Received: 2"),
        ((model, x, -1), {}, "`target` must be from 0 to 1"),
        ((model, x, 0.5), {}, "`target` must be an int, 4 of them, or a callable"),
        ((model, x, [0, 1]), {}, "`target` must be an int, 4 of them"),
        ((model, x, lambda y: y), {}, "a value of every row"),
        ((model, x[:0], 0), {}, "`inputs` must be arrays of the same number"),
        ((model, x, 0, np.ones(4)), {}, r"`baseline` must have a shape that fits \(4, 3\)"),
        ((model, x, 0, "mean"), {}, "`baseline` must be None, a number or arrays"),
        ((model, x, 0), {"batch_size": 0}, "`batch_size` must be at least 1. Received: 0"),
        ((model, x, 0), {"steps": 0}, "`steps` must be an integer of at least 1"),
        ((model, x, 0), {"mask": np.ones((4, 3))}, "`mask` must be None without `embedding`"),
        ((words, TOKENS, 0), {}, "`embedding` must name the layer"),
        ((words, TOKENS, 0), {"embedding": "word"}, "exactly one layer of the name 'word'"),
        ((words, TOKENS, 0), {"embedding": "logits"}, "which does so 0 times"),
        ((words, TOKENS, 0, "zero"), {"embedding": "words"}, '`baseline` must be None, "mean"'),
        ((words, TOKENS, 0, 9), {"embedding": "words"}, "`baseline` must be ids from 0 to 8"),
        ((words, TOKENS, 0, 0.5), {"embedding": "words"}, "vectors of the shape"),
        (
            (words, TOKENS, 0),
            {"embedding": "words", "mask": np.ones(5)},
            "`mask` must have a first",
        ),
        ((strategy_models.two_outputs(list), TOKENS, 0), {"embedding": "words"}, "a callable for"),
    ):
        with pytest.raises(ValueError, match=message):
            explain(*arguments, **{"steps": 2, **options})


def test_a_layer_that_looks_up_twice_is_refused():
    tokens = keras.Input((5,), dtype="int32")
    words = keras.layers.Embedding(9, 4, name="words")
    x = keras.layers.Flatten()(words(tokens) * words(tokens[:, ::-1]))
    model = keras.Model(tokens, keras.layers.Dense(1)(x))
    with pytest.raises(ValueError, match="which does so 2 times"):
        explain(model, TOKENS, embedding="words")
