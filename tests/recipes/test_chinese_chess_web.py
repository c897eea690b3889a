"""Chinese chess in the browser: what the server answers and refuses, and a game by mouse."""

import contextlib
import random
import re
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest
from recipes.commands import load

from kexue_keras.xiangqi import Board
from kexue_keras.xiangqi.move_scorer import ScoredMove

pytestmark = pytest.mark.once

MATED = "3k5/3R5/3P5/9/9/9/9/9/9/4K4 b"


class FirstMoves:
    """Stands for a `MoveScorer`: the earlier in the alphabet, the better."""

    def rank(self, history, moves):
        weights = [2.0**-i for i in range(len(moves))]
        return [
            ScoredMove(move, weight / sum(weights), 0.0)
            for move, weight in zip(sorted(moves), weights, strict=True)
        ]


@pytest.fixture(scope="module")
def web():
    return load("chinese_chess_web")


@pytest.fixture(scope="module")
def client(web):
    from fastapi.testclient import TestClient

    with TestClient(web.create_app(FirstMoves()), base_url="http://127.0.0.1") as client:
        yield client


def test_the_page_needs_nothing_from_elsewhere(client):
    answer = client.get("/")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", answer.text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of a format, never fetched
    assert not re.findall(r"(?:src|href)=\"(?!data:)", answer.text)
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_state(client):
    start = client.post("/api/state", json={"moves": []}).json()
    assert start["turn"] == "red" and len(start["legal"]) == 44 and start["result"] is None
    state = client.post("/api/state", json={"moves": ["h2e2", "h9g7"]}).json()
    board = Board()
    board.extend(["h2e2", "h9g7"])
    assert state["fen"] == board.fen and state["legal"] == board.legal_moves()


def test_moves_and_replies(client):
    answer = client.post("/api/move", json={"moves": [], "move": "h2e2"})
    assert answer.status_code == 200
    assert answer.json()["moves"] == ["h2e2"] and answer.json()["played"] == "炮二平五"
    reply = client.post("/api/reply", json={"moves": ["h2e2"]}).json()
    board = Board()
    board.push("h2e2")
    assert reply["moves"] == ["h2e2", board.legal_moves()[0]]
    assert reply["played"] == board.to_chinese(board.legal_moves()[0])


def test_five_best_moves(client):
    best = client.post("/api/best", json={"moves": []}).json()
    assert [move["iccs"] for move in best] == Board().legal_moves()[:5]
    assert best[0]["chinese"] == Board().to_chinese(best[0]["iccs"])
    chances = [move["probability"] for move in best]
    assert chances == sorted(chances, reverse=True) and 0.9 < sum(chances) < 1


def test_illegal_moves_are_refused(client):
    answer = client.post("/api/move", json={"moves": [], "move": "h2h9x"})
    assert answer.status_code == 422
    answer = client.post("/api/move", json={"moves": [], "move": "h2i4"})
    assert answer.status_code == 409
    assert "'h2i4' is not legal for red at ply 1" in answer.json()["detail"]
    for path in ("state", "reply", "best"):
        answer = client.post(f"/api/{path}", json={"moves": ["h2e2", "h0g2"]})
        assert answer.status_code == 409
        assert "'h0g2' is not legal for black at ply 2" in answer.json()["detail"]


@pytest.mark.parametrize("moves", [None, "h2e2", [1], ["h2e2\n"], 1001 * ["a0a1"]])
def test_malformed_requests_are_refused(client, moves):
    assert client.post("/api/state", json={"moves": moves}).status_code == 422
    assert client.post("/api/state", content="{").status_code == 422
    for content in ('{"moves": NaN}', '{"moves": ["\\ud800"]}'):
        answer = client.post("/api/state", content=content)
        assert answer.status_code == 422 and answer.json()["detail"][0]["loc"][0] == "body"


def test_a_finished_game_goes_no_further(web, client, monkeypatch):
    monkeypatch.setattr(web, "Board", lambda: Board(MATED))
    state = client.post("/api/state", json={"moves": []}).json()
    assert state["result"] == {"winner": "red", "reason": "checkmate"} and state["legal"] == []
    for path, body in (("move", {"move": "d9e9"}), ("reply", {}), ("best", {})):
        answer = client.post(f"/api/{path}", json={"moves": [], **body})
        assert answer.status_code == 409 and answer.json()["detail"] == "The game is over"


def test_other_names_of_this_computer_are_refused(web, client):
    answer = client.get("/", headers={"Host": "elsewhere.example"})
    assert answer.status_code == 400


def test_an_address_of_ipv6(web, client, monkeypatch, capsys):
    import uvicorn

    served = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: served.append((app, options)))
    web.serve(client.app.state, "::1", 8123)
    assert "open http://[::1]:8123 in" in capsys.readouterr().out
    (app, options), answers = served[0], []
    assert options["host"] == "::1"
    with type(client)(app, base_url="http://[::1]:8123") as local:
        answers.append(local.get("/").status_code)
    with type(client)(app, base_url="http://example.org") as foreign:
        answers.append(foreign.get("/").status_code)
    assert answers == [200, 400]


