"""The pretrained BERT of the options."""

import dataclasses
from pathlib import Path

import pytest
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras.experiments import pretrained
from kexue_keras.experiments.options import NewModel, UsageError

pytestmark = pytest.mark.once


def test_files_go_together_and_belong_together(tmp_path):
    tiny = make_tiny_checkpoint(tmp_path)
    config_path, dict_path = Path(tiny.config_path), Path(tiny.dict_path)
    pretrained.check_paths(NewModel())
    pretrained.check_paths(NewModel(config_path=config_path, dict_path=dict_path))
    for name, path in (("config_path", config_path), ("dict_path", dict_path)):
        with pytest.raises(UsageError, match="`config_path` and `dict_path` go together"):
            pretrained.check_paths(NewModel(**{name: path}))
    dict_path.write_text(dict_path.read_text(encoding="utf-8") + "more\n", encoding="utf-8")
    with pytest.raises(UsageError, match="vocab.txt has 51 tokens, but .*json says vocab_size 50"):
        pretrained.load_tokenizer(NewModel(config_path=config_path, dict_path=dict_path))


def test_dropout_and_size_are_those_of_the_options(tmp_path):
    tiny = make_tiny_checkpoint(tmp_path)
    options = NewModel(
        config_path=Path(tiny.config_path),
        checkpoint_path=Path(tiny.checkpoint_path),
        dict_path=Path(tiny.dict_path),
        dropout=0.25,
    )
    bert = pretrained.load_bert(options)
    rates = {layer.rate for layer in bert.layers if type(layer).__name__ == "Dropout"}
    assert rates == {0.25}
    new = pretrained.new_model(
        dataclasses.replace(options, hidden_size=32, num_hidden_layers=1, maxlen=16), 20
    )
    assert new.get_layer("Embedding-Token").embeddings.shape == (20, 32)
