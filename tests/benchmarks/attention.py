"""Performer against softmax attention: where it overtakes, and how it grows.

    python tests/benchmarks/attention.py               # lengths 512 to 8,192, then up to 65,536
    KERAS_BACKEND=jax python tests/benchmarks/attention.py

Work: training steps of one causal self-attention layer of 4 heads of 64, batch 1, float32, compiled
as `fit` does; the Performer with 256 features. The two take turns at every length; above the
last length of softmax attention the Performer goes on alone, and its time per token and the
process's peak memory are printed.
"""

import argparse
import resource
import statistics
import time

import keras
import numpy as np
from keras import ops

from kexue_keras import backend, layers

WIDTH, HEADS, FEATURES = 256, 4, 256


class CausalSoftmax(keras.layers.Layer):
    """Softmax attention with the causal mask."""

    def __init__(self):
        super().__init__()
        self.attention = layers.MultiHeadAttention(HEADS)

    def call(self, x):
        place = ops.arange(x.shape[1])
        return self.attention(x, attention_mask=(place[:, None] >= place)[None])


def performer():
    return layers.PerformerAttention(HEADS, num_features=FEATURES, causal=True, seed=0)


def timed(make, length):
    """A call that takes one training step, compiled for one length."""
    inputs = keras.Input((length, WIDTH))
    model = keras.Model(inputs, make()(inputs))
    model.compile("sgd", "mse", jit_compile=backend.train_with_xla())
    x = np.random.default_rng(0).normal(size=(1, length, WIDTH)).astype("float32")

    def run():
        began = time.perf_counter()
        model.train_on_batch(x, x)
        return time.perf_counter() - began

    run()
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--longest-softmax", type=int, default=8192)
    parser.add_argument("--longest", type=int, default=65536)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"Keras on {keras.backend.backend()}, causal, {HEADS} heads of {WIDTH // HEADS}")
    length = 512
    while length <= arguments.longest:
        runs = {"performer": timed(performer, length)}
        if length <= arguments.longest_softmax:
            runs["softmax"] = timed(CausalSoftmax, length)
        seconds = {name: [] for name in runs}
        for _ in range(arguments.rounds):
            for name, run in runs.items():
                seconds[name].append(run())
        ours = statistics.median(seconds["performer"])
        line = f"length {length:6d}: performer {ours * 1e3:8.0f} ms"
        line += f", {ours / length * 1e6:5.1f} us a token"
        if "softmax" in seconds:
            pairs = zip(seconds["performer"], seconds["softmax"], strict=True)
            ratios = sorted(b / a for a, b in pairs)
            line += (
                f", softmax {statistics.median(seconds['softmax']) * 1e3:8.0f} ms: performer is "
                f"{statistics.median(ratios):.2f} times as fast "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            line += f", peak memory {peak:.1f} GiB"
        print(line, flush=True)
        length *= 2


if __name__ == "__main__":
    main()
