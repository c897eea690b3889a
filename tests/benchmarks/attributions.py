"""Integrated gradients in one program, against loops of single steps.

    python tests/benchmarks/attributions.py

Work: 32 reviews of 32 tokens, 50 steps, a classifier of four layers of 312 with a vocabulary of
21,128. `one_program` is `analysis.integrated_gradients`; `single` runs a step of one review at a
time, operation by operation, as a loop around a gradient does; `compiled` the same in a compiled
program; `batched` a step of all reviews at a time, operation by operation.
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
SIDES = ("one_program", "single", "compiled", "batched")
EMBEDDING = "Embedding-Token"


def work(name, reviews, steps, length):
    import keras
    from keras import ops

    from kexue_keras import analysis, backend, layers, models

    bert = models.build_transformer_model(**CONFIG)
    logits = keras.layers.Dense(2)(layers.FirstToken()(bert.output))
    model = keras.Model(bert.inputs, logits)
    token_ids = np.random.default_rng(0).integers(700, 8000, (reviews, length)).astype("int32")
    inputs = [token_ids, np.zeros_like(token_ids)]
    if name == "one_program":
        arguments = {"steps": steps, "embedding": EMBEDDING, "rule": "midpoint"}
        return lambda: analysis.integrated_gradients(model, inputs, 1, **arguments).tokens

    layer = backend.layer_of(model, EMBEDDING)

    def gradient(token_ids, segment_ids, along):
        embedded = layer(token_ids)

        def value(x):
            with backend.intercepted(layer, lambda call, *args, **kwargs: x):
                return model([token_ids, segment_ids], training=False)[:, 1]

        return backend.value_and_input_gradients(value, [along * embedded])[1][0] * embedded

    single = backend.jit(gradient, model.variables) if name == "compiled" else gradient
    size = reviews if name == "batched" else 1
    points = [ops.convert_to_tensor(np.float32((k + 0.5) / steps)) for k in range(steps)]

    def loop():
        for begin in range(0, reviews, size):
            part = [ops.convert_to_tensor(x[begin : begin + size]) for x in inputs]
            total = sum(single(*part, point) for point in points)
            tokens = ops.convert_to_numpy(ops.sum(total, -1) / steps)
        return tokens

    return loop


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--contestant", help="used by the script itself: run one side")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each side")
    parser.add_argument("--reviews", type=int, default=32)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--length", type=int, default=32, help="tokens of a review")
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax"])
    arguments = parser.parse_args()
    if arguments.contestant:
        name, *numbers = arguments.contestant.split(":")
        contestant(work(name, *map(int, numbers)))
        return
    numbers = f"{arguments.reviews}:{arguments.steps}:{arguments.length}"
    for name in arguments.backends:
        sides = {f"{side}:{numbers}": {"KERAS_BACKEND": name} for side in SIDES}
        title = f"{arguments.reviews} reviews x {arguments.steps} steps on {name}"
        compare(__file__, title, sides, f"one_program:{numbers}", arguments.rounds)


if __name__ == "__main__":
    main()
