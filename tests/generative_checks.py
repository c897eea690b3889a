"""What GPT, GPT-2, GPT2_ML and T5 are all tested for; the models are tiny and random."""

import json

import keras
import numpy as np
from cached_steps import randomize
from contract import compile, to_numpy

from kexue_keras import models

SIZES = {
    "vocab_size": 9,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position": 20,
}
FIRST = np.array([[2, 7, 8, 3, 1, 4, 3, 0], [2, 8, 0, 1, 5, 0, 4, 3]], "int32")
SECOND = np.array([[0, 0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 1, 1, 1, 1]], "int32")
KEPT = [0, 2, 3, 7, 8]


def make(family, seed=0, **options):
    """A random model of a family, of its name or class."""
    return randomize(models.build_transformer_model(model=family, **SIZES | options), seed)


def run(model, *inputs):
    """The output for FIRST and, if the model has two inputs, SECOND; or for other inputs."""
    inputs = list(inputs or (FIRST, SECOND))[: len(model.inputs)]
    graph = compile(lambda *arrays: model(list(arrays)), model.variables)
    return to_numpy(graph(*inputs))


def assert_logits_equal(found, expected):
    np.testing.assert_allclose(found, np.stack(list(expected)), rtol=0, atol=1e-4)
    assert np.ptp(found) > 1


def check_reload(model, tmp_path):
    """A `.keras` file, alone and with the model built into another one."""
    inputs = [FIRST, SECOND][: len(model.inputs)]
    outer = keras.Model(model.inputs, keras.layers.Dense(2, name="extra")(model.output))
    for saved in (model, outer):
        saved.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(to_numpy(again(inputs)), to_numpy(saved(inputs)), atol=1e-5)
    text = json.dumps(model.get_config())
    assert json.dumps(type(model).from_config(json.loads(text)).get_config()) == text


def check_mixed_precision(model, half):
    """Half precision stays near single precision, and a step of training is finite."""
    half.set_weights(model.get_weights())
    expected = run(model)
    found = run(half)
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()
    half.compile("sgd", "mse")
    loss = half.train_on_batch([FIRST, SECOND][: len(half.inputs)], np.zeros_like(found))
    assert np.isfinite(loss) and all(np.isfinite(to_numpy(w)).all() for w in half.weights)


def check_files(family, tmp_path, folder=True, **options):
    """Checkpoints of Google's and Hugging Face's names there and back, and tokens kept."""
    model, again = make(family, 1, **options), make(family, 2, **options)
    small = make(family, 3, keep_tokens=KEPT, **options)
    (tmp_path / "folder").mkdir()
    places = np.array([[1, 3, 4, 2, 4, 3, 2, 0]])
    second = np.array(KEPT)[SECOND[:1]] if model.blueprint.has_encoder else SECOND[:1]
    expected = run(model, np.array(KEPT)[places], second)[..., KEPT]
    for path in ("model.ckpt", *(["folder"] if folder else [])):
        models.save_checkpoint(model, tmp_path / path)
        models.load_checkpoint(again, tmp_path / path)
        for one, two in zip(again.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)
        randomize(again, 4)
        models.load_checkpoint(small, tmp_path / path)
        np.testing.assert_allclose(run(small, places, SECOND[:1]), expected, atol=1e-4)
        randomize(small, 5)
    if folder:
        last = {name: "linear" for name in ("with_lm", "final_activation") if name in options}
        path = str(tmp_path / "folder")
        built = models.build_transformer_model(path, path, **last)
        np.testing.assert_allclose(run(built), run(model), atol=1e-4)


def check_hugging_face_names(model, expected):
    """The table has a name for every variable, and these among them, by layer."""
    mapping = model.blueprint.hugging_face_mapping()
    for layer in model.layers:
        if layer.weights:
            assert len(mapping[layer.name]) == len(layer.weights), layer.name
    for layer, names in expected.items():
        assert [str(name) for name in mapping[layer]] == names
