"""Training strategies against a plain `fit`, on the same batches of a small BERT.

    python tests/benchmarks/strategies.py

Work: one Adam step on 16 x 64 tokens, four layers of 312, a vocabulary of 21,128: a classifier; a
language model (UniLM, half of the tokens are targets); and a classifier of four tasks.
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
BATCH, LENGTH, STEPS = 16, 64, 3
GROUPS = {
    "classifier": ("plain", "strategy", "adversarial", "penalty", "vat"),
    "language model": ("teacher_forcing", "tea_for_n"),
    "four tasks": ("sum", "min_norm", "gradient_norm", "main_auxiliary"),
}


def classifier(name):
    import keras

    from kexue_keras import models, training

    transformer = models.build_transformer_model(**CONFIG, with_pool=True)
    model = keras.Model(transformer.inputs, keras.layers.Dense(2)(transformer.output))
    table = "Embedding-Token"
    make = {
        "plain": lambda model: model,
        "strategy": training.Strategy,
        "adversarial": lambda model: training.AdversarialTraining(model, table),
        "penalty": lambda model: training.GradientPenalty(model, table),
        "vat": lambda model: training.VirtualAdversarialTraining(model, table),
    }[name]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return make(model), loss, lambda x: (x, x[0][:, 0] % 2)


def language_model(name):
    from kexue_keras import losses, models, training

    options = {"application": "unilm", "with_mlm": "linear", "target_positions": True}
    model = models.build_transformer_model(**CONFIG, **options)
    if name == "tea_for_n":
        model = training.TeaForN(model, steps=2)
    half = LENGTH // 2

    def batch(x):
        segments = np.tile(np.arange(LENGTH) >= half, (BATCH, 1)).astype("int32")
        positions = np.tile(np.arange(half - 1, LENGTH - 1), (BATCH, 1)).astype("int32")
        return [x[0], segments, positions], x[0][:, half:]

    return model, losses.SequenceCrossentropy(), batch


def four_tasks(name):
    import keras

    from kexue_keras import models, training

    transformer = models.build_transformer_model(**CONFIG, with_pool=True)
    outputs = [keras.layers.Dense(2, name=f"task_{i}")(transformer.output) for i in range(4)]
    model = keras.Model(transformer.inputs, outputs)
    if name == "gradient_norm":
        model = training.MultiTask(model, weighting=name)
    elif name != "sum":
        main = 0 if name == "main_auxiliary" else None
        model = training.MultiTask(model, combine=name, main=main)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return model, [loss] * 4, lambda x: (x, [x[0][:, i] % 2 for i in range(4)])


def work(name):
    import keras

    from kexue_keras import backend

    rng = np.random.default_rng(0)
    token_ids = rng.integers(700, 8000, (BATCH, LENGTH)).astype("int32")
    group = next(group for group, names in GROUPS.items() if name in names)
    make = {"classifier": classifier, "language model": language_model, "four tasks": four_tasks}
    model, loss, batch = make[group](name)
    inputs, labels = batch([token_ids, np.zeros_like(token_ids)])
    model.compile(keras.optimizers.Adam(2e-5), loss, jit_compile=backend.train_with_xla())

    def steps():
        for _ in range(STEPS):
            model.train_on_batch(inputs, labels)

    return steps


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--contestant", help="used by the script itself: run one side")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each side")
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax"])
    arguments = parser.parse_args()
    if arguments.contestant:
        contestant(work(arguments.contestant))
        return
    for name in arguments.backends:
        for group, strategies in GROUPS.items():
            sides = {strategy: {"KERAS_BACKEND": name} for strategy in strategies}
            title = f"{group}: {STEPS} steps on {name}"
            compare(__file__, title, sides, strategies[0], arguments.rounds)


if __name__ == "__main__":
    main()
