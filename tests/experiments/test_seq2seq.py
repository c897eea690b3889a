"""What the Seq2Seq recipes share."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras.decoding import Generator
from kexue_keras.experiments import seq2seq
from kexue_keras.experiments.options import options_of

TEXTS = ["把一二三", "倒过来", "ab 12"]


@pytest.fixture
def options(tmp_path):
    return seq2seq.Options(
        hidden_size=32,
        num_hidden_layers=1,
        maxlen=16,
        max_target=8,
        epochs=3,
        batch_size=8,
        learning_rate=1e-2,
        dropout=0.0,
        output=tmp_path / "run",
    )


def test_a_new_vocabulary_holds_all_characters_and_is_kept(options):
    tokenizer, kept = seq2seq.load_tokenizer(options, TEXTS)
    assert kept is None
    ids, _ = tokenizer.encode("".join(TEXTS))
    assert tokenizer.unk_id not in ids
    (options.output / "config.json").write_text("{}", encoding="utf-8")
    again, _ = seq2seq.load_tokenizer(options, ["other"])
    assert again.token_dict == tokenizer.token_dict
    # no epoch was finished: it may be the vocabulary of other data
    (options.output / "config.json").unlink()
    again, _ = seq2seq.load_tokenizer(options, ["other"])
    assert again.token_dict != tokenizer.token_dict


def test_a_pretrained_vocabulary_is_simplified(options, tmp_path):
    tiny = make_tiny_checkpoint(tmp_path)
    with pytest.raises(ValueError, match="`config_path` and `dict_path` go together"):
        seq2seq.load_tokenizer(dataclasses.replace(options, dict_path=Path(tiny.dict_path)))
    options = dataclasses.replace(
        options,
        config_path=Path(tiny.config_path),
        checkpoint_path=Path(tiny.checkpoint_path),
        dict_path=Path(tiny.dict_path),
    )
    tokens = options.dict_path.read_text(encoding="utf-8")
    options.dict_path.write_text(tokens + "more\n", encoding="utf-8")
    with pytest.raises(ValueError, match="vocab.txt has 51 tokens, but .*json says vocab_size 50"):
        seq2seq.load_tokenizer(options)
    options.dict_path.write_text(tokens, encoding="utf-8")
    tokenizer, kept = seq2seq.load_tokenizer(options)
    model = seq2seq.build_model(options, tokenizer, kept)
    table = keras.ops.convert_to_numpy(model.get_layer("Embedding-Token").embeddings)
    expected = tiny.variables["bert/embeddings/word_embeddings"][kept]
    np.testing.assert_array_equal(table, expected)


def test_arrays_point_at_the_targets():
    (token_ids, segment_ids, positions), target = seq2seq.arrays([2, 7, 8, 3], [9, 6, 3])
    assert [token_ids[p + 1] for p in positions] == target
    assert segment_ids == [0, 0, 0, 0, 1, 1, 1]


def copy_task():
    rng = np.random.default_rng(0)
    return [rng.integers(4, 9, 3).tolist() for _ in range(64)]


def train(options, epochs, folder):
    options = dataclasses.replace(options, output=folder)
    tokenizer, _ = seq2seq.load_tokenizer(options, ["abcde"])
    model = seq2seq.build_model(options, tokenizer)
    options = dataclasses.replace(options, epochs=epochs, schedule="constant")
    end = tokenizer.end_id
    run = seq2seq.train(
        model,
        options,
        copy_task(),
        lambda ids: seq2seq.arrays([tokenizer.start_id, *ids, end], [ids[0], end]),
        evaluate=lambda: {"score": 0.0},
        monitor="score",
        free=("epochs",),
    )
    return model, run, end


@pytest.mark.once
def test_training_learns_resumes_and_decodes(options, tmp_path):
    model, run, end = train(options, 12, tmp_path / "whole")
    losses = [row["loss"] for row in run.history]
    assert losses[-1] < 0.6 * losses[0]
    train(options, 5, tmp_path / "parts")
    _, resumed, _ = train(options, 12, tmp_path / "parts")
    assert [row["loss"] for row in resumed.history] == losses
    model.load_weights(run.directory / "state-0012.weights.h5")
    found = Generator(model, end_id=end, maxlen=4).beam_search([[2, 5, 7, 8, end]])
    assert found[0][0][0] == [5, end]


def test_options_of_a_run_come_back(options):
    with pytest.raises(FileNotFoundError, match="has no trained weights"):
        _ = options.best_path
    options.output.mkdir()
    text = json.dumps(options_of(options))
    (options.output / "config.json").write_text(text, encoding="utf-8")
    (options.output / "best.weights.h5").touch()
    other = seq2seq.Options(output=options.output, epochs=7, checkpoint_path=Path("x"))
    back = other.as_trained(free=["epochs"])
    assert (back.hidden_size, back.maxlen, back.epochs) == (32, 16, 7)
    assert back.checkpoint_path is None and back.config_path is None


def test_cosine_schedule_warms_up_and_ends_at_zero(options):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    seq2seq.compile_for(model, options, steps=100)
    rate = model.optimizer._learning_rate
    values = [float(rate(step)) for step in (0, 5, 50, 100)]
    assert values[0] == 0 and values[1] == pytest.approx(1e-2)
    assert values[1] > values[2] > values[3] == pytest.approx(0, abs=1e-9)


@pytest.mark.once
def test_perplexity_is_that_of_the_targets_one_by_one(options):
    tokenizer, model = seq2seq.prepare(options, TEXTS)
    seq2seq.compile_for(model, options, 1)
    rows = [seq2seq.arrays([2, 5, 6, 3], [7, 3]), seq2seq.arrays([2, 4, 3], [8, 9, 5, 3])]
    losses = []
    for inputs, target in rows:
        logits = keras.ops.convert_to_numpy(model([np.array([x]) for x in inputs]))[0]
        logs = logits - np.log(np.exp(logits.astype("float64")).sum(-1, keepdims=True))
        losses += [-logs[i, token] for i, token in enumerate(target)]
    found = seq2seq.perplexity(model, rows, options.maxlen)
    assert found == pytest.approx(np.exp(np.mean(losses)), rel=1e-4)
