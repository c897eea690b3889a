"""Training strategies against a plain `fit`, on the same batches of a small BERT classifier.

    python tests/benchmarks/strategies.py

Work: one Adam step on 16 x 64 tokens, four layers of 312, a vocabulary of 21,128. Adversarial
training runs the model twice, the gradient penalty differentiates twice.
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
STRATEGIES = ("plain", "strategy", "adversarial", "penalty")


def work(name):
    import keras

    from kexue_keras import backend, models, training

    rng = np.random.default_rng(0)
    token_ids = rng.integers(700, 8000, (BATCH, LENGTH)).astype("int32")
    inputs, labels = [token_ids, np.zeros_like(token_ids)], token_ids[:, 0] % 2
    transformer = models.build_transformer_model(**CONFIG, with_pool=True)
    model = keras.Model(transformer.inputs, keras.layers.Dense(2)(transformer.output))
    if name == "strategy":
        model = training.Strategy(model)
    elif name == "adversarial":
        model = training.AdversarialTraining(model, "Embedding-Token")
    elif name == "penalty":
        model = training.GradientPenalty(model, "Embedding-Token")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
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
        sides = {strategy: {"KERAS_BACKEND": name} for strategy in STRATEGIES}
        compare(__file__, f"{STEPS} steps on {name}", sides, "plain", arguments.rounds)


if __name__ == "__main__":
    main()
