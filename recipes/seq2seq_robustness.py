"""Against exposure bias: four ways to train the same Seq2Seq model, decoded with three beams.

Task: the question for a passage and its answer, `[CLS] passage [SEP] answer [SEP] question [SEP]`
with the UniLM mask. Ordinary teacher forcing shows the decoder correct texts only; random
replacement shows it wrong words, the gradient penalty makes it smooth around its embeddings, and
TeaForN has it go on from its own states.
Data: `data/passages_*` and the small BERT in `data/small_zh` (made by this project); CMRC 2018,
DRCD, SQuAD and WebQA load as they are.
Published (CSL titles, BERT base, Rouge-L with beam 1, 2, 3): 63.81, 64.44, 64.75 by teacher
forcing; 64.44, 65.04, 65.15 by random replacement; 65.41, 65.94, 66.10 by the gradient penalty.
TeaForN: gains grow with the beam (pictures only).
Our results, with their commands: recipes/README.md.
Articles: https://kexue.fm/archives/7259, https://kexue.fm/archives/7818

    python recipes/seq2seq_robustness.py                    # our passages, some minutes
    python recipes/seq2seq_robustness.py --limit 0 --epochs 4 --seeds 0 1 2
    python recipes/seq2seq_robustness.py --config-path BERT/bert_config.json \\
        --checkpoint-path BERT/bert_model.ckpt --dict-path BERT/vocab.txt \\
        --train cmrc2018_train.json --valid cmrc2018_dev.json --learning-rate 1e-5
"""

import dataclasses
import functools
from pathlib import Path

from kexue_keras.experiments.command import AFTER_A_CELL, command

import numpy as np

from kexue_keras import datasets, training
from kexue_keras.datasets.pieces import with_pieces
from kexue_keras.decoding import Generator
from kexue_keras.experiments import seq2seq
from kexue_keras.experiments.buckets import buckets
from kexue_keras.experiments.comparison import compare_methods
from kexue_keras.experiments.fitting import Snapshot, compile_model, fit_to_zero_rate
from kexue_keras.experiments.held_out import load_samples
from kexue_keras.experiments.options import DATA, HeldOut, SmallBert, Table, UsageError, check
from kexue_keras.experiments.prediction import by_length
from kexue_keras.experiments.pretrained import load_bert
from kexue_keras.experiments.tables import Figure
from kexue_keras.losses import SequenceCrossentropy
from kexue_keras.metrics import bleu, rouge_l

METHODS = ("teacher_forcing", "random_replacement", "gradient_penalty", "tea_for_n")
FREE = ("output", "seeds", "methods")  # options that the cells do not depend on


@dataclasses.dataclass
class Config(Table, SmallBert, HeldOut):
    """Prints the table of methods; what is measured already is not measured again."""

    train: tuple[Path, ...] = (DATA / "passages_train.json",)
    valid: tuple[Path, ...] = (DATA / "passages_valid.json",)
    limit: int = 400
    """Training questions, always the same ones; 0: all."""
    evaluate_samples: int = 100
    """Held-out questions, at most; 0: all."""
    methods: tuple[str, ...] = METHODS
    seeds: tuple[int, ...] = (0,)
    beams: tuple[int, ...] = (1, 2, 3)
    """Beam sizes."""
    epochs: int = 2
    batch_size: int = 16
    learning_rate: float = 4e-4
    """Adam's at the start, falling to zero; the article takes 1e-5 for a BERT base."""
    max_passage: int = 96
    """Largest number of tokens of a passage; longer ones are cut at sentence ends."""
    max_answer: int = 16
    """Largest number of tokens of an answer."""
    max_target: int = 32
    """Largest number of tokens of a question."""
    replaced: float = 0.3
    """Share of target tokens that `random_replacement` replaces, in half of the texts."""
    penalty: float = 1.0
    """Weight of the gradient penalty."""
    steps: int = 2
    """Passes of `tea_for_n`."""
    discount: float = 0.5
    """Weight of each pass relative to the one before."""
    output: Path = Path("runs/seq2seq_robustness")


# ---- data


def load_questions(config):
    """Training and held-out `(piece of passage, answer, question)`; no passage is in both."""
    train, valid = load_samples(config, datasets.load_qa, ["passage"])
    train, valid = (
        with_pieces(part, config.max_passage - 2) for part in (train, sum(valid.values(), []))
    )
    for name, part in (("train", train), ("valid", valid)):
        if not part:
            raise UsageError(
                f"`max_passage` must leave pieces that hold an answer. Received: "
                f"{config.max_passage}, with none in {name}"
            )
    return train, valid[: config.evaluate_samples or None]


