"""Times `Tokenizer.encode_batch` against bert4keras 0.11.5's `Tokenizer.encode`.

    python tests/benchmarks/tokenizer.py --vocab vocab.txt --texts train.tsv.xz

Both run in turn in one process, so that a busy machine slows both.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

os.environ["TF_KERAS"] = "1"
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bert4keras.tokenizers import Tokenizer as Bert4kerasTokenizer  # noqa: E402

from kexue_keras import datasets  # noqa: E402
from kexue_keras.tokenizers import Tokenizer  # noqa: E402


def seconds(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def main():
    shared = Path(os.environ.get("KEXUE_SHARED") or ROOT.parent / "shared")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocab", default=shared / "checkpoints/tiny_zh/vocab.txt")
    parser.add_argument("--texts", default=shared / "data/sentiment/train.tsv.xz")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each")
    parser.add_argument("--count", type=int, default=6000, help="texts")
    options = parser.parse_args()
    texts = [text for text, _ in datasets.load_sentiment(options.texts)[: options.count]]
    ours = Tokenizer(options.vocab)
    theirs = Bert4kerasTokenizer(str(options.vocab), do_lower_case=True)
    names = ("bert4keras encode", "encode", "encode_batch")
    times = {name: [] for name in names}
    for _ in range(options.rounds):
        spent, expected = seconds(lambda: [theirs.encode(text) for text in texts])
        times[names[0]].append(spent)
        spent, single = seconds(lambda: [ours.encode(text) for text in texts])
        times[names[1]].append(spent)
        spent, batch = seconds(ours.encode_batch, texts)
        times[names[2]].append(spent)
        if not all(tuple(a) == b == c for a, b, c in zip(expected, single, batch, strict=True)):
            raise SystemExit("the ids differ")
    print(f"{len(texts)} texts, {sum(map(len, texts))} characters, {options.rounds} rounds")
    for name in names:
        row = times[name]
        print(
            f"{name:18} median {statistics.median(row):.3f} s, "
            f"min {min(row):.3f}, max {max(row):.3f}"
        )
    for name in names[1:]:
        ratios = [a / b for a, b in zip(times[names[0]], times[name], strict=True)]
        print(
            f"speed-up of {name:12} median {statistics.median(ratios):.1f}, "
            f"min {min(ratios):.1f}, max {max(ratios):.1f}"
        )


if __name__ == "__main__":
    main()
