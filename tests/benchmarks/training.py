"""Training steps: this package against bert4keras and Hugging Face, at the size of a tiny BERT.

    python tests/benchmarks/training.py                # all four layers of 312, float32

Work: one Adam step on a batch of 16 x 128. "unilm": a Seq2Seq model, loss on the 32 target tokens
of every sample; bert4keras computes the vocabulary at all 128 positions, we at the targets. The
losses are the same number. "encoder": a classifier on the mean of the hidden states.
Dropout is off in both; weights are random, which does not change the work.
"""

import argparse

import numpy as np
from pairing import compare, contestant

CONFIG = {
    "vocab_size": 21128,
    "hidden_size": 312,
    "num_hidden_layers": 4,
    "num_attention_heads": 12,
    "intermediate_size": 1248,
    "hidden_act": "gelu",
}
BATCH, LENGTH, TARGETS = 16, 128, 32
ENVIRONMENTS = {
    "ours-tensorflow": {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "1"},
    "ours-jax": {"KERAS_BACKEND": "jax"},
    "bert4keras": {"TF_KERAS": "1", "TF_USE_LEGACY_KERAS": "1"},
    "huggingface": {},
}


def data():
    rng = np.random.default_rng(0)
    token_ids = rng.integers(700, 8000, (BATCH, LENGTH)).astype("int32")
    segment_ids = np.zeros_like(token_ids)
    segment_ids[:, LENGTH - TARGETS :] = 1
    return token_ids, segment_ids, token_ids[:, 0] % 2


def ours(task):
    import keras

    from kexue_keras import backend, losses, models

    token_ids, segment_ids, labels = data()
    if task == "unilm":
        model = models.build_transformer_model(
            **CONFIG, application="unilm", with_mlm="linear", target_positions=True
        )
        positions = np.arange(LENGTH - TARGETS - 1, LENGTH - 1, dtype="int32")
        inputs = [token_ids, segment_ids, np.tile(positions, (BATCH, 1))]
        labels = token_ids[:, LENGTH - TARGETS :]
        loss = losses.SequenceCrossentropy()
    else:
        encoder = models.build_transformer_model(**CONFIG)
        pooled = keras.layers.GlobalAveragePooling1D()(encoder.output)
        model = keras.Model(encoder.inputs, keras.layers.Dense(2)(pooled))
        inputs = [token_ids, segment_ids]
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-5), loss, jit_compile=backend.train_with_xla())
    return lambda: float(model.train_on_batch(inputs, labels))


def bert4keras(task):
    import tensorflow as tf

    tf.keras.optimizers.Optimizer = tf.keras.optimizers.legacy.Optimizer
    from bert4keras.backend import K, keras
    from bert4keras.layers import Loss
    from bert4keras.models import build_transformer_model
    from bert4keras.optimizers import Adam

    class CrossEntropy(Loss):
        def compute_loss(self, inputs, mask=None):
            y_true, y_mask, y_pred = inputs
            y_true, y_mask, y_pred = y_true[:, 1:], y_mask[:, 1:], y_pred[:, :-1]
            loss = K.sparse_categorical_crossentropy(y_true, y_pred)
            y_mask = K.cast(y_mask, K.floatx())
            return K.sum(loss * y_mask) / K.sum(y_mask)

    token_ids, segment_ids, labels = data()
    config = {**CONFIG, "max_position": 512}
    if task == "unilm":
        model = build_transformer_model(**config, application="unilm")
        output = CrossEntropy(2)([*model.inputs, model.outputs[0]])
        model = keras.models.Model(model.inputs, output)
        model.compile(optimizer=Adam(2e-5))
        labels = None
    else:
        model = build_transformer_model(**config)
        output = keras.layers.GlobalAveragePooling1D()(model.output)
        model = keras.models.Model(model.inputs, keras.layers.Dense(2)(output))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=Adam(2e-5), loss=loss)
    return lambda: model.train_on_batch([token_ids, segment_ids], labels)


def huggingface(task):
    import torch
    from transformers import BertConfig, BertModel

    config = {k: v for k, v in CONFIG.items()}
    bert = BertModel(
        BertConfig(**config, hidden_dropout_prob=0, attention_probs_dropout_prob=0),
        add_pooling_layer=False,
    )
    token_ids, segment_ids, labels = (torch.tensor(x, dtype=torch.long) for x in data())
    head = torch.nn.Linear(CONFIG["hidden_size"], CONFIG["vocab_size"] if task == "unilm" else 2)
    optimizer = torch.optim.Adam([*bert.parameters(), *head.parameters()], 2e-5)
    order = segment_ids.cumsum(1)
    mask = (order[:, None, :] <= order[:, :, None])[:, None] if task == "unilm" else None

    def step():
        optimizer.zero_grad()
        hidden = bert(token_ids, mask, segment_ids).last_hidden_state
        if task == "unilm":
            logits = head(hidden[:, -TARGETS - 1 : -1])
            targets = token_ids[:, -TARGETS:]
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        else:
            loss = torch.nn.functional.cross_entropy(head(hidden.mean(1)), labels)
        loss.backward()
        optimizer.step()
        return float(loss)

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--contestant", help="used by the script itself: run one side")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each side")
    parser.add_argument(
        "--peers", nargs="+", default=list(ENVIRONMENTS), choices=list(ENVIRONMENTS)
    )
    arguments = parser.parse_args()
    if arguments.contestant:
        task, name = arguments.contestant.split(":")
        make = {"bert4keras": bert4keras, "huggingface": huggingface}.get(name, ours)
        contestant(make(task))
        return
    for task in ("unilm", "encoder"):
        sides = {f"{task}:{name}": ENVIRONMENTS[name] for name in arguments.peers}
        compare(__file__, task, sides, f"{task}:{arguments.peers[0]}", arguments.rounds)


if __name__ == "__main__":
    main()
