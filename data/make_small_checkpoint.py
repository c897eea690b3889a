"""Makes `small_zh`, the BERT that comes with the recipes, of a larger checkpoint.

What it does: keeps the tokens of `kept` (special tokens, ASCII, the characters of GB 2312 and their
continuations), drops the other rows of the embedding table, and stores every array in half
precision in one NumPy file. Nothing is trained.

    python data/make_small_checkpoint.py CHECKPOINT_FOLDER
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from kexue_keras import models
from kexue_keras.tokenizers import load_vocab

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
OUTPUT = Path(__file__).resolve().parent / "small_zh"


def kept(token):
    """Whether the small vocabulary has the token."""
    if token in SPECIAL_TOKENS:
        return True
    piece = token.removeprefix("##")
    if not piece or token.startswith("["):
        return token == "["
    if piece.isascii():
        return True
    try:
        piece.encode("gb2312")
    except UnicodeEncodeError:
        return False
    # the tokenizer never continues an ideograph
    return len(piece) == 1 and piece == token


def main(folder, output):
    vocab = load_vocab(folder / "vocab.txt")
    ids = [i for token, i in vocab.items() if kept(token)]
    tokens = [token for token, i in vocab.items() if kept(token)]
    config_path = folder / "bert_config.json"
    model = models.build_transformer_model(
        config_path, folder / "bert_model.ckpt", with_pool=True, with_mlm="linear", keep_tokens=ids
    )
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "whole.npz")
        models.save_checkpoint(model, path)
        with np.load(path) as whole:
            arrays = {name: whole[name].astype("float16") for name in whole.files}
    config = json.loads(config_path.read_text(encoding="utf-8")) | {"vocab_size": len(tokens)}
    temporary = output / "temporary.npz"
    np.savez_compressed(temporary, **arrays)
    os.replace(temporary, output / "bert_model.npz")
    for name, text in (
        ("bert_config.json", json.dumps(config, indent=2)),
        ("vocab.txt", "\n".join(tokens)),
    ):
        temporary = output / "temporary.txt"
        temporary.write_text(text + "\n", encoding="utf-8")
        os.replace(temporary, output / name)
    size = (output / "bert_model.npz").stat().st_size
    print(f"{len(tokens)} tokens, {sum(a.size for a in arrays.values())} weights, {size} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="bert_config.json, bert_model.ckpt, vocab.txt")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    main(options.folder, options.output)
