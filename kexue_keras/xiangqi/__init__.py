"""Chinese chess: rules, notation, players, and games as a language.

The rules import no deep-learning framework; `MoveScorer` and its tokens load on first use.
"""

import importlib

from kexue_keras.xiangqi.board import START_FEN, Board, IllegalMove, Result
from kexue_keras.xiangqi.moves import ICCS_PATTERN

_MODULES = {
    "draw_board": "drawing",
    "CHARACTERS": "move_scorer",
    "SQUARES": "move_scorer",
    "CapturePlayer": "players",
    "ModelPlayer": "players",
    "MoveScorer": "move_scorer",
    "RandomPlayer": "players",
    "play_match": "players",
}

__all__ = ["ICCS_PATTERN", "START_FEN", "Board", "IllegalMove", "Result", *_MODULES]


def __getattr__(name):
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
