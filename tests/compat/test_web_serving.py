"""Functions behind a URL."""

import pytest

from kexue_keras.compat.snippets import WebServing

pytestmark = pytest.mark.once


def synonyms(text, n=2):
    if n > 5:
        raise ValueError("too many")
    return [text] * n


def test_answers():
    client_of = pytest.importorskip("starlette.testclient").TestClient
    web = WebServing(port=8864)
    web.route("/gen", synonyms, {"text": (None, True), "n": (int, False)})
    web.route("/post", synonyms, {"text": (None, True)}, method="POST")
    client = client_of(web.app(), base_url="http://127.0.0.1")
    good = client.get("/gen", params={"text": "天", "n": "3"}).json()
    assert good == {"code": 0, "desc": "succeeded", "data": ["天"] * 3}
    assert client.get("/gen", params={"text": "天", "other": "1"}).json()["data"] == ["天"] * 2
    missing = client.get("/gen").json()
    assert (missing["code"], missing["desc"]) == (1, 'lack of "text" argument')
    bad = client.get("/gen", params={"text": "天", "n": "9"}).json()
    assert (bad["code"], bad["desc"]) == (2, "too many")
    assert web.host == "127.0.0.1"
