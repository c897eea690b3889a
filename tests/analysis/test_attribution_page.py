"""The page of attributions: whole in itself, escaped, coloured."""

from html.parser import HTMLParser

import pytest

from kexue_keras import analysis

pytestmark = pytest.mark.once

TOKENS = [["很", "<b>", "&amp;", '"'], ["不", "##好"]]
SCORES = [[0.5, -1.0, 0.0, 0.25, 9.0], [-2.0, 2.0]]


class Spans(HTMLParser):
    """The marked texts of a page: `(text, style, title)`; and all tags."""

    def __init__(self, page):
        super().__init__()
        self.spans, self.tags, self.texts = [], [""], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes = dict(attributes)

    def handle_data(self, data):
        self.texts.append(data)
        if self.tags[-1] == "span" and "title" in self.attributes:
            self.spans.append((data, self.attributes["style"], self.attributes["title"]))
            self.attributes = {}


def test_tokens_are_escaped_and_coloured(tmp_path):
    path = tmp_path / "new" / "page.html"
    page = analysis.attribution_html(
        TOKENS, SCORES, path, captions=["a <i>", "b"], title="<script>", ends=("<", ">")
    )
    assert path.read_text(encoding="utf-8") == page
    found = Spans(page)
    assert [text for text, _, _ in found.spans] == ["很", "<b>", "&amp;", '"', "不", "好"]
    assert not {"script", "b", "i", "img", "link"} & set(found.tags) and "http" not in page
    assert "a <i>" in found.texts and found.texts.count("<script>") == 2
    styles = {text: style.split(";")[0] for text, style, _ in found.spans}
    assert styles["<b>"] == styles["不"] == "background:#1955b4"  # the strongest of its sample
    assert styles["好"] == "background:#c81e2d" and styles["&amp;"] == "background:#ffffff"
    assert styles["很"] not in styles["好"] and found.spans[0][2] == "+0.5000"
    assert found.spans[1][2] == "-1.0000"


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="`captions` must be 2, one a sample. Received: 1"):
        analysis.attribution_html(TOKENS, SCORES, captions=["a"])
    with pytest.raises(ValueError, match="`scores` must be as many"):
        analysis.attribution_html(TOKENS, SCORES[:1])
