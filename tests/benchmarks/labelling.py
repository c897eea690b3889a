"""CRF and MEMM: against each other, and the CRF against bert4keras's.

    python tests/benchmarks/labelling.py               # two layers below, 31 labels

Work: "loss": loss and gradients by logits and transitions of a batch of 32 x 128, 31 labels, as
layers on given logits, in graphs of TensorFlow. "model": a training step of 2 transformer layers of
312 with the layer on top. All contestants of a task take turns.
"""

import argparse

import numpy as np
from pairing import compare, contestant

BATCH, LENGTH, LABELS = 32, 128, 31
ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "1"}
CONTESTANTS = {
    "loss": {
        "crf": ENVIRONMENT,
        "memm": ENVIRONMENT,
        "bert4keras-crf": {"TF_KERAS": "1", "TF_USE_LEGACY_KERAS": "1"},
    },
    "model": {"crf": ENVIRONMENT, "memm": ENVIRONMENT},
}
FIRST = {"loss": "crf", "model": "memm"}


def data():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(BATCH, LENGTH, LABELS)).astype("float32")
    return logits, rng.integers(0, LABELS, (BATCH, LENGTH)).astype("int32")


def layer_of(name):
    from kexue_keras import layers

    if name == "crf":
        return layers.ConditionalRandomField()
    return layers.MaximumEntropyMarkovModel()


def loss(name):
    import keras
    import tensorflow as tf

    from kexue_keras import backend

    logits, labels = data()
    layer = layer_of(name)
    layer.build(logits.shape)
    given = keras.Variable(logits)
    variables = [given, *layer.trainable_variables]
    gradients = backend.value_and_grad(
        lambda: keras.ops.mean(layer.sparse_loss(labels, layer(given.value))), variables
    )
    function = tf.function(lambda: gradients()[1])
    return lambda: [x.numpy() for x in function()]


def model(name):
    import keras

    from kexue_keras import backend, models

    rng = np.random.default_rng(0)
    token_ids = rng.integers(700, 8000, (BATCH, LENGTH)).astype("int32")
    _, labels = data()
    encoder = models.build_transformer_model(
        vocab_size=21128,
        hidden_size=312,
        num_hidden_layers=2,
        num_attention_heads=12,
        intermediate_size=1248,
    )
    layer = layer_of(name)
    whole = keras.Model(
        encoder.inputs, layer(keras.layers.Dense(LABELS)(encoder.output)), name="labels"
    )
    whole.compile("adam", layer.sparse_loss, jit_compile=backend.train_with_xla())
    inputs = [token_ids, np.zeros_like(token_ids)]
    return lambda: float(whole.train_on_batch(inputs, labels))


def bert4keras_loss():
    import tensorflow as tf
    from bert4keras.layers import ConditionalRandomField

    logits, labels = data()
    layer = ConditionalRandomField()
    layer.build(logits.shape)
    given = tf.Variable(logits)
    variables = [given, *layer.trainable_weights]

    @tf.function
    def function():
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(layer.sparse_loss(labels, layer(given)))
        return tape.gradient(value, variables)

    return lambda: [x.numpy() for x in function()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--contestant")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    if arguments.contestant:
        task, name = arguments.contestant.split(":")
        contestant(
            bert4keras_loss()
            if name == "bert4keras-crf"
            else {"loss": loss, "model": model}[task](name)
        )
        return
    for task, contestants in CONTESTANTS.items():
        named = {f"{task}:{name}": env for name, env in contestants.items()}
        compare(__file__, task, named, f"{task}:{FIRST[task]}", arguments.rounds)


if __name__ == "__main__":
    main()
