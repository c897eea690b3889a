"""The browser version of `chinese_chess.py`: a board to click on, and the model's best moves.

    python recipes/chinese_chess.py --web                   # then open http://127.0.0.1:8000

The server keeps no game: every request brings all moves so far, and all are checked by the rules.
A move that they forbid is refused with status 409, a malformed request with 422.
"""

import ipaddress
import threading
from pathlib import Path
from typing import Annotated

try:
    from fastapi import FastAPI, HTTPException
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse
    from pydantic import BaseModel, Field, StringConstraints
    from starlette.middleware.trustedhost import TrustedHostMiddleware
except ModuleNotFoundError as error:
    hint = f'The browser version needs more packages: pip install -e ".[web]". Received: {error}'
    raise ModuleNotFoundError(hint) from error

from kexue_keras.xiangqi import Board, IllegalMove

PAGE = Path(__file__).with_name("chinese_chess.html")
LONGEST_GAME = 1000
SHOWN = 5
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Move = Annotated[str, StringConstraints(pattern="^[a-i][0-9][a-i][0-9]$")]


class Game(BaseModel):
    """A game so far."""

    moves: list[Move] = Field(max_length=LONGEST_GAME)
    """All moves from the start, in ICCS."""


class NextMove(Game):
    """A game, and the move that somebody wants to play."""

    move: Move


def replay(moves):
    """The board after the moves; refuses a game that breaks the rules."""
    board = Board()
    try:
        board.extend(moves)
    except IllegalMove as error:
        raise HTTPException(409, str(error)) from error
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
        hosts: names under which it answers, `("*",)` for any: other sites must not reach a server
            on this computer through a name of theirs.
    """
    app = FastAPI(title="Chinese chess", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))

    @app.exception_handler(RequestValidationError)
    def refuse(request, error):
        # without what was sent, which need not be writable as JSON (NaN, half a surrogate pair)
        detail = [{"loc": e["loc"], "msg": e["msg"]} for e in error.errors()]
        return JSONResponse({"detail": detail}, 422)

    lock = threading.Lock()

    def rank(board):
        if board.result() is not None:
            raise HTTPException(409, "The game is over")
        with lock:  # requests run in threads, the scorer keeps one history
            return scorer.rank(board.moves, board.legal_moves())

    @app.get("/", response_class=HTMLResponse)
    def page():
        return HTMLResponse(
            PAGE.read_text(encoding="utf-8"), headers={"Content-Security-Policy": POLICY}
        )

    @app.post("/api/state")
    def show(game: Game):
        """The position after a game's moves."""
        return state(replay(game.moves))

    @app.post("/api/move")
    def move(game: NextMove):
        """The position after one more move."""
        board = replay(game.moves)
        if board.result() is not None:
            raise HTTPException(409, "The game is over")
        try:
            chinese = board.to_chinese(game.move)
        except IllegalMove as error:
            raise HTTPException(409, str(error)) from error
        board.push(game.move)
        return state(board) | {"played": chinese}

    @app.post("/api/reply")
    def reply(game: Game):
        """The position after the model's move."""
        board = replay(game.moves)
        iccs = rank(board)[0].iccs
        chinese = board.to_chinese(iccs)
        board.push(iccs)
        return state(board) | {"played": chinese}

    @app.post("/api/best")
    def best(game: Game):
        """The model's best moves for the side to move, with their shares of all legal ones."""
        board = replay(game.moves)
        return [
            {"iccs": m.iccs, "chinese": board.to_chinese(m.iccs), "probability": m.probability}
            for m in rank(board)[:SHOWN]
        ]

    return app


def is_loopback(host):
    """Whether an address can be reached from this computer only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(scorer, host, port):
    """Serves until Ctrl-C."""
    import uvicorn

    name = f"[{host}]" if ":" in host else host
    # the second spelling: a Host header of IPv6 is cut at its first colon by some versions
    hosts = ("127.0.0.1", "localhost", name, name.split(":")[0])
    app = create_app(scorer, hosts if is_loopback(host) else ("*",))
    print(f"open http://{name}:{port} in a browser; Ctrl-C ends", flush=True)
    uvicorn.run(app, host=host, port=port, log_level="warning")
