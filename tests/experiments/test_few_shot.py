"""Models that fill in blanks: scores, training, and what a short sequence must not change."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras import datasets
from kexue_keras.experiments.few_shot import FewShot, Options
from kexue_keras.patterns import Pattern

WORDS = {"good": "很", "bad": "不"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    tiny = make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))
    return FewShot(
        Options(
            config_path=Path(tiny.config_path),
            checkpoint_path=Path(tiny.checkpoint_path),
            dict_path=Path(tiny.dict_path),
            batch_size=4,
            learning_rate=3e-3,
            maxlen=24,
            dropout=0.0,
        ),
        WORDS,
    )


TEXTS = ["好", "一二三四五六七八九十一二三四五六七八九十一二三四五六七八九十", "好一", "不二三"]
PATTERN = Pattern("[MASK]好。{text}")


def test_scores_are_those_of_the_whole_vocabulary_one_by_one(lab):
    model = lab.language_model(0)
    found = lab.filled_scores(model, PATTERN, TEXTS)
    ids = lab.verbalizer.token_ids(lab.tokenizer, 1)[:, 0]
    for text, scores in zip(TEXTS, found, strict=True):
        token_ids, positions = PATTERN.encode(lab.tokenizer, text, 24)
        batch = [np.array([x]) for x in (token_ids, [0] * len(token_ids), positions)]
        logits = keras.ops.convert_to_numpy(model(batch))[0, 0]
        probabilities = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(scores, logits[ids], atol=1e-4)
        assert scores.argmax() == probabilities[ids].argmax()


def test_training_to_fill_learns_the_labels_and_leaves_unlabelled_texts_alone(lab):
    labelled = [(text, "good" if i % 2 else "bad") for i, text in enumerate(TEXTS)]
    model = lab.language_model(0)
    lab.train_to_fill(model, PATTERN, labelled, ["一二", "三四"], epochs=150, seed=0)
    scores = lab.filled_scores(model, PATTERN, TEXTS)
    assert scores.argmax(1).tolist() == [lab.labels.index(label) for _, label in labelled]


def test_training_to_classify(lab):
    classifier = lab.classifier(0)
    targets = np.eye(2, dtype="float32")[[0, 1, 1, 0]]
    lab.train_to_classify(classifier, TEXTS, targets, epochs=30, seed=0)
    assert lab.class_scores(classifier, TEXTS).argmax(1).tolist() == [0, 1, 1, 0]


def test_the_same_seed_gives_the_same_weights(lab):
    scores = []
    for seed in (0, 0, 1):
        classifier = lab.classifier(seed)
        lab.train_to_classify(classifier, TEXTS, np.eye(2, dtype="float32")[[0, 1, 1, 0]], 2, seed)
        scores.append(lab.class_scores(classifier, TEXTS))
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
    assert np.abs(scores[0] - scores[2]).max() > 1e-3


def test_words_unknown_to_the_vocabulary_are_refused(lab):
    other = FewShot(dataclasses.replace(lab.options), {"good": "很", "bad": "龘"})
    with pytest.raises(ValueError, match="known tokens"):
        other.filled_scores(other.language_model(0), PATTERN, TEXTS)


def test_scores_are_those_of_the_model_asked(lab):
    """A second model with the same label words does not get the first one's scores."""
    first = lab.language_model(0)
    other = FewShot(lab.options, WORDS).language_model(0)
    other.set_weights([1.5 * weight for weight in other.get_weights()])
    scores = [lab.filled_scores(model, PATTERN, TEXTS) for model in (first, other, first)]
    np.testing.assert_array_equal(scores[0], scores[2])
    assert np.abs(scores[0] - scores[1]).max() > 1e-3
    ids = lab.verbalizer.token_ids(lab.tokenizer, 1)[:, 0]
    token_ids, positions = PATTERN.encode(lab.tokenizer, TEXTS[0], 24)
    batch = [np.array([x]) for x in (token_ids, [0] * len(token_ids), positions)]
    logits = keras.ops.convert_to_numpy(other(batch))[0, 0]
    np.testing.assert_allclose(scores[1][0], logits[ids], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "template, right",
    [
        ("[MASK]满意。{text}", 1703),
        ("[MASK]好。{text}", 1558),
        ("[MASK]理想。{text}", 1554),
        ("感觉如何？[MASK]满意。{text}", 1701),
    ],
)
def test_published_zero_shot_numbers_of_the_real_checkpoint(shared, template, right):
    folder = shared / "checkpoints" / "tiny_zh"
    options = Options(
        config_path=folder / "bert_config.json",
        checkpoint_path=folder / "bert_model.ckpt",
        dict_path=folder / "vocab.txt",
    )
    lab = FewShot(options, {"1": "很", "0": "不"})
    samples = datasets.load_sentiment(shared / "data" / "sentiment" / "valid.tsv.xz")
    scores = lab.filled_scores(lab.language_model(0), Pattern(template), [t for t, _ in samples])
    found = [lab.labels[i] for i in scores.argmax(axis=1)]
    count = sum(a == str(b) for a, (_, b) in zip(found, samples, strict=True))
    assert len(samples) == 2111 and abs(count - right) <= 2
