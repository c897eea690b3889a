"""Beam search: this package against bert4keras and Hugging Face `generate`, tiny BERT, float32.

    python tests/benchmarks/decoding.py

Work: 32 new tokens after a prompt of 64, no early end, at batch 1 beam 1 and batch 16 beam 3.
bert4keras has neither batches nor a cache, so it takes part at batch 1 with 1 beam. Hugging Face
runs its BERT decoder with cache. Weights are random, which does not change the work.
"""

import argparse

import numpy as np
from pairing import compare, contestant

CONFIG = {
    "vocab_size": 21128,
    "hidden_size": 312,
    "num_hidden_layers": 4,
    "num_attention_heads": 12,
    "intermediate_size": 1248,
    "hidden_act": "gelu",
}
PROMPT, STEPS, END = 64, 32, 102
ENVIRONMENTS = {
    "ours-tensorflow": {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "1"},
    "ours-jax": {"KERAS_BACKEND": "jax"},
    "bert4keras": {"TF_KERAS": "1", "TF_USE_LEGACY_KERAS": "1"},
    "huggingface": {},
}


def prompts(batch):
    return np.random.default_rng(0).integers(700, 8000, (batch, PROMPT))


def ours(batch, beams):
    from kexue_keras import decoding, models

    model = models.build_transformer_model(**CONFIG, application="unilm", with_mlm="linear")
    generator = decoding.Generator(model, end_id=END, maxlen=STEPS, minlen=STEPS)
    rows = prompts(batch)
    return lambda: generator.beam_search(rows, topk=beams)


def bert4keras(batch, beams):
    import tensorflow as tf

    tf.keras.optimizers.Optimizer = tf.keras.optimizers.legacy.Optimizer
    from bert4keras.models import build_transformer_model
    from bert4keras.snippets import AutoRegressiveDecoder

    model = build_transformer_model(**CONFIG, max_position=512, application="unilm")
    rows = prompts(batch)

    class Decoder(AutoRegressiveDecoder):
        @AutoRegressiveDecoder.wraps(default_rtype="probas")
        def predict(self, inputs, output_ids, states):
            token_ids, segment_ids = inputs
            token_ids = np.concatenate([token_ids, output_ids], 1)
            segment_ids = np.concatenate([segment_ids, np.ones_like(output_ids)], 1)
            probabilities = self.last_token(model).predict([token_ids, segment_ids], verbose=0)
            probabilities[:, END] = 0
            return probabilities

    decoder = Decoder(start_id=None, end_id=END, maxlen=STEPS)
    return lambda: [
        decoder.beam_search([row, np.zeros_like(row)], topk=beams) for row in rows.tolist()
    ]


def huggingface(batch, beams):
    import torch
    from transformers import BertConfig, BertLMHeadModel

    config = BertConfig(**CONFIG, is_decoder=True, pad_token_id=0, eos_token_id=END)
    model = BertLMHeadModel(config).train(False)
    rows = torch.tensor(prompts(batch))
    options = {"max_new_tokens": STEPS, "min_new_tokens": STEPS, "do_sample": False}

    def generate():
        mask = torch.ones_like(rows)
        return model.generate(rows, attention_mask=mask, num_beams=beams, **options)

    return generate


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--contestant", help="used by the script itself: run one side")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each side")
    arguments = parser.parse_args()
    if arguments.contestant:
        name, batch, beams = arguments.contestant.split(":")
        make = {"bert4keras": bert4keras, "huggingface": huggingface}.get(name, ours)
        contestant(make(int(batch), int(beams)))
        return
    for batch, beams in ((1, 1), (16, 3)):
        names = [n for n in ENVIRONMENTS if n != "bert4keras" or batch == 1]
        sides = {f"{name}:{batch}:{beams}": ENVIRONMENTS[name] for name in names}
        title = f"batch {batch}, beam {beams}, {STEPS} new tokens"
        compare(__file__, title, sides, f"ours-tensorflow:{batch}:{beams}", arguments.rounds)


if __name__ == "__main__":
    main()
