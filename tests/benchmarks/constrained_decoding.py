"""What a prefix tree of KgCLUE's size costs a beam search.

    python tests/benchmarks/constrained_decoding.py --triples 20559652

The tree of `prefix_tree.py` is built once (`--tree PATH` keeps it) and looked up inside the
compiled loop of a tiny BERT (4 layers of 312, vocabulary 21,128, prompts of 64, at most 32 new
tokens, texts of three parts). The two searches take turns; a search inside the tree ends earlier
than a free one with random weights, so the times are per step.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from prefix_tree import KGCLUE_TRIPLES, SEPARATOR_ID, knowledge

from kexue_keras import decoding, models
from kexue_keras.decoding import PrefixTree

CONFIG = {
    "vocab_size": 21128,
    "hidden_size": 312,
    "num_hidden_layers": 4,
    "num_attention_heads": 12,
    "intermediate_size": 1248,
    "hidden_act": "gelu",
}


class Counted(decoding.Generator):
    """A generator that notes how many steps its last search took."""

    steps = 0

    def _search(self, prompts, options, tree):
        found = super()._search(prompts, options, tree)
        self.steps = int(found["alive_length"])
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--triples", type=int, default=KGCLUE_TRIPLES)
    parser.add_argument("--tree", type=Path, default=Path("tree.bin"), help="built if missing")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--beams", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    if not arguments.tree.exists():
        stream = knowledge(arguments.triples, 0)
        PrefixTree.build(stream, arguments.tree, total=arguments.triples)
    tree = PrefixTree.load(arguments.tree)
    model = models.build_transformer_model(**CONFIG, application="unilm", with_mlm="linear")
    generator = Counted(model, end_id=SEPARATOR_ID, maxlen=32)
    rows = np.random.default_rng(0).integers(700, 8000, (arguments.batch, 64))
    seconds = {"free": [], "in the tree": []}
    for turn in range(arguments.rounds + 1):
        for name, constraint in zip(seconds, (None, tree), strict=True):
            began = time.perf_counter()
            found = generator.beam_search(
                rows, topk=arguments.beams, min_ends=3, constraint=constraint
            )
            spent = time.perf_counter() - began
            if constraint is not None:
                assert all(ids in tree for results in found for ids, _ in results)
            if turn:
                seconds[name].append(spent / generator.steps)
    print(f"{len(tree)} keys, batch {arguments.batch}, beam {arguments.beams}")
    for name, times in seconds.items():
        print(f"  {name:12} median {statistics.median(times) * 1e3:.1f} ms a step")
    ratios = sorted(b / a for a, b in zip(*seconds.values(), strict=True))
    print(
        f"  in the tree costs {statistics.median(ratios):.2f} times a free step "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


if __name__ == "__main__":
    main()
