"""The browser version of `chinese_chess.py`: a board to click on, and the model's best moves.

    python recipes/chinese_chess.py --web                   # then open http://127.0.0.1:8000

The server keeps no game: every request brings all moves so far, and all are checked by the rules.
A move that they forbid is refused with status 409, a malformed request with 422.
"""

import functools
import threading
from pathlib import Path
from typing import Annotated

from fastapi import HTTPException
from pydantic import BaseModel, Field, StringConstraints

from kexue_keras.experiments.local_server import local_app, page, serve_app
from kexue_keras.xiangqi import ICCS_PATTERN, Board, IllegalMove

PAGE = Path(__file__).with_name("chinese_chess.html")
LONGEST_GAME = 1000
SHOWN = 5

Move = Annotated[str, StringConstraints(pattern=f"^{ICCS_PATTERN}$")]


class Game(BaseModel):
    """A game so far."""

    moves: list[Move] = Field(max_length=LONGEST_GAME)
    """All moves from the start, in ICCS."""


class NextMove(Game):
    """A game, and the move that somebody wants to play."""

    move: Move


def replay(game, going_on=True):
    """The board after the moves; refuses a game that breaks the rules, or one that is over."""
    board = Board()
    try:
        board.extend(game.moves)
    except IllegalMove as error:
        raise HTTPException(409, str(error)) from error
    if going_on and board.result() is not None:
        raise HTTPException(409, "The game is over")
    return board


def state(board):
    """What the page needs to know of a position."""
    result = board.result()
    return {
        "moves": board.moves,
        "fen": board.fen,
        "turn": board.turn,
        "legal": [] if result else board.legal_moves(),
        "result": result and {"winner": result.winner, "reason": result.reason},
    }


def create_app(scorer, hosts=("127.0.0.1", "localhost")):
    """The application.

    Args:
        scorer: a `MoveScorer`, or what has its `rank`.
        hosts: see `local_app`.
    """
    app, lock = local_app("Chinese chess", hosts), threading.Lock()

    def rank(board):
        with lock:  # requests run in threads, the scorer keeps one history
            return scorer.rank(board.moves, board.legal_moves())

    @app.get("/")
    def show_page():
        return page(PAGE)

    @app.post("/api/state")
    def show(game: Game):
        """The position after a game's moves."""
        return state(replay(game, going_on=False))

    @app.post("/api/move")
    def move(game: NextMove):
        """The position after one more move."""
        board = replay(game)
        try:
            chinese = board.to_chinese(game.move)
        except IllegalMove as error:
            raise HTTPException(409, str(error)) from error
        board.push(game.move)
        return state(board) | {"played": chinese}

    @app.post("/api/reply")
    def reply(game: Game):
        """The position after the model's move."""
        board = replay(game)
        iccs = rank(board)[0].iccs
        chinese = board.to_chinese(iccs)
        board.push(iccs)
        return state(board) | {"played": chinese}

    @app.post("/api/best")
    def best(game: Game):
        """The model's best moves for the side to move, with their shares of all legal ones."""
        board = replay(game)
        return [
            {"iccs": m.iccs, "chinese": board.to_chinese(m.iccs), "probability": m.probability}
            for m in rank(board)[:SHOWN]
        ]

    return app


def serve(scorer, host, port):
    """Serves until Ctrl-C."""
    serve_app(functools.partial(create_app, scorer), host, port)
