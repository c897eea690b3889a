"""Chinese chess by a language model: a GPT reads games as strings and plays the next move.

Task: a game is one string of ICCS moves, h2e2h9g7..., four characters a ply (or, not in the
article, two squares); the model has never seen a board or a rule. It plays the legal move that it
finds most probable.
Data: `data/xiangqi_games_*` (made by this project, by players that only know how to capture); any
file of `result TAB moves`.
Published: decent openings, a weak middle game; the article has no figures.
Our results, with their commands: recipes/README.md.
Article: https://kexue.fm/archives/7877

    python recipes/chinese_chess.py                         # a small model, about two minutes
    python recipes/chinese_chess.py --play                  # against it, in the terminal
    python recipes/chinese_chess.py --web                   # against it, in the browser
    python recipes/chinese_chess.py --config-path BERT/bert_config.json \\
        --checkpoint-path BERT/bert_model.ckpt --dict-path BERT/vocab.txt \\
        --train games.tsv --valid valid.tsv --learning-rate 1e-5 --epochs 16 --matches 200
"""

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Literal

from kexue_keras.experiments.command import command

import numpy as np

from kexue_keras import datasets
from kexue_keras.experiments import pretrained, seq2seq
from kexue_keras.experiments.buckets import buckets
from kexue_keras.experiments.options import (
    DATA,
    Files,
    NewModel,
    SingleRun,
    UsageError,
    check,
    options_of,
)
from kexue_keras.experiments.run import Run
from kexue_keras.files import write_text
from kexue_keras.tokenizers import load_vocab
from kexue_keras.xiangqi import (
    CHARACTERS,
    SQUARES,
    Board,
    CapturePlayer,
    ModelPlayer,
    MoveScorer,
    RandomPlayer,
    play_match,
)
from kexue_keras.xiangqi.plies import MEASURES, likelihood, measure_plies, write_plies
from kexue_keras.xiangqi.terminal import play

TOKENS = {"characters": CHARACTERS, "squares": SQUARES}
# the weights do not depend on these
FREE = ("play", "side", "web", "host", "port", "matches", "max_plies")


@dataclasses.dataclass
class Config(SingleRun, NewModel, Files):
    """Trains on games, or resumes; measures the best weights and lets them play matches."""

    train: tuple[Path, ...] = (DATA / "xiangqi_games_train.tsv",)
    valid: tuple[Path, ...] = (DATA / "xiangqi_games_valid.tsv",)
    test: tuple[Path, ...] = ()
    """Files of games for the figures at the end; without any, those of `valid`. Training games that
    occur here are dropped."""
    tokens: Literal["characters", "squares"] = "characters"
    """What a new model reads: the article's characters, four a ply, or squares, two a ply."""
    hidden_size: int = 96
    num_hidden_layers: int = 3
    dropout: float = 0.0
    maxlen: int = 512
    """Largest number of tokens of a game that the model reads: 512 for 127 plies in characters."""
    curriculum: bool = True
    """Read the first eighth of `maxlen` until an eighth of the training is done, a quarter until a
    quarter, half until half of it, as the article does."""
    epochs: int = 12
    batch_size: int = 8
    """Games in a batch; the article takes 16."""
    learning_rate: float = 2e-3
    """Adam's largest; the article takes 1e-5 for a BERT base."""
    evaluate_games: int = 100
    """Games of `valid` that are measured, after epochs and at the end; 0: all."""
    matches: int = 4
    """Games against the random player and against the capture player, each."""
    max_plies: int = 200
    """Half moves after which a game of a match is a draw."""
    output: Path = Path("runs/chinese_chess")
    play: bool = False
    """Play against the best weights in the terminal."""
    side: Literal["red", "black"] = "red"
    """Your side with `play`; red begins."""
    web: bool = False
    """Play against the best weights in the browser."""
    host: str = "127.0.0.1"
    """Address for `web`; others than this computer reach it only if you change it."""
    port: int = 8000
    """Port for `web`."""


# ---- data


def load_games(config):
    """Moves of the training games, of the held-out ones, and of those for the final figures."""
    train, valid, test = (
        [moves for path in paths for _, moves in datasets.load_xiangqi(path, check)]
        for paths, check in ((config.train, False), (config.valid, True), (config.test, True))
    )
    held_out = set(map(tuple, valid + test))
    train = [moves for moves in train if tuple(moves) not in held_out]
    valid = valid[: config.evaluate_games or None]
    return train, valid, test or valid