# ---- models


class Writer:
    """The UniLM in the strategy of one method; `train` begins from the pretrained weights."""

    def __init__(self, config, method):
        self.config, self.method = config, method
        self.tokenizer, kept = seq2seq.load_tokenizer(config)
        self.maxlen = config.max_passage + config.max_answer + config.max_target + 2
        bert = load_bert(config, keep_tokens=kept, **seq2seq.UNILM)
        self.model = bert
        if method == "gradient_penalty":
            self.model = training.GradientPenalty(bert, "Embedding-Token", config.penalty)
        elif method == "tea_for_n":
            self.model = training.TeaForN(bert, config.steps, config.discount)
        compile_model(self.model, SequenceCrossentropy(), config.learning_rate)
        self.start = Snapshot(self.model)
        self.generator = Generator(bert, self.tokenizer.end_id, config.max_target, minlen=2)

    def prompt(self, passage, answer):
        """Ids of `[CLS] passage [SEP] answer [SEP]`."""
        encode, config = self.tokenizer.encode, self.config
        first = encode(passage, maxlen=config.max_passage)[0]
        return first + encode(answer, maxlen=config.max_answer + 1)[0][1:]

    def encode(self, sample):
        passage, answer, question = sample
        target = self.tokenizer.encode(question, maxlen=self.config.max_target + 1)[0][1:]
        return seq2seq.arrays(self.prompt(passage, answer), target)

    def train(self, samples, seed):
        """Adam with a learning rate that falls to zero; the last weights count."""
        config, replacing = self.config, self.method == "random_replacement"
        self.start.restore(np.random.default_rng(seed))

        def replace(encoded, rng):
            (token_ids, segment_ids, positions), target = encoded
            drawn = rng.randrange(1 << 32)
            token_ids = training.random_replacement(
                token_ids, segment_ids, config.replaced, seed=drawn
            )
            return (token_ids, segment_ids, positions), target

        batches = datasets.Batches(
            [self.encode(sample) for sample in samples],
            lambda encoded: encoded,
            config.batch_size,
            buckets(self.maxlen),
            seed=seed,
            augment=replace if replacing else None,
            drop_remainder=True,
        )
        fit_to_zero_rate(self.model, batches, config.learning_rate, config.epochs)

    def questions(self, pairs, topk):
        """A question for each `(passage, answer)`."""

        def written(prompts):
            segments = [[0] * len(prompt) for prompt in prompts]
            found = self.generator.beam_search(prompts, segments, topk=topk)
            return [self.tokenizer.decode(best[0]) for best, *_ in found]

        return by_length(written, [self.prompt(*pair) for pair in pairs])


# ---- evaluation


def measure(writers, train, valid, experiment, method, seed):
    """Rouge-L and BLEU with every beam, of one method with one seed."""
    writer, figures = writers(method), {}
    writer.train(train, seed)
    gold = [seq2seq.plain(question) for *_, question in valid]
    for beam in writer.config.beams:
        found = [seq2seq.plain(text) for text in writer.questions([s[:2] for s in valid], beam)]
        figures[f"rouge_l_{beam}"] = float(np.mean([*map(rouge_l, gold, found)]))
        figures[f"bleu_{beam}"] = bleu(gold, found)
    for (_, answer, _), expected, text in list(zip(valid, gold, found, strict=True))[:3]:
        print(f"  {'✓' if text == expected else '✗'} {answer}: {text} (asked: {expected})")
    return figures


# ---- main


def main(config):
    check(config, methods=METHODS, steps=1, discount=0, penalty=0)
    train, valid = load_questions(config)
    print(f"{len(train)} training questions, {len(valid)} held out")
    shown = {f"rouge_l_{beam}": Figure(f"Rouge-L, beam {beam}") for beam in config.beams}
    shown |= {f"bleu_{beam}": Figure(f"BLEU, beam {beam}") for beam in config.beams}
    writers = functools.lru_cache(maxsize=1)(functools.partial(Writer, config))
    measured = functools.partial(measure, writers, train, valid)
    compare_methods(config, FREE, measured, shown)


if __name__ == "__main__":
    command(Config, main, AFTER_A_CELL)
