"""Peak memory of loading BERT-base: its weights and one array of the file.

    KERAS_BACKEND=tensorflow python tests/benchmarks/loading.py

A model of 12 blocks of 768 with 21,128 tokens is written in each format, and read back each time in
a process of its own. Peak and resting memory are what Linux counts for the process (VmHWM, VmRSS).
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SIZES = (21128, 768, 12, 12, 3072)
FORMATS = ("model.ckpt", "model.npz", "model.safetensors", "model.h5")
MIB = 1 << 20


def memory(name):
    """A line of /proc/self/status in bytes."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


def make(blocks, keep):
    from kexue_keras import models

    kept = list(range(0, SIZES[0], 2)) if keep else None
    return models.Bert(*SIZES[:2], blocks, *SIZES[3:], with_mlm="linear", keep_tokens=kept)


def read(path, blocks, keep):
    """Builds the model, loads the file, prints what memory both took."""
    from kexue_keras import models

    with tempfile.TemporaryDirectory() as folder:  # what the first of all loads needs anyway
        small = os.path.join(folder, os.path.basename(path))
        models.save_checkpoint(models.Bert(20, 8, 1, 2, 16), small)
        models.load_checkpoint(models.Bert(20, 8, 1, 2, 16), small)
    empty = memory("VmRSS")
    model = make(blocks, keep)
    built = memory("VmRSS")
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # the peak counts from here
    start = time.perf_counter()
    models.load_checkpoint(model, path)
    seconds = time.perf_counter() - start
    peak, after = memory("VmHWM"), memory("VmRSS")
    weights = sum(4 * math.prod(variable.shape) for variable in model.weights)
    sizes = {
        "weights": weights,
        "largest tensor of the file": 4 * SIZES[0] * SIZES[1],
        "built model": built - empty,
        "peak of loading": peak - empty,
        "loaded model": after - empty,
    }
    numbers = ", ".join(f"{name} {size / MIB:.0f}" for name, size in sizes.items())
    print(
        f"{os.path.basename(path)}{' (half of the tokens)' if keep else ''}, MiB: {numbers}; "
        f"{seconds:.1f} s"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--path", help="a file to read (the program calls itself with it)")
    parser.add_argument("--blocks", type=int, default=12, help="number of blocks")
    parser.add_argument("--keep", action="store_true", help="keep every second token")
    arguments = parser.parse_args()
    if arguments.path:
        read(arguments.path, arguments.blocks, arguments.keep)
        return
    from kexue_keras import models

    with tempfile.TemporaryDirectory() as folder:
        model = make(arguments.blocks, False)
        for name in FORMATS:
            path = os.path.join(folder, name)
            models.save_checkpoint(model, path)
            options = ["--path", path, "--blocks", str(arguments.blocks)]
            keeps = [[], ["--keep"]] if name != "model.h5" else [[]]
            for keep in keeps:
                command = [sys.executable, __file__, *options, *keep]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
