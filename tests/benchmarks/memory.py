"""Peak memory of a training step of BERT-base, as XLA plans it; JAX, no step is run.

    KERAS_BACKEND=jax python tests/benchmarks/memory.py

12 blocks of 768, batch 8 x 512, half precision, masked-LM loss at 77 places a text.
"""

import argparse
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np

from kexue_keras import losses, models

MIB = 1 << 20


def plan(arguments):
    """Bytes of what a step needs besides weights, gradients and inputs, and of all together."""
    keras.config.set_dtype_policy(arguments.policy)
    model = models.Bert(
        21128,
        768,
        arguments.layers,
        12,
        3072,
        with_mlm="linear",
        target_positions=True,
        dropout_rate=arguments.dropout,
        attention_dropout_rate=arguments.dropout,
    )
    loss = losses.SequenceCrossentropy()
    shape = (arguments.batch, arguments.length)
    ids = np.random.default_rng(0).integers(1, 21128, shape).astype("int32")
    places = np.tile(np.arange(1, 78, dtype="int32"), (arguments.batch, 1))
    inputs, targets = [ids, np.zeros_like(ids), places], ids[:, 1:78]

    def step(trainable, others, inputs, targets):
        def objective(trainable):
            outputs, updates = model.stateless_call(trainable, others, inputs, training=True)
            return loss(targets, outputs), updates

        return jax.value_and_grad(objective, has_aux=True)(trainable)

    values = [
        [v.value for v in group]
        for group in (model.trainable_variables, model.non_trainable_variables)
    ]
    analysis = jax.jit(step).lower(*values, inputs, targets).compile().memory_analysis()
    total = analysis.temp_size_in_bytes + analysis.argument_size_in_bytes
    return analysis.temp_size_in_bytes, total + analysis.output_size_in_bytes


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--policy", default="mixed_bfloat16", help="dtype policy")
    parser.add_argument("--dropout", type=float, default=0.1, help="both dropout rates")
    parser.add_argument("--layers", type=int, default=12, help="number of blocks")
    parser.add_argument("--batch", type=int, default=8, help="texts in a batch")
    parser.add_argument("--length", type=int, default=512, help="tokens of a text")
    temporary, total = plan(parser.parse_args())
    print(
        f"temporary {temporary / MIB:,.0f} MiB, with weights and gradients {total / MIB:,.0f} MiB"
    )


if __name__ == "__main__":
    main()
