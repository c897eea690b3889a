"""Runs programs of this folder under bert4keras 0.11.5 itself, in a process of its own.

    python under_bert4keras.py FOLDER OUTPUT PROGRAM ...

Writes a JSON object: what `run(FOLDER)` of each program returned, or the text of its error.
"""

import json
import os
import sys
import traceback
from pathlib import Path

os.environ["TF_KERAS"] = "1"
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402

tf.keras.optimizers.Optimizer = tf.keras.optimizers.legacy.Optimizer
sys.path.insert(0, str(Path(__file__).parent))


def main(folder, output, *programs):
    found = {}
    for program in programs:
        scope = {"__name__": program}
        try:
            exec(Path(__file__).with_name(f"{program}.py").read_text(encoding="utf-8"), scope)
            found[program] = [float(x) for x in scope["run"](folder)]
        except Exception:
            found[program] = traceback.format_exc()
    Path(output).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
