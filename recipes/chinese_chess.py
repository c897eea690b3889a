"""Chinese chess by a language model: a GPT reads games as strings and plays the next move.

Task: a game is one string of ICCS moves, h2e2h9g7..., four characters a ply (or, not in the
article, two squares); the model has never seen a board or a rule. It plays the legal move that it
finds most probable.
Data: `data/xiangqi_games_*` (made by this project, by players that only know how to capture); any
file of `result TAB moves`.
Published: decent openings, a weak middle game; the article has no figures.
Our results, with their commands: README.md, section Results.
Article: https://kexue.fm/archives/7877

    python recipes/chinese_chess.py                         # a small model, about two minutes
    python recipes/chinese_chess.py --play                  # against it, in the terminal
    python recipes/chinese_chess.py --web                   # against it, in the browser
    python recipes/chinese_chess.py --config-path BERT/bert_config.json \\
        --checkpoint-path BERT/bert_model.ckpt --dict-path BERT/vocab.txt \\
        --train games.tsv --valid valid.tsv --learning-rate 1e-5 --epochs 16 --matches 200
"""

import csv
import dataclasses
import json
import math
import sys
import time
from pathlib import Path
from typing import Literal

# before keras: it turns on TensorFlow's faster matrix products
from kexue_keras import backend, datasets
from kexue_keras.experiments import seq2seq

# isort: split
import keras
import numpy as np
import tyro

from kexue_keras.experiments.comparison import options_of
from kexue_keras.experiments.run import Run
from kexue_keras.files import replacing
from kexue_keras.models import build_transformer_model
from kexue_keras.tokenizers.vocabulary import check_vocabulary, load_vocab
from kexue_keras.xiangqi import Board
from kexue_keras.xiangqi.move_scorer import CHARACTERS, SQUARES, MoveScorer
from kexue_keras.xiangqi.players import CapturePlayer, ModelPlayer, RandomPlayer, play_match

DATA = Path(__file__).resolve().parent.parent / "data"
TOKENS = {"characters": CHARACTERS, "squares": SQUARES}
SHAPING = ("config_path", "dict_path", "tokens", "hidden_size", "num_hidden_layers", "maxlen")
MEASURES = {
    "first": "real move ranked first among the legal ones",
    "first_five": "real move among the first five",
    "greedy_legal": "unconstrained greedy move is legal",
    "bits": "bits per ply",
}


