"""The RoBERTa of Hugging Face: padding, positions and segments of its own; see tests/peers."""

import json

import keras
import numpy as np
import pytest
from contract import perturb
from safetensors.numpy import load_file

from kexue_keras import models

CONFIG = {
    "model_type": "roberta",
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 18,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "hidden_dropout_prob": 0.0,
}
EXCHANGED = [1, 0, *range(2, 20)]


@pytest.fixture
def config_path(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG), encoding="utf-8")
    return path


def build(config_path, **options):
    options = {"keep_tokens": EXCHANGED, "with_mlm": "linear", **options}
    model = models.build_transformer_model(config_path, **options)
    perturb(model)
    return model


def test_equals_a_bert_whose_first_segment_is_added(config_path):
    model = build(config_path)
    assert type(model.blueprint) is models.RobertaBlueprint and model.blueprint.epsilon == 1e-5
    assert model.max_position == 16 and len(model.inputs) == 1
    bert = models.Bert(20, 8, 1, 2, 12, max_position=16, epsilon=1e-5, with_mlm="linear")
    for layer in model.layers:
        if layer.weights:
            weights = layer.get_weights()
            if layer.name == "Embedding-Segment":
                weights = [np.concatenate([weights[0], np.ones((1, 8))])]
            bert.get_layer(layer.name).set_weights(weights)
    ids = np.array([[1, 5, 9, 2, 0, 0], [1, 7, 3, 11, 19, 2]], "int32")
    expected = bert.predict_on_batch([ids, np.zeros_like(ids)])
    np.testing.assert_allclose(model.predict_on_batch(ids), expected, rtol=1e-5, atol=1e-5)


def test_saved_model_loads_again(config_path, tmp_path):
    model = build(config_path)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.blueprint.config["pad_token_id"] == 1
    for x, y in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.once
def test_the_file_has_its_own_order_of_tokens_and_rows_before_the_positions(config_path, tmp_path):
    model = build(config_path)
    folder = tmp_path / "saved"
    folder.mkdir()
    models.save_checkpoint(model, folder)
    tensors = load_file(folder / "model.safetensors")
    table = tensors["roberta.embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(
        model.get_layer("Embedding-Token").get_weights()[0], table[EXCHANGED]
    )
    positions = tensors["roberta.embeddings.position_embeddings.weight"]
    assert positions.shape == (18, 8) and not positions[:2].any()
    assert tensors["roberta.embeddings.token_type_embeddings.weight"].shape == (1, 8)
    assert {"lm_head.dense.weight", "lm_head.layer_norm.bias", "lm_head.bias"} < set(tensors)
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert written["pad_token_id"] == 1
    assert {name: written[name] for name in CONFIG} == CONFIG
    again = build(folder)
    models.load_checkpoint(again, folder)
    for x, y in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.once
def test_padding_must_be_exchanged(config_path, tmp_path):
    message = "`keep_tokens` must begin with the id of padding, 1, .* Received: None"
    with pytest.raises(ValueError, match=message):
        models.build_transformer_model(config_path)
    with pytest.raises(ValueError, match=r"Received: \[0, 1\]"):
        models.build_transformer_model(config_path, keep_tokens=[0, 1])
    few = models.build_transformer_model(config_path, keep_tokens=[1, 0, 5])
    with pytest.raises(ValueError, match="`keep_tokens` must hold all ids .* Received: 3 of 20"):
        models.save_checkpoint(few, tmp_path / "model.safetensors")


@pytest.mark.once
def test_segments_if_there_are_some_and_no_next_sentence(config_path):
    model = build(config_path, type_vocab_size=2, with_mlm=False)
    assert len(model.inputs) == 2
    model = build(config_path, with_nsp=True)
    with pytest.raises(ValueError, match="Hugging Face's 'roberta' has. Received: NSP-Proba"):
        models.save_checkpoint(model, config_path.parent)
    # without Hugging Face's configuration, "roberta" is the Chinese one, a BERT
    sizes = {name: CONFIG[name] for name in list(CONFIG)[1:6]}
    assert type(models.build_transformer_model(model="roberta", **sizes)) is models.Bert
