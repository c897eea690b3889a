"""T5's names and configuration in other formats."""

import pytest
from generative_checks import check_hugging_face_names, make

from kexue_keras.models import T5Blueprint, t5_names


def test_names_of_hugging_face():
    model = make("t5.1.1", num_decoder_layers=1)
    expected = {
        "Embedding-Token": ["shared.weight"],
        "Encoder-Transformer-1-FeedForward": [
            f"encoder.block.1.layer.1.DenseReluDense.{name}.weight"
            for name in ("wi_0", "wi_1", "wo")
        ],
        "Decoder-Transformer-0-MultiHeadCrossAttention": [
            f"decoder.block.0.layer.1.EncDecAttention.{name}.weight" for name in "qkvo"
        ],
        "Decoder-Transformer-0-FeedForward-Norm": ["decoder.block.0.layer.2.layer_norm.weight"],
        "Decoder-Output-Norm": ["decoder.final_layer_norm.weight"],
    }
    check_hugging_face_names(model, expected)


def test_names_of_google():
    mapping = make("mt5.1.1").variable_mapping()
    assert mapping["Encoder-Output-Norm"] == ["encoder/rms_norm/scale"]
    assert mapping["Encoder-Output-Norm"][0].others == ("encoder/final_layer_norm/scale",)
    assert mapping["Decoder-Transformer-1-MultiHeadSelfAttention-Norm"][0].others == (
        "decoder/block_001/layer_000/layer_norm/scale",
    )
    assert mapping["Decoder-Transformer-1-FeedForward"][2] == (
        "decoder/block_001/layer_002/DenseReluDense/wo/kernel"
    )
    plain = make("t5").variable_mapping()
    assert plain["Encoder-Output-Norm"] == ["encoder/final_layer_norm/scale"]
    assert "Decoder-Output-LM" not in plain


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {"version": "t5.1.0", "hidden_act": "relu", "scale_output": True}),
        (
            {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
            {"version": "t5.1.1", "hidden_act": ["gelu", "linear"], "scale_output": False},
        ),
        ({"feed_forward_proj": "gelu"}, {"hidden_act": "gelu_erf"}),
        (
            {"model_type": "mt5", "num_decoder_layers": 3},
            {"version": "mt5.1.1", "vocab_size": 250112, "num_decoder_layers": 3},
        ),
    ],
)
def test_configuration(config, expected):
    found = t5_names.from_hugging_face(config)
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("config", [{}, {"model_type": "mt5", "num_heads": 2, "d_model": 128}])
def test_there_and_back(config):
    arguments = t5_names.from_hugging_face(config)
    epsilon = arguments.pop("epsilon")
    written = T5Blueprint(**arguments).to_hugging_face()
    again = t5_names.from_hugging_face(written)
    assert again.pop("epsilon") == epsilon
    assert again.pop("num_decoder_layers") == again["num_hidden_layers"]
    arguments.pop("num_decoder_layers")
    assert again == arguments


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"relative_attention_num_buckets": 8}, "`relative_attention_num_buckets` .*Received: 8"),
        ({"tie_word_embeddings": False}, "`tie_word_embeddings` in config.json must be true"),
    ],
)
def test_what_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        t5_names.from_hugging_face(config)
    with pytest.raises(ValueError, match="`cross_position_bias` must be False in Hugging Face's"):
        make("t5", cross_position_bias=True).blueprint.to_hugging_face()
