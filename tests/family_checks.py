"""What every family of models is tested for; the models are tiny and random."""

import keras
import numpy as np
from cached_steps import randomize
from contract import to_numpy

from kexue_keras import decoding, models
from kexue_keras.models.checkpoints.checkpoint_variable import google_variables

SIZES = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position": 16,
}
TOKEN_IDS = np.array([[2, 7, 9, 3, 11, 12, 3, 0], [2, 8, 0, 10, 13, 0, 14, 3]], "int32")
SEGMENT_IDS = np.array([[0, 0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 1, 1, 1, 1]], "int32")
KEPT = [0, 2, 3, 7, 9, 19]


def make(family, seed=0, **options):
    """A random model of a family, of its name or class."""
    return randomize(models.build_transformer_model(model=family, **SIZES | options), seed)


def run(model, token_ids=TOKEN_IDS, segment_ids=SEGMENT_IDS):
    return model.predict_on_batch([token_ids, segment_ids])


def variables_of(model):
    """The arrays of a checkpoint of Google's by name."""
    return {v.name: v.to_checkpoint() for v in google_variables(model)}


def assert_logits_equal(model, reference, token_ids=TOKEN_IDS, segment_ids=SEGMENT_IDS):
    """The language model's output against `reference.logits`, text by text."""
    rows = zip(token_ids, segment_ids, strict=True)
    expected = np.stack([reference.logits(*row) for row in rows])
    np.testing.assert_allclose(run(model, token_ids, segment_ids), expected, rtol=0, atol=1e-4)
    assert np.ptp(expected) > 2


def check_files(family, tmp_path, **options):
    """A checkpoint and a file of bert4keras there and back, tokens kept, a .keras file."""
    model = make(family, 1, **options)
    expected = model.get_weights()
    models.save_checkpoint(model, tmp_path / "model.ckpt")
    models.save_bert4keras_weights(model, tmp_path / "model.h5")
    for name in ("model.ckpt", "model.h5"):
        randomize(model, 2)
        models.load_checkpoint(model, tmp_path / name)
        assert_same_weights(model.get_weights(), expected)
    small = make(family, 4, keep_tokens=KEPT, **options)
    models.load_checkpoint(small, tmp_path / "model.ckpt")
    places = np.array([[1, 3, 4, 2, 5, 3, 2, 0]])
    expected = run(model, np.array(KEPT)[places], SEGMENT_IDS[:1])
    expected = expected if expected.shape[-1] != 20 else expected[..., KEPT]
    found = run(small, places, SEGMENT_IDS[:1])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    small.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.blueprint) is type(small.blueprint)
    assert_same_weights(again.get_weights(), small.get_weights())
    np.testing.assert_allclose(run(again, places, SEGMENT_IDS[:1]), found, atol=1e-6)


def assert_same_weights(found, expected):
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, two)


def check_mixed_precision(family, **options):
    """Half precision stays near single precision, and a step of training is finite."""
    options = {"num_hidden_layers": 1, **options}
    expected = run(make(family, **options))
    half = make(family, dtype="mixed_float16", dropout_rate=0.1, **options)
    found = run(half)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    half.compile("sgd", "mse")
    loss = half.train_on_batch([TOKEN_IDS, SEGMENT_IDS], np.zeros_like(found))
    assert np.isfinite(loss) and all(np.isfinite(to_numpy(w)).all() for w in half.weights)


def check_generator(model, prompts=((2, 5, 7), (2, 8))):
    """Beam search by `Generator`: the score of what it writes is that of the whole text."""
    generator = decoding.Generator(model, end_id=3, maxlen=3)
    for prompt, results in zip(prompts, generator.beam_search(prompts, topk=2), strict=True):
        for ids, score in results:
            text = [*prompt, *ids]
            token_ids, segments = np.zeros((2, 1, 8), "int32")
            token_ids[0, : len(text)] = text
            segments[0, len(prompt) : len(text)] = int(model.application == "unilm")
            logits = run(model, token_ids, segments)[0].astype("float64")
            logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
            places = np.arange(len(prompt), len(text))
            expected = logits[places - 1, token_ids[0, places]].sum()
            np.testing.assert_allclose(score, expected, rtol=0, atol=1e-4)


def check_hugging_face_names(model, expected):
    """The table has a name for every variable, and these among them, by layer."""
    mapping = model.blueprint.hugging_face_mapping()
    for layer in model.layers:
        if layer.weights:
            assert len(mapping[layer.name]) == len(layer.weights), layer.name
    for layer, names in expected.items():
        assert [str(name) for name in mapping[layer]] == names
