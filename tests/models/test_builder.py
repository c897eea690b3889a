import inspect
import json
from pathlib import Path

import pytest
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras.models import Bert, BertBlueprint, CheckpointError, build_transformer_model

SIZES = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


def test_names_of_the_contract_come_first_and_in_order():
    parameters = list(inspect.signature(build_transformer_model).parameters)
    assert parameters == [
        "config_path",
        "checkpoint_path",
        "model",
        "application",
        "with_pool",
        "with_mlm",
        "keep_tokens",
        "return_keras_model",
        "config",
    ]


def test_reads_googles_names(tiny):
    model = build_transformer_model(tiny.config_path)
    config = model.get_config()
    assert type(model) is Bert
    assert config["max_position"] == 32 and config["segment_vocab_size"] == 2
    assert config["dropout_rate"] == config["attention_dropout_rate"] == 0.1
    assert model.max_position == 32 and model.application == "encoder" and not model.keep_tokens
    assert "initializer_range" not in config


def test_arguments_take_the_place_of_the_file(tiny):
    model = build_transformer_model(
        tiny.config_path, hidden_dropout_prob=0.3, max_position=16, num_hidden_layers=1
    )
    config = model.get_config()
    assert config["dropout_rate"] == 0.3 and config["max_position"] == 16
    assert config["num_hidden_layers"] == 1 and config["attention_dropout_rate"] == 0.1


def test_entries_of_other_libraries_are_passed_over(tiny, tmp_path):
    config = json.loads(Path(tiny.config_path).read_text(encoding="utf-8"))
    config |= {"dtype": "float16", "name": "x", "attention_probs_dropout_prob": None}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    model = build_transformer_model(path)
    assert model.weights[0].dtype == "float32" and model.name != "x"
    assert model.get_config()["attention_dropout_rate"] == 0.0
    assert build_transformer_model(path, dropout_rate=None).get_config()["dropout_rate"] == 0.0


def test_without_a_file(tmp_path):
    assert build_transformer_model(**SIZES).output.shape == (None, None, 8)
    model = build_transformer_model(**SIZES, model="roberta", with_mlm="linear", application="lm")
    assert model.output.shape == (None, None, 20) and model.application == "lm"
    assert build_transformer_model(**SIZES, name="encoder").name == "encoder"
    assert build_transformer_model(**SIZES, with_nsp=True).output.shape == (None, 2)


def test_bert4keras_s_object():
    for value in (True, False):
        found = build_transformer_model(**SIZES, return_keras_model=value)
        assert type(found) is (Bert if value else BertBlueprint)
    assert type(found.model) is Bert and found.layers["Embedding-Norm"] in found.model.layers
    assert found.variable_mapping()["Embedding-Token"] == ["bert/embeddings/word_embeddings"]


def test_layer_names_are_those_of_bert4keras(tiny):
    model = build_transformer_model(
        tiny.config_path, application="unilm", with_pool=True, with_nsp=True, with_mlm=True
    )
    names = {layer.name for layer in model.layers}
    block = ["MultiHeadSelfAttention", "FeedForward"]
    endings = ["", "-Dropout", "-Add", "-Norm"]
    expected = {f"Transformer-{i}-{b}{e}" for i in range(2) for b in block for e in endings}
    expected |= {"Input-Token", "Input-Segment", "Embedding-Token", "Embedding-Segment"}
    expected |= {"Embedding-Token-Segment", "Embedding-Position", "Embedding-Norm"}
    expected |= {"Embedding-Dropout", "Pooler", "Pooler-Dense", "NSP-Proba"}
    expected |= {"MLM-Dense", "MLM-Norm", "MLM-Bias", "MLM-Activation"}
    assert expected <= names


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"model": "bart"}, "`model` must be one of .*Received: 'bart'"),
        ({"hiden_size": 8}, "Bert has no argument `hiden_size`. Received: hiden_size=8"),
        ({"self": 1}, "Bert has no argument `self`. Received: self=1"),
        ({"application": "gpt"}, "`application` must be one of .*Received: 'gpt'"),
        ({"num_attention_heads": 3}, "`num_attention_heads` must divide `hidden_size` 8.*3"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_transformer_model(**(SIZES | arguments))


@pytest.mark.parametrize("name", SIZES)
def test_a_missing_size_is_named(name, tmp_path):
    sizes = {k: v for k, v in SIZES.items() if k != name}
    with pytest.raises(ValueError, match=f"`{name}` is needed"):
        build_transformer_model(**sizes)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(sizes))
    with pytest.raises(ValueError, match=f"`{name}` is needed.*config.json"):
        build_transformer_model(str(path))


@pytest.mark.parametrize("text", ["", "{", '{"hidden_size": 8', "not json"])
def test_broken_json(text, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="`config_path` .*config.json is not valid JSON"):
        build_transformer_model(path)


def test_json_that_is_no_object(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("[1, 2]")
    with pytest.raises(ValueError, match="must hold a JSON object. Received: list"):
        build_transformer_model(path)


def test_missing_files(tiny, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.json"):
        build_transformer_model(tmp_path / "absent.json")
    with pytest.raises(CheckpointError, match="absent.ckpt"):
        build_transformer_model(tiny.config_path, tmp_path / "absent.ckpt")


def hugging_face_config(tmp_path, **changes):
    path = tmp_path / "config.json"
    names = {"model_type": "bert", "max_position_embeddings": 16, "layer_norm_eps": 1e-5}
    path.write_text(json.dumps({**SIZES, **names, **changes}), encoding="utf-8")
    return path


def test_hugging_face_s_configuration(tmp_path):
    path = hugging_face_config(tmp_path, hidden_act="gelu_new", torch_dtype="float16")
    for model in (None, "bert", "roberta", BertBlueprint):
        found = build_transformer_model(path, model=model)
        assert type(found) is Bert and found.max_position == 16 and found.dtype == "float32"
        config = found.get_config()
        assert config["hidden_act"] == "gelu_tanh" and config["epsilon"] == 1e-5
        assert config["dropout_rate"] == 0.1  # what transformers has for a key that is absent
    assert build_transformer_model(tmp_path, dropout_rate=0.0).get_config()["dropout_rate"] == 0


def test_a_family_that_is_not_known(tmp_path):
    path = hugging_face_config(tmp_path, model_type="llama")
    with pytest.raises(ValueError, match="`model` must be given .* Received: model_type='llama'"):
        build_transformer_model(path)
    assert type(build_transformer_model(path, model="bert", hidden_act="gelu")) is Bert
