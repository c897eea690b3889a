"""A small SentencePiece model of T5's kind, trained here."""

import io
from pathlib import Path

import pytest

SENTENCES = (
    "studies have shown that owning a dog is good for you",
    "今天天气很好，我们去公园散步吧",
    "The house is wonderful. 苹果和香蕉各有三个。",
    "a dog and a house, the good old days of 2019",
)


def write_model(path, vocab_size=60, model_type="unigram", **options):
    """Trains a model with `<pad>`, `</s>` and `<unk>` as 0, 1, 2, as T5 has them.

    Args:
        path: path of the `.model` to write; returned.
        vocab_size, model_type, options: of the trainer.
    """
    sentencepiece = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    arguments = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "hard_vocab_limit": False}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_writer=model,
        vocab_size=vocab_size,
        model_type=model_type,
        character_coverage=0.99,
        minloglevel=2,
        num_threads=1,
        **{**arguments, **options},
    )
    path = Path(path)
    path.write_bytes(model.getvalue())
    return path
