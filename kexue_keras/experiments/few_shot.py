"""Few-shot classification: models that fill in blanks, and an ordinary classifier beside them.

A text is written into a `Pattern`; a masked language model's scores of the label words in its
blanks classify it, before any training, and after training on few labelled texts (in the pattern)
and many others (as they are) with the masked-LM loss.

Reference: https://kexue.fm/archives/7764; https://arxiv.org/abs/2001.07676
"""

import dataclasses
from pathlib import Path

import keras
import numpy as np

from kexue_keras import backend, datasets, layers, models
from kexue_keras.experiments.fitting import Snapshot, load_tokenizer
from kexue_keras.losses import SequenceCrossentropy
from kexue_keras.patterns import RandomMask, Verbalizer


@dataclasses.dataclass
class Options:
    """Options of models and training."""

    config_path: Path
    """Configuration of a pretrained BERT."""
    checkpoint_path: Path
    """Checkpoint of the BERT, masked-LM head included."""
    dict_path: Path
    """Vocabulary of the BERT."""
    batch_size: int = 32
    """Samples in a batch."""
    learning_rate: float = 1e-4
    """Adam's peak; the article takes 1e-5 for a BERT base."""
    maxlen: int = 128
    """Largest number of tokens; only the text is cut, never the pattern."""
    dropout: float = 0.1
    """Dropout rate."""


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
        special = {t for t in self.tokenizer.token_dict if t.startswith("[") and t.endswith("]")}
        ordinary = sorted(i for t, i in self.tokenizer.token_dict.items() if t not in special)
        self.random_mask = RandomMask(self.tokenizer.mask_id, ordinary)
        step = 32 if backend.train_with_xla() else 16
        self.buckets = (*range(step, options.maxlen, step), options.maxlen)
        self._models = {}

    def language_model(self, seed):
        """The pretrained BERT with its head, at given positions only."""

        def build():
            return self._bert(with_mlm="linear", target_positions=True), SequenceCrossentropy()

        return self._fresh("language model", build, seed)

    def classifier(self, seed):
        """The pretrained BERT with a new layer on [CLS]."""

        def build():
            bert = self._bert()
            first = layers.FirstToken(name="First")(bert.output)
            labels = keras.layers.Dense(len(self.labels), name="Label")(first)
            loss = keras.losses.CategoricalCrossentropy(from_logits=True)
            return keras.Model(bert.inputs, labels), loss

        model = self._fresh("classifier", build, seed)
        kernel = model.get_layer("Label").kernel
        kernel.assign(np.random.default_rng(seed).normal(0, 0.02, kernel.shape))
        return model

    def _bert(self, **arguments):
        rate = self.options.dropout
        return models.build_transformer_model(
            self.options.config_path,
            self.options.checkpoint_path,
            dropout_rate=rate,
            attention_dropout_rate=rate,
            **arguments,
        )

    def _fresh(self, name, build, seed):
        """The model of that name as it was built, its random generators seeded."""
        if name not in self._models:
            model, loss = build()
            optimizer = keras.optimizers.Adam(self.options.learning_rate, clipnorm=1.0)
            model.compile(optimizer, loss, jit_compile=backend.train_with_xla())
            self._models[name] = Snapshot(model)
        self._models[name].restore(np.random.default_rng(seed))
        return self._models[name].model

    def _fit(self, model, samples, encode, epochs, seed, **arguments):
        """Adam with a learning rate that falls to zero; the last weights count."""
        size = min(self.options.batch_size, len(samples))
        batches = datasets.Batches(
            samples, encode, size, self.buckets, seed=seed, drop_remainder=True, **arguments
        )
        steps = epochs * len(batches)

        def set_rate(batch, logs=None):
            backend.sync_variables(model)
            done = int(model.optimizer.iterations)
            model.optimizer.learning_rate = self.options.learning_rate * (1 - done / steps)

        callbacks = [
            batches.callback(),
            keras.callbacks.LambdaCallback(on_train_batch_begin=set_rate),
        ]
        model.fit(batches, epochs=epochs, shuffle=False, callbacks=callbacks, verbose=0)

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
        name = ("restricted", *columns)
        if name not in self._models:
            restricted = models.restrict_vocabulary(model, columns)
            restricted.compile(jit_compile=backend.train_with_xla())
            self._models[name] = restricted
        logits = self._predict(self._models[name], rows)
        return self.verbalizer.scores(words, columns, logits)

    def class_scores(self, model, texts):
        """Logits of the labels, `(texts, labels)`."""
        rows = [self.tokenizer.encode(text, maxlen=self.options.maxlen) for text in texts]
        return self._predict(model, rows)

    def _predict(self, model, rows, batch_size=64):
        """The outputs for all rows, in their order, computed sorted by length."""
        order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
        outputs = [None] * len(rows)
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            length = min(n for n in self.buckets if n >= len(rows[chosen[-1]][0]))
            columns = zip(*([np.array(x, "int32") for x in rows[i]] for i in chosen), strict=True)
            batch = [
                datasets.stack(column, batch_size, length if place < 2 else None)
                for place, column in enumerate(columns)
            ]
            found = model.predict_on_batch(batch)
            for i, output in zip(chosen, found, strict=False):
                outputs[i] = output
        return np.stack(outputs)
