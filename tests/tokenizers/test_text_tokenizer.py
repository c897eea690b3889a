"""What tokenizers share, with one that has a token for each character."""

import pytest

from kexue_keras.tokenizers.text_tokenizer import TextTokenizer


class Characters(TextTokenizer):
    def token_to_id(self, token):
        return {"<s>": 1, "</s>": 2}.get(token) or ord(token)

    def id_to_token(self, i):
        return chr(i)

    def tokenize(self, text, maxlen=None):
        return self._between(list(text), maxlen)

    def _encode_strings(self, texts):
        return [self.tokens_to_ids(self.tokenize(text)) for text in texts]


ENDS = [(None, None), ("<s>", None), (None, "</s>"), ("<s>", "</s>")]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(("start", "end"), ENDS)
@pytest.mark.parametrize("second", [None, "", "xy", "uvwxyz"])
def test_truncation_takes_tokens_one_by_one_from_the_longer(start, end, second, side):
    tokenizer = Characters(start, end, None)
    head, tail = int(start is not None), int(end is not None)
    least = head + tail * (1 if second is None else 2)
    for maxlen in range(max(1, least), 12):
        rows = [tokenizer.tokenize("abcd")]
        rows += [] if second is None else [tokenizer.tokenize(second)]
        total = maxlen if second is None else maxlen + head  # the second loses its start
        while sum(map(len, rows)) > total:
            row = max(rows, key=len)
            del row[len(row) - 1 - tail if side == "right" else head]
        tokens = rows[0] + ([] if second is None else rows[1][head:])
        ids, segments = tokenizer.encode("abcd", second, maxlen, side)
        assert ids == tokenizer.tokens_to_ids(tokens) and len(ids) <= maxlen
        assert segments == [0] * len(rows[0]) + [1] * (len(ids) - len(rows[0]))


def test_lengths_that_have_no_room():
    for (start, end), least in zip(ENDS, (1, 1, 2, 3), strict=True):
        with pytest.raises(ValueError, match=f"`maxlen` must be at least {least}. Received: 0"):
            Characters(start, end, None).encode("a", "b", maxlen=0)
    with pytest.raises(ValueError, match="`maxlen` must be at least 2. Received: 1"):
        Characters("<s>", "</s>", None).tokenize("a", maxlen=1)


def test_lists_of_tokens_are_taken_as_they_are():
    tokenizer = Characters("<s>", "</s>", None)
    assert tokenizer.encode(["a", "b"])[0] == [97, 98]
    assert tokenizer.ids_to_tokens([97, 98]) == ["a", "b"]