def encoder(limit, tokens=CHARACTERS):
    """Games to arrays: the model reads at most `limit` ids and predicts the one after each."""

    def encode(moves):
        token_ids = tokens.encode(moves[: limit // tokens.per_move + 1])[: limit + 1]
        return (token_ids[:-1], [0] * (len(token_ids) - 1)), token_ids[1:]

    return encode


def divisor(config, epoch):
    """What `maxlen` is divided by in an epoch, the curriculum.

    The article: 8 up to batch 20,000, 4 up to 40,000, 2 up to 80,000; a run of 160,000 in all.
    """
    done = (epoch + 1) / config.epochs
    return 1 if not config.curriculum else next(n for n in (8, 4, 2, 1) if n == 1 or done * n <= 1)


# ---- model and training


def build_model(config):
    """A GPT of the options: a pretrained BERT that only sees what came before, or a new one."""
    pretrained.check_paths(config)
    seq2seq.seed_and_precision(config)
    symbols, arguments = TOKENS[config.tokens].symbols, {"application": "lm", "with_mlm": "linear"}
    if config.config_path is None:
        return pretrained.new_model(config, len(symbols), **arguments)
    vocab = load_vocab(config.dict_path)
    if missing := [symbol for symbol in symbols if symbol not in vocab]:
        raise UsageError(f"`dict_path` {config.dict_path} has no token {missing[0]!r}")
    return pretrained.load_bert(config, keep_tokens=[vocab[s] for s in symbols], **arguments)


def train(config, model, games, evaluate):
    """Trains, or continues the run in `config.output`, and loads its best weights."""

    def stage(done):
        """The batches of the epochs that read as much of the games as the next one."""
        n, rest = divisor(config, done), range(done, config.epochs)
        end = next((epoch for epoch in rest if divisor(config, epoch) != n), config.epochs)
        limit = config.maxlen // n
        print(f"epochs {done + 1} to {end}: games up to {limit} {config.tokens}")
        batches = datasets.Batches(
            games,
            encoder(limit, TOKENS[config.tokens]),
            batch_size=config.batch_size,
            buckets=buckets(limit, step=16),
            seed=config.seed,
            drop_remainder=True,
        )
        return batches, end

    seq2seq.compile_for(model, config, steps=config.epochs * (len(games) // config.batch_size))
    free = ("output", *FREE)
    run = Run(config.output, options_of(config), evaluate, "valid_move_probability", free)
    run.train(model, config.epochs, stage)


# ---- evaluation


def report(config, scorer, games):
    """Prints and writes the held-out measures and the matches."""
    rows = measure_plies(scorer, games)
    write_plies(rows, config.output)
    print(f"{len(games)} held-out games, {len(rows)} plies ({config.output / 'plies.csv'}):")
    for name, label in MEASURES.items():
        mean = np.mean([row[name] for row in rows])
        print(f"  {label}: {mean:.2f}" if name == "bits" else f"  {label}: {mean:.2%}")
    matches, options = {}, {"seed": config.seed, "max_plies": config.max_plies, "progress": True}
    for opponent in (RandomPlayer(), CapturePlayer()) if config.matches else ():
        match = play_match(ModelPlayer(scorer), opponent, config.matches, **options)
        print(f"against the {opponent.name} player: {match}")
        matches[opponent.name] = dataclasses.asdict(match)
        write_text(config.output / "matches.json", json.dumps(matches))


# ---- main


def play_against(config):
    """Plays with the best weights of the run in `output`, until Ctrl-C."""
    if config.play and config.web:
        raise UsageError("`play` and `web` exclude each other. Received: both")
    if config.web:
        try:
            from chinese_chess_web import serve
        except ModuleNotFoundError as error:
            needed = '`web` needs more packages: pip install -e ".[web]"'
            raise UsageError(f"{needed}. Received: {error}") from error
    config = config.as_trained(FREE)
    model = build_model(config)
    model.load_weights(config.best_path)
    scorer = MoveScorer(model)
    scorer.score([], Board().legal_moves())  # compiles, so that the first move is quick
    if config.web:
        serve(scorer, config.host, config.port)
    else:
        play(scorer, config.side)


def main(config):
    check(config, evaluate_games=0, matches=0, max_plies=1)
    if config.play or config.web:
        with contextlib.suppress(KeyboardInterrupt):
            play_against(config)
        return
    games, valid, test = load_games(config)
    print(f"{len(games)} training games, {len(valid)} held out")
    model = build_model(config)
    scorer = MoveScorer(model)
    train(config, model, games, lambda: likelihood(scorer, valid))
    report(config, scorer, test)


if __name__ == "__main__":
    command(Config, main)
