"""Few-shot classification: models that fill in blanks, and an ordinary classifier beside them.

A text is written into a `Pattern`; a masked language model's scores of the label words in its
blanks classify it, before any training, and after training on few labelled texts (in the pattern)
and many others (as they are) with the masked-LM loss.

Reference: https://kexue.fm/archives/7764; https://arxiv.org/abs/2001.07676
"""

import dataclasses
import random

import keras
import numpy as np

from kexue_keras import backend, datasets, models
from kexue_keras.experiments import fitting, prediction
from kexue_keras.experiments.buckets import buckets
from kexue_keras.experiments.options import SmallBert, Table
from kexue_keras.experiments.pretrained import load_bert, load_classifier, load_tokenizer
from kexue_keras.losses import SequenceCrossentropy
from kexue_keras.patterns import RandomMask, Verbalizer
from kexue_keras.tokenizers.vocabulary import is_special


@dataclasses.dataclass
class Options(Table, SmallBert):
    """Options of models and training."""

    learning_rate: float = 1e-4
    """Adam's at the start, falling to zero; the article takes 1e-5 for a BERT base."""
    maxlen: int = 128
    """Largest number of tokens; only the text is cut, never the pattern."""


def draw_labelled(samples, count, seed):
    """Few samples, which keep their labels, and the others, each in a random order.

    Args:
        samples: a sequence.
        count: number of the first ones.
        seed: of the order.

    >>> draw_labelled("abcd", 1, seed=0)
    (['c'], ['a', 'b', 'd'])
    """
    order = list(range(len(samples)))
    random.Random(seed).shuffle(order)
    drawn = [samples[i] for i in order]
    return drawn[:count], drawn[count:]


class FewShot:
    """Builds, trains and evaluates models for one set of labels.

    There is one language model and one classifier, each compiled once; `language_model` and
    `classifier` bring them back to the pretrained weights. So there is only one of each at a time.

    Args:
        options: `Options`.
        words: label to word, see `Verbalizer`.
    """

    def __init__(self, options, words):
        self.options = options
        self.verbalizer = Verbalizer(words)
        self.labels = self.verbalizer.labels
        self.tokenizer = load_tokenizer(options)
        ids = self.tokenizer.token_dict.items()
        ordinary = sorted(i for token, i in ids if not is_special(token))
        self.random_mask = RandomMask(self.tokenizer.mask_id, ordinary)
        self.buckets = buckets(options.maxlen, step=16)
        self._models = {}
        self._restricted = {}

    def language_model(self, seed):
        """The pretrained BERT with its head, at given positions only."""

        def build():
            bert = load_bert(self.options, with_mlm="linear", target_positions=True)
            return bert, SequenceCrossentropy()

        return self._fresh("language model", build, seed)

    def classifier(self, seed):
        """The pretrained BERT with a new layer on [CLS]."""

        def build():
            loss = keras.losses.CategoricalCrossentropy(from_logits=True)
            return load_classifier(self.options, len(self.labels)), loss

        model = self._fresh("classifier", build, seed)
        kernel = model.get_layer("Label").kernel
        kernel.assign(np.random.default_rng(seed).normal(0, 0.02, kernel.shape))
        return model

    def _fresh(self, name, build, seed):
        """The model of that name as it was built, its random generators seeded."""
        if name not in self._models:
            model, loss = build()
            fitting.compile_model(model, loss, self.options.learning_rate)
            self._models[name] = fitting.Snapshot(model)
        self._models[name].restore(np.random.default_rng(seed))
        return self._models[name].model

    def _fit(self, model, samples, encode, epochs, seed, **arguments):
        """Adam with a learning rate that falls to zero; the last weights count."""
        size = min(self.options.batch_size, len(samples))
        batches = datasets.Batches(
            samples, encode, size, self.buckets, seed=seed, drop_remainder=True, **arguments
        )
        fitting.fit_to_zero_rate(model, batches, self.options.learning_rate, epochs)

    def train_to_fill(self, model, pattern, labelled, texts, epochs, seed):
        """Masked-LM training: labelled texts in the pattern, the others as they are.

        Args:
            model: from `language_model`.
            pattern: a `Pattern`; None if there are no labelled texts.
            labelled: list of `(text, label)`.
            texts: list of texts without labels.
            epochs: passes over both together.
            seed: of the masks and the order.
        """
        maxlen, samples = self.options.maxlen, []
        if labelled:
            words = self.verbalizer.token_ids(self.tokenizer, pattern.num_masks).tolist()
        for text, label in labelled:
            token_ids, blanks = pattern.encode(self.tokenizer, text, maxlen)
            samples.append((token_ids, blanks, words[self.labels.index(label)]))
        samples += [(self.tokenizer.encode(text, maxlen=maxlen)[0], [], []) for text in texts]

        def mask(sample, rng):
            token_ids, blanks, words = sample
            masked, positions, originals = self.random_mask(token_ids, rng, blanks)
            return masked, blanks + positions, words + originals

        def encode(sample):
            token_ids, positions, targets = sample
            return (token_ids, [0] * len(token_ids), positions), targets

        self._fit(model, samples, encode, epochs, seed, augment=mask)

    def train_to_classify(self, model, samples, targets, epochs, seed):
        """Cross-entropy with hard or soft labels, `targets` `(samples, labels)`."""

        def encode(i):
            ids, segments = self.tokenizer.encode(samples[i], maxlen=self.options.maxlen)
            return (ids, segments), targets[i]

        self._fit(model, range(len(samples)), encode, epochs, seed, fixed=(2,))

    def filled_scores(self, model, pattern, texts):
        """Scores of the labels, `(texts, labels)`; only the label words are computed."""
        words = self.verbalizer.token_ids(self.tokenizer, pattern.num_masks)
        columns = sorted({int(i) for i in words.flat})
        rows = [pattern.encode(self.tokenizer, text, self.options.maxlen) for text in texts]
        rows = [(ids, [0] * len(ids), positions) for ids, positions in rows]
        logits = prediction.predict(self._restrict(model, columns), rows, self.buckets)
        return self.verbalizer.scores(words, columns, logits)

    def _restrict(self, model, columns):
        """The model with few output columns; compiled once for a model and its columns."""
        known, restricted = self._restricted.get(tuple(columns), (None, None))
        if known is not model:
            restricted = models.restrict_vocabulary(model, columns)
            restricted.compile(jit_compile=backend.train_with_xla())
            self._restricted[tuple(columns)] = model, restricted
        return restricted

    def class_scores(self, model, texts):
        """Logits of the labels, `(texts, labels)`."""
        rows = [self.tokenizer.encode(text, maxlen=self.options.maxlen) for text in texts]
        return prediction.predict(model, rows, self.buckets)
