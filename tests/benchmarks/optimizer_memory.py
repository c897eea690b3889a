"""Memory of the slots of optimizers for BERT-base, as they are after `build`.

    python tests/benchmarks/optimizer_memory.py

12 blocks of 768, vocabulary 21,128. Weights and Adam's slots take 1.3 GB of memory.
"""

import argparse

import keras

from kexue_keras import models, optimizers

MIB = 1 << 20
OPTIMIZERS = {
    "SGD": lambda: keras.optimizers.SGD(0.1),
    "AdaFactor": lambda: optimizers.AdaFactor(1e-3),
    "SoftClipping around AdaFactor": lambda: optimizers.SoftClipping(
        optimizers.AdaFactor(1e-3), gamma=1.0
    ),
    "AdaFactor with momentum": lambda: optimizers.AdaFactor(1e-3, beta1=0.9),
    "Adafactor of Keras": lambda: keras.optimizers.Adafactor(1e-3),
    "AdaptiveStepSize": lambda: optimizers.AdaptiveStepSize(0.1, 0.01),
    "Adam": lambda: keras.optimizers.Adam(1e-3),
}


def size(variables):
    """Bytes of float32 variables that are not single numbers."""
    return sum(4 * keras.ops.size(v.value) for v in variables if len(v.shape))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", type=int, default=12, help="number of blocks")
    arguments = parser.parse_args()
    model = models.Bert(21128, 768, arguments.layers, 12, 3072, with_pool=True)
    weights = model.trainable_variables
    print(f"weights: {int(size(weights)) / MIB:,.1f} MiB")
    sizes = {}
    for name, make in OPTIMIZERS.items():
        optimizer = make()
        optimizer.build(weights)
        sizes[name] = int(size(optimizer.variables))
        del optimizer
    for name, value in sizes.items():
        print(f"{name}: {value / MIB:,.1f} MiB, {100 * value / sizes['Adam']:.2f} % of Adam's")


if __name__ == "__main__":
    main()