@dataclasses.dataclass
class Config:
    """Trains on games, or resumes; measures the best weights and lets them play matches."""

    train: tuple[Path, ...] = (DATA / "xiangqi_games_train.tsv",)
    """Files of training games."""
    valid: tuple[Path, ...] = (DATA / "xiangqi_games_valid.tsv",)
    """Files of held-out games; training games that occur here are dropped."""
    test: tuple[Path, ...] = ()
    """Files of games for the figures at the end; without any, those of `valid`. Training games that
    occur here are dropped."""
    config_path: Path | None = None
    """Configuration of a pretrained BERT, bert_config.json; a small new model without it."""
    checkpoint_path: Path | None = None
    """Checkpoint of the pretrained BERT; without it, weights are random."""
    dict_path: Path | None = None
    """Vocabulary of the pretrained BERT, vocab.txt."""
    tokens: Literal["characters", "squares"] = "characters"
    """What a new model reads: the article's characters, four a ply, or squares, two a ply."""
    hidden_size: int = 96
    """Size of a new model."""
    num_hidden_layers: int = 3
    """Depth of a new model."""
    dropout: float = 0.0
    """Dropout rate of hidden states and attention weights."""
    maxlen: int = 512
    """Largest number of tokens of a game that the model reads: 512 for 127 plies in characters."""
    curriculum: bool = True
    """Read the first eighth of `maxlen` until an eighth of the training is done, a quarter until a
    quarter, half until half of it, as the article does."""
    epochs: int = 12
    """Passes over the training games."""
    batch_size: int = 8
    """Games in a batch; the article takes 16."""
    learning_rate: float = 2e-3
    """Adam's; the article takes 1e-5 for a BERT base."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Whether the learning rate falls to zero over the epochs."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Keras dtype policy."""
    seed: int = 0
    """Of weights, dropout, the order of the games, and matches."""
    evaluate_games: int = 100
    """Games of `valid` that are measured, after epochs and at the end; 0: all."""
    matches: int = 4
    """Games against the random player and against the capture player, each."""
    max_plies: int = 200
    """Half moves after which a game of a match is a draw."""
    output: Path = Path("runs/chinese_chess")
    """Directory of the run; the same command continues an interrupted run."""
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

    def as_trained(self):
        """These options, but those that shape the model as the run in `output` had them."""
        path = self.output / "config.json"
        if not (self.output / "best.weights.h5").exists():
            raise FileNotFoundError(f"`output` {self.output} has no trained weights; train first")
        before = json.loads(path.read_text(encoding="utf-8"))
        kept = {name: before[name] for name in SHAPING}
        for name in ("config_path", "dict_path"):
            kept[name] = kept[name] and Path(kept[name])
        return dataclasses.replace(self, **kept, checkpoint_path=None)


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
    paths = config.config_path, config.dict_path
    if paths.count(None) == 1:
        raise ValueError(f"`config_path` and `dict_path` go together. Received: {paths}")
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    arguments = {
        "application": "lm",
        "with_mlm": "linear",
        "dropout_rate": config.dropout,
        "attention_dropout_rate": config.dropout,
    }
    symbols = TOKENS[config.tokens].symbols
    if config.config_path is not None:
        check_vocabulary(config.dict_path, config.config_path)
        vocab = load_vocab(config.dict_path)
        if missing := [symbol for symbol in symbols if symbol not in vocab]:
            raise ValueError(f"`dict_path` {config.dict_path} has no token {missing[0]!r}")
        keep_tokens = [vocab[symbol] for symbol in symbols]
        return build_transformer_model(
            config.config_path, config.checkpoint_path, keep_tokens=keep_tokens, **arguments
        )
    return build_transformer_model(
        vocab_size=len(symbols),
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=max(1, config.hidden_size // 32),
        intermediate_size=4 * config.hidden_size,
        max_position=config.maxlen,
        **arguments,
    )


def train(config, model, games, evaluate):
    """Trains, or continues the run in `config.output`, and loads its best weights."""
    seq2seq.compile_model(model, config, steps=config.epochs * (len(games) // config.batch_size))
    free = ("output", "play", "side", "web", "host", "port", "matches", "max_plies")
    run = Run(config.output, options_of(config), evaluate, "valid_move_probability", free)
    done = run.resume(model)
    if done:
        print(f"{config.output}: {done} of {config.epochs} epochs done")
    epoch = done
    while epoch < config.epochs:
        n = divisor(config, epoch)
        end = next(
            (e for e in range(epoch, config.epochs) if divisor(config, e) != n), config.epochs
        )
        limit = config.maxlen // n
        print(f"epochs {epoch + 1} to {end}: games up to {limit} {config.tokens}")
        step = -(-limit // 4) if backend.train_with_xla() else 16
        batches = datasets.Batches(
            games,
            encoder(limit, TOKENS[config.tokens]),
            batch_size=config.batch_size,
            buckets=(*range(step, limit, step), limit),
            seed=config.seed,
            drop_remainder=True,
        )
        model.fit(
            batches,
            epochs=end,
            initial_epoch=epoch,
            shuffle=False,
            callbacks=[batches.callback(), run],
            verbose=1 if sys.stdout.isatty() else 2,
        )
        epoch = end
    model.load_weights(run.best_path)
    print(f"best epoch: {run.best_epoch + 1} of {len(run.history)}")


# ---- evaluation


def likelihood(scorer, games):
    """Bits per ply of held-out games, and the geometric mean probability of a real move."""
    nats = np.concatenate([scorer.score_game(game) for game in games])
    bits = float(-nats.mean() / math.log(2))
    return {"valid_bits_per_ply": bits, "valid_move_probability": 2**-bits}


def measure(scorer, games):
    """The figures of every ply: a list of dicts with `ply` (from 1) and those of `MEASURES`."""
    rows = []
    for game in seq2seq.progress_bar(games):
        game = game[: scorer.max_plies + 1]
        board, legal = Board(), []
        for iccs in game:
            legal.append(board.legal_moves())
            board.push(iccs)
        scores, greedy = scorer.score_plies(game, legal), scorer.greedy_plies(game)
        for ply, (iccs, moves) in enumerate(zip(game, legal, strict=True)):
            real = scores[ply][moves.index(iccs)]
            rank = int((scores[ply] > real).sum())
            rows.append(
                {
                    "ply": ply + 1,
                    "first": float(rank == 0),
                    "first_five": float(rank < 5),
                    "greedy_legal": float(greedy[ply] in moves),
                    "bits": float(-real / math.log(2)),
                }
            )
    return rows


def write_measures(rows, directory):
    """Writes the means by ply to `plies.csv` and draws them, in `plies.png`."""
    from matplotlib.figure import Figure

    by_ply = {}
    for row in rows:
        by_ply.setdefault(row["ply"], []).append(row)
    table = [
        {"ply": ply, "games": len(of_ply)}
        | {name: round(np.mean([row[name] for row in of_ply]).item(), 4) for name in MEASURES}
        for ply, of_ply in sorted(by_ply.items())
    ]
    with replacing(directory / "plies.csv") as temporary:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, table[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    shares, bits = figure.subplots(1, 2)
    plies = [row["ply"] for row in table]
    for name, label in MEASURES.items():
        axes, scale = (bits, 1) if name == "bits" else (shares, 100)
        axes.plot(plies, [scale * row[name] for row in table], label=label, linewidth=1)
    shares.set(xlabel="ply", ylabel="% of games", ylim=(0, 102))
    shares.legend(fontsize="small")
    bits.set(xlabel="ply", ylabel="bits per ply", ylim=(0, None))
    with replacing(directory / "plies.png") as temporary:
        figure.savefig(temporary)


def report(config, scorer, games):
    """Prints and writes the held-out measures and the matches."""
    rows = measure(scorer, games)
    write_measures(rows, config.output)
    print(f"{len(games)} held-out games, {len(rows)} plies ({config.output / 'plies.csv'}):")
    for name, label in MEASURES.items():
        mean = np.mean([row[name] for row in rows])
        print(f"  {label}: {mean:.2f}" if name == "bits" else f"  {label}: {mean:.2%}")
    matches, options = {}, {"seed": config.seed, "max_plies": config.max_plies, "progress": True}
    for opponent in (RandomPlayer(), CapturePlayer()) if config.matches else ():
        match = play_match(ModelPlayer(scorer), opponent, config.matches, **options)
        print(f"against the {opponent.name} player: {match}")
        matches[opponent.name] = dataclasses.asdict(match)
        with replacing(config.output / "matches.json") as temporary:
            temporary.write_text(json.dumps(matches), encoding="utf-8")


# ---- play


def read_move(board, text):
    """The legal move that a player typed, in ICCS; as `h2e2` or as 炮二平五."""
    text = text.strip()
    if text.isascii():
        text = text.lower()
        board.push(text)
        return board.pop()
    return board.from_chinese(text)


def play(scorer, side):
    """A game in the terminal."""
    board = Board()
    print("Moves like h2e2 or 炮二平五; `undo` takes back your last move, `quit` ends.")
    while (result := board.result()) is None:
        if board.turn != side:
            start = time.perf_counter()
            ranked = scorer.rank(board.moves, board.legal_moves())
            spent = 1000 * (time.perf_counter() - start)
            best = (f"{board.to_chinese(m.iccs)} {m.probability:.0%}" for m in ranked[:5])
            print(f"model: {board.to_chinese(ranked[0].iccs)} {ranked[0].iccs}", end=" ")
            print(f"({', '.join(best)}; {spent:.0f} ms)")
            board.push(ranked[0].iccs)
            continue
        print(board)
        try:
            text = input(f"{side}> ").strip()
        except EOFError:
            text = "quit"
        if text == "quit":
            return
        if text == "undo":
            for _ in range(2 if len(board.moves) > 1 else 0):
                board.pop()
            continue
        try:
            board.push(read_move(board, text))
        except ValueError as error:
            print(error)
    print(board)
    print(f"{result.reason}: {f'{result.winner} wins' if result.winner else 'a draw'}")


# ---- main


def main(config):
    asks = config.play or config.web
    if config.play and config.web:
        raise ValueError("`play` and `web` exclude each other. Received: both")
    if config.web:
        from chinese_chess_web import serve
    config = config.as_trained() if asks else config
    model = build_model(config)
    scorer = MoveScorer(model)
    if asks:
        model.load_weights(config.output / "best.weights.h5")
        scorer.score([], Board().legal_moves())  # compiles, so that the first move is quick
    if config.web:
        serve(scorer, config.host, config.port)
    elif config.play:
        play(scorer, config.side)
    else:
        games, valid, test = load_games(config)
        print(f"{len(games)} training games, {len(valid)} held out")
        train(config, model, games, lambda: likelihood(scorer, valid))
        report(config, scorer, test)


if __name__ == "__main__":
    chosen = tyro.cli(Config)
    try:
        main(chosen)
    except KeyboardInterrupt:
        if chosen.play or chosen.web:
            sys.exit(0)
        sys.exit("\nstopped; the same command continues after the last complete epoch")
