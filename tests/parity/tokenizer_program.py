"""What bert4keras 0.11.5's tokenizer does, in a process of its own.

    python tokenizer_program.py vocab.txt texts.json ids.npz samples.json

`texts.json` holds `texts`, `pairs` (first, second, maxlen, truncate_from), `words` to add to the
vocabulary and `spiece`, the path of a SentencePiece model. `ids.npz` gets the
ids of all texts one after another, and their lengths. `samples.json` gets the vocabulary, whole
and simplified, and for the pairs their encoding, tokens, decoded text and offsets (null where
bert4keras raises).
"""

import json
import os
import sys

os.environ["TF_KERAS"] = "1"
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
from bert4keras.tokenizers import SpTokenizer, Tokenizer, load_vocab  # noqa: E402

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def rematch(tokenizer, text, tokens):
    try:
        return tokenizer.rematch(text, tokens)
    except ValueError:
        return None


def two_by_two(text):
    """In place of `jieba.lcut`."""
    return [text[i : i + 2] for i in range(0, len(text), 2)]


def samples(tokenizer, pairs):
    """What becomes of texts alone and of pairs, the latter not shortened."""
    found = []
    for first, second, maxlen, truncate_from in pairs:
        # with no special tokens, bert4keras cannot take any from a text that has none
        longest = None if maxlen is None else max(maxlen, 6)
        ids = tokenizer.encode(first)[0]
        found.append(
            {
                "tokens": tokenizer.tokenize(first),
                "pair": tokenizer.encode(first, second),
                "single": tokenizer.encode(first, None, longest, truncate_from=truncate_from),
                "decoded": tokenizer.decode(ids),
            }
        )
    return found


def main(vocab_path, texts_path, ids_path, samples_path):
    with open(texts_path, encoding="utf-8") as file:
        request = json.load(file)
    tokenizer = Tokenizer(vocab_path, do_lower_case=True)
    rows = [tokenizer.encode(text)[0] for text in request["texts"]]
    np.savez(ids_path, ids=np.concatenate(rows), lengths=[len(row) for row in rows])
    simplified, keep_tokens = load_vocab(vocab_path, simplified=True, startswith=SPECIAL)
    answer = {
        "vocabulary": load_vocab(vocab_path),
        "simplified": simplified,
        "keep_tokens": keep_tokens,
    }
    for name, lower in (("lower", True), ("cased", False)):
        tokenizer = Tokenizer(vocab_path, do_lower_case=lower)
        answer[name] = []
        for first, second, maxlen, truncate_from in request["pairs"]:
            tokens = tokenizer.tokenize(first, maxlen)
            answer[name].append(
                {
                    "pair": tokenizer.encode(first, second, maxlen, truncate_from=truncate_from),
                    "single": tokenizer.encode(first, None, maxlen, truncate_from=truncate_from),
                    "tokens": tokens,
                    "decoded": tokenizer.decode(tokenizer.encode(first)[0]),
                    "offsets": rematch(tokenizer, first, tokens),
                }
            )
    words = load_vocab(vocab_path)
    for word in request["words"]:
        words.setdefault(word, len(words))
    bare = {"token_start": None, "token_end": None}
    tokenizer = Tokenizer(words, do_lower_case=True, pre_tokenize=two_by_two)
    answer["words"] = samples(tokenizer, request["pairs"])
    tokenizer = Tokenizer(vocab_path, do_lower_case=True, **bare)
    answer["bare"] = samples(tokenizer, request["pairs"])
    # SentencePiece refuses lone surrogates
    pairs = [
        [x.replace("\ud800", ""), y.replace("\ud800", ""), *z] for x, y, *z in request["pairs"]
    ]
    tokenizer = SpTokenizer(request["spiece"], token_start=None, token_end="</s>")
    answer["pieces"] = samples(tokenizer, pairs)
    answer["pieces_kinds"] = [tokenizer._is_special(i) for i in range(tokenizer._vocab_size)]
    tokenizer = SpTokenizer(
        request["spiece"],
        token_start="</s>",
        token_end=None,
        pre_tokenize=two_by_two,
        token_translate={"\u2581": "<pad>"},
    )
    answer["translated"] = samples(tokenizer, pairs)
    with open(samples_path, "w", encoding="utf-8") as file:
        json.dump(answer, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
