"""The checkpoint in `data/small_zh`: opens like any other, and knows what its card says."""

from pathlib import Path

import numpy as np
import pytest
from keras import ops

from kexue_keras import models
from kexue_keras.tokenizers import Tokenizer, load_vocab

FOLDER = Path(__file__).resolve().parents[1] / "data" / "small_zh"
SIZE = 10_390


def build(**arguments):
    return models.build_transformer_model(
        FOLDER / "bert_config.json", FOLDER / "bert_model.npz", **arguments
    )


def test_files_are_small_and_agree():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 16_000_000
    assert len(load_vocab(FOLDER / "vocab.txt")) == SIZE
    assert build(with_pool=True).output.shape == (None, 312)


def test_it_fills_blanks():
    tokenizer = Tokenizer(FOLDER / "vocab.txt")
    model = build(with_mlm="linear")
    for text, word in (("中国的首都是北[]。", "京"), ("今天天[]很好，出太阳了。", "气")):
        before, after = text.split("[]")
        first = tokenizer.encode(before)[0][:-1]
        token_ids = first + [tokenizer.mask_id] + tokenizer.encode(after)[0][1:]
        batch = [np.array([token_ids]), np.zeros((1, len(token_ids)), "int32")]
        logits = ops.convert_to_numpy(model(batch))[0, len(first)]
        assert tokenizer.id_to_token(int(logits.argmax())) == word


@pytest.mark.once
def test_it_equals_the_checkpoint_it_was_made_of(shared):
    folder = shared / "checkpoints" / "tiny_zh"
    vocab, small = load_vocab(folder / "vocab.txt"), load_vocab(FOLDER / "vocab.txt")
    kept = [vocab[token] for token in small]
    whole = models.build_transformer_model(
        folder / "bert_config.json",
        folder / "bert_model.ckpt",
        with_mlm="linear",
        keep_tokens=kept,
    )
    model = build(with_mlm="linear")
    for a, b in zip(whole.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))
