"""A small random BERT checkpoint in Google's format, made anew wherever a test wants one."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kexue_keras.models.checkpoints import tensor_bundle

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHARACTERS = "我你他的是不很好人大小上下天地山水火风花一二三四五六七八九十"


@dataclass(frozen=True)
class TinyCheckpoint:
    """Paths and contents of a checkpoint.

    Attributes:
        config_path: JSON file with Google's option names.
        checkpoint_path: Prefix of the checkpoint.
        dict_path: Vocabulary, one token a line.
        config: What the JSON file holds.
        variables: float32 arrays by Google's variable names.
    """

    config_path: str
    checkpoint_path: str
    dict_path: str
    config: dict
    variables: dict[str, np.ndarray]


def make_tiny_checkpoint(directory, seed=0, **config) -> TinyCheckpoint:
    """Writes `bert_config.json`, `vocab.txt` and `bert_model.ckpt` into a directory.

    Args:
        directory: Existing directory.
        seed: Decides all weights.
        config: Options that differ from 2 layers, width 16, 2 heads, 50 tokens, exact GELU.
    """
    config = {
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 16,
        "initializer_range": 0.02,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "type_vocab_size": 2,
        "vocab_size": 50,
    } | config
    directory = Path(directory)
    variables = random_variables(config, seed)
    config_path, prefix = directory / "bert_config.json", directory / "bert_model.ckpt"
    config_path.write_text(json.dumps(config, indent=2), encoding="utf-8")
    dict_path = directory / "vocab.txt"
    dict_path.write_text("\n".join(tokens(config["vocab_size"])) + "\n", encoding="utf-8")
    tensor_bundle.write(prefix, variables)
    return TinyCheckpoint(str(config_path), str(prefix), str(dict_path), config, variables)


def tokens(count: int) -> list[str]:
    """Special tokens, Chinese characters, then made-up words."""
    known = SPECIAL_TOKENS + list(CHARACTERS)
    return (known + [f"word{i}" for i in range(count)])[:count]


def variable_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """The shapes of all variables of Google's BERT, pre-training heads included."""
    vocabulary, hidden = config["vocab_size"], config["hidden_size"]
    intermediate = config["intermediate_size"]
    shapes = {
        "bert/embeddings/word_embeddings": (vocabulary, hidden),
        "bert/embeddings/position_embeddings": (config["max_position_embeddings"], hidden),
        "bert/embeddings/token_type_embeddings": (config["type_vocab_size"], hidden),
        "cls/predictions/output_bias": (vocabulary,),
        "cls/seq_relationship/output_weights": (2, hidden),
        "cls/seq_relationship/output_bias": (2,),
    }
    square, heads = (hidden, hidden), config["num_attention_heads"]
    size = heads * config.get("attention_head_size", hidden // heads)
    key_size = heads * config.get("attention_key_size", size // heads)
    dense = {
        "bert/pooler/dense": square,
        "cls/predictions/transform/dense": square,
    }
    norms = ["bert/embeddings/LayerNorm", "cls/predictions/transform/LayerNorm"]
    for index in range(config["num_hidden_layers"]):
        layer = f"bert/encoder/layer_{index}"
        for projection, width in {"query": key_size, "key": key_size, "value": size}.items():
            dense[f"{layer}/attention/self/{projection}"] = (hidden, width)
        dense[f"{layer}/attention/output/dense"] = (size, hidden)
        dense[f"{layer}/intermediate/dense"] = (hidden, intermediate)
        dense[f"{layer}/output/dense"] = (intermediate, hidden)
        norms += [f"{layer}/attention/output/LayerNorm", f"{layer}/output/LayerNorm"]
    for name, shape in dense.items():
        shapes |= {f"{name}/kernel": shape, f"{name}/bias": shape[1:]}
    for name in norms:
        shapes |= {f"{name}/gamma": (hidden,), f"{name}/beta": (hidden,)}
    return shapes


def random_variables(config: dict, seed: int) -> dict[str, np.ndarray]:
    """Normal values large enough that every part of the network shows in the output."""
    generator = np.random.default_rng(seed)
    variables = {}
    for name, shape in sorted(variable_shapes(config).items()):
        center = 1.0 if name.endswith("gamma") else 0.0
        variables[name] = generator.normal(center, 0.3, shape).astype("float32")
    return variables