# ---- in a browser


@contextlib.contextmanager
def serving(app):
    """Serves the application in a thread; gives its address."""
    import uvicorn

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def program(name):
    """Path of a program of Debian's packages chromium and chromium-driver."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is missing: apt-get install chromium chromium-driver", pytrace=False)
    return path


@pytest.fixture
def browser(tmp_path):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium")
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-background-networking"):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    options.add_argument("--window-size=1100,900")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(program("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


class Page:
    """The page as a visitor uses it."""

    def __init__(self, driver):
        self.driver = driver

    def wait(self, condition, what):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if condition():
                return
            time.sleep(0.05)
        pytest.fail(f"{what} did not happen; the page says {self.text('message')!r}")

    def text(self, name):
        return self.driver.find_element("id", name).text

    def click(self, name):
        self.driver.find_element("id", name).click()

    def ready(self):
        board = self.driver.find_element("id", "board")
        return board.get_attribute("data-busy") == "no"

    def moves(self):
        return self.driver.execute_script("return position.moves")

    def pieces(self):
        found = self.driver.find_elements("css selector", ".piece")
        return {piece.get_attribute("data-at"): piece.text for piece in found}

    def targets(self):
        found = self.driver.find_elements("css selector", ".target")
        return {target.get_attribute("data-target") for target in found}

    def rows(self, name):
        return self.driver.find_elements("css selector", f"#{name} tr, #{name} li")


@pytest.mark.slow
def test_a_game_by_mouse(web, browser, tmp_path):
    with serving(web.create_app(FirstMoves())) as address:
        browser.get(address)
        page, rng = Page(browser), random.Random(0)
        page.wait(page.ready, "the start")
        assert len(page.pieces()) == 32 and page.text("status") == "your move (red)"
        assert len(page.rows("best")) == 5

        page.click("b0")
        assert page.targets() == {"a2", "c2"}
        page.click("e4")  # a horse does not get there
        page.wait(lambda: "is not legal" in page.text("message"), "the refusal")
        assert "'b0e4' is not legal for red at ply 1" in page.text("message")
        assert page.moves() == []

        board = Board()
        while len(board.moves) < 12:
            move = rng.choice(board.legal_moves())
            page.click(move[:2])
            expected = {m[2:] for m in board.legal_moves() if m[:2] == move[:2]}
            assert page.targets() == expected
            page.click(move[2:])
            board.push(move)
            board.push(board.legal_moves()[0])
            page.wait(lambda: page.ready() and page.moves() == board.moves, f"{move} and a reply")
            assert page.text("message") == ""
            assert set(page.pieces()) == {
                "abcdefghi"[i % 9] + str(i // 9) for i, p in enumerate(board.squares) if p != "."
            }
        assert len(page.rows("moves")) == 6
        browser.save_screenshot(str(tmp_path / "game.png"))

        page.click("undo")
        page.wait(lambda: page.ready() and len(page.moves()) == 10, "the undo")
        assert page.moves() == board.moves[:10] and len(page.rows("moves")) == 5

        page.click("new-black")
        page.wait(lambda: page.ready() and len(page.moves()) == 1, "the model's first move")
        assert page.text("status") == "your move (black)"
        page.click("h9")
        assert page.targets() == {"g7", "i7"}
        page.click("g7")
        page.wait(lambda: page.ready() and len(page.moves()) == 3, "a move and a reply as black")
        assert page.pieces()["e0"] == "帅"
        page.click("letters")
        assert page.pieces()["e0"] == "K" and page.pieces()["g7"] == "H"
        page.click("show-best")
        assert page.rows("best") == []
        errors = [entry for entry in browser.get_log("browser") if "409" not in entry["message"]]
        assert errors == []


class Failing(FirstMoves):
    """Fails as long as it is told to."""

    broken = True

    def rank(self, history, moves):
        if self.broken:
            raise RuntimeError("no memory")
        return super().rank(history, moves)


@pytest.mark.slow
def test_a_model_that_does_not_answer_can_be_asked_again(web, browser):
    scorer = Failing()
    with serving(web.create_app(scorer)) as address:
        browser.get(address)
        page = Page(browser)
        page.wait(page.ready, "the start")
        page.click("show-best")
        page.click("h2")
        page.click("e2")
        page.wait(lambda: page.text("status") == "the model did not answer", "the failure")
        assert page.moves() == ["h2e2"] and page.text("message") == "the request was refused"
        scorer.broken = False
        page.click("again")
        page.wait(lambda: page.ready() and len(page.moves()) == 2, "the second attempt")
        assert page.text("status") == "your move (red)"
        assert not browser.find_element("id", "again").is_displayed()
        assert [row.text for row in page.rows("moves")][0].startswith("炮二平五")


def test_a_missing_browser_is_named(monkeypatch):
    monkeypatch.setenv("PATH", str(Path(__file__).parent))
    with pytest.raises(pytest.fail.Exception, match="chromium is missing: apt-get install"):
        program("chromium")
